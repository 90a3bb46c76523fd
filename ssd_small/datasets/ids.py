"""Ids of pictures, categories and annotations, however a tool spells them: 5, 5.0, "5", "img_a"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import NamedTuple

from ..errors import quoted

#: a whole number as text; with decimals where a table held it as a float
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(\.0*)?")
#: what numpy, and with it the metric, keeps exactly
_LARGEST = 2**63 - 1

#: an id that is spelled in one way only: a number, or the text where it is none
Key = int | str


def key_from_id(value: object) -> Key | None:
    """The one spelling of an id: a whole number where it is one, else its text.

    A number beyond 64 bits stays text, since arrays do not hold it. None: not an id (null, a truth
    value, a fraction, a list).
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
    """The finding that an id's spelling is, None where it is a whole number as it should be."""
    key = key_from_id(value)
    if isinstance(key, str):
        return "id_too_large" if _WHOLE.fullmatch(key) else "id_not_a_number"
    if isinstance(value, str):
        return "id_as_text"
    return "id_as_fraction" if isinstance(value, float) else None


def numbers_of_texts(keys: Iterable[Key]) -> dict[str, int]:
    """A number for each text among the ids of a list: the lowest that are free, in their order."""
    found = list(dict.fromkeys(keys))
    taken = {key for key in found if isinstance(key, int)}
    free = (number for number in count(1) if number not in taken)
    return {key: next(free) for key in found if isinstance(key, str)}


def id_from_value(value: object, texts: Mapping[str, int]) -> int | None:
    """The id that a reference means; ``texts`` is :func:`numbers_of_texts`."""
    key = key_from_id(value)
    return texts.get(key) if isinstance(key, str) else key


class IdTable:
    """The ids of a list, and which of them a value means.

    Args:
        numbers: the ids.
        spelling: how the file has those that stand for a text.
    """

    def __init__(self, numbers: Iterable[int], spelling: Mapping[int, object]) -> None:
        self._numbers = frozenset(numbers)
        keys = {number: key_from_id(value) for number, value in spelling.items()}
        self._texts = {key: number for number, key in keys.items() if isinstance(key, str)}

    def id_from_value(self, value: object) -> int | None:
        """The id, None where there is none such."""
        found = id_from_value(value, self._texts)
        return found if found in self._numbers else None


class Place(NamedTuple):
    """An entry of a list; as text, for a message: ``annotations[17] (id 4)``."""

    name: str
    position: int
    entry: object

    def __str__(self) -> str:
        if isinstance(self.entry, dict) and "id" in self.entry:
            return f"{self.name}[{self.position}] (id {shown(self.entry['id'])})"
        return f"{self.name}[{self.position}]"


def shown(value: object) -> str:
    """A JSON value for a message."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else quoted(value)
