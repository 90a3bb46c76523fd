"""Read ids of images, categories and annotations in any spelling: 5, 5.0, "5", "img_a"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import NamedTuple

from ..errors import quoted

#: a whole number as text, possibly with decimals ("5.0") from a table of floats
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(\.0*)?")
#: largest id that numpy, and so the metric, holds exactly
_LARGEST = 2**63 - 1

#: an id in its one canonical spelling: a number, or text if it is not a number
Key = int | str


def key_from_id(value: object) -> Key | None:
    """The canonical spelling of an id: a whole number if it is one, else its text.

    A number beyond 64 bits stays text, since arrays cannot hold it. None if it is not an id (null,
    a truth value, a fraction, a list).
    """
    if type(value) is int:
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str):
        text = value.strip()
        if not _WHOLE.fullmatch(text):
            return text or None
        number = int(text.partition(".")[0])
    else:
        return None
    if -_LARGEST <= number <= _LARGEST:
        return number
    return str(number) if abs(number) < 10**40 else None


def kind_of_spelling(value: object) -> str | None:
    """The kind of finding for an id's spelling; None if it is a whole number, as it should be."""
    key = key_from_id(value)
    if isinstance(key, str):
        return "id_too_large" if _WHOLE.fullmatch(key) else "id_not_a_number"
    if isinstance(value, str):
        return "id_as_text"
    return "id_as_fraction" if isinstance(value, float) else None


def numbers_of_texts(keys: Iterable[Key]) -> dict[str, int]:
    """A number for each text among the ids of a list: the lowest free ones, in list order."""
    found = list(dict.fromkeys(keys))
    taken = {key for key in found if isinstance(key, int)}
    free = (number for number in count(1) if number not in taken)
    return {key: next(free) for key in found if isinstance(key, str)}


def id_from_value(value: object, texts: Mapping[str, int]) -> int | None:
    """The id that a reference means; ``texts`` comes from :func:`numbers_of_texts`."""
    key = key_from_id(value)
    return texts.get(key) if isinstance(key, str) else key


class IdTable:
    """The ids of a list, to look up which of them a value means.

    Args:
        numbers: the ids.
        spelling: number -> the file's own id, for numbers that stand for text.
    """

    def __init__(self, numbers: Iterable[int], spelling: Mapping[int, object]) -> None:
        self._numbers = frozenset(numbers)
        keys = {number: key_from_id(value) for number, value in spelling.items()}
        self._texts = {key: number for number, key in keys.items() if isinstance(key, str)}

    def id_from_value(self, value: object) -> int | None:
        """The id that ``value`` means, or None if the list has no such id."""
        found = id_from_value(value, self._texts)
        return found if found in self._numbers else None


class Place(NamedTuple):
    """An entry of a list; as text for a message: ``annotations[17] (id 4)``."""

    name: str
    position: int
    entry: object

    def __str__(self) -> str:
        if isinstance(self.entry, dict) and "id" in self.entry:
            return f"{self.name}[{self.position}] (id {shown(self.entry['id'])})"
        return f"{self.name}[{self.position}]"


def shown(value: object) -> str:
    """A JSON value as text for a message."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else quoted(value)
