"""How artefacts evolve: format numbers, unknown fields, and reading fields strictly.

One rule for ONNX metadata, sidecar, checkpoint and run. A record has a ``format`` (major, a whole
number) and a ``format_minor`` (absent means 0). A newer minor version adds fields that a reader may
ignore: unknown fields, nested ones too, are kept when the record is written again. A change that
cannot be ignored raises the major number, and older readers refuse the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import BadFile, quoted
from ..files import read_bytes
from .strict_json import SURROGATE, check_json, is_number, record_from_json

#: characters that break a line, move the cursor, or cannot be written
NO_LINE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_format(
    values: object, what: str, known: int, source: str | Path, advice: str
) -> dict[str, Any]:
    """Check that this version can read a record, and return it.

    Args:
        values: the parsed record.
        what: kind of record, for messages.
        known: newest major format that can be read.
        source: file it is from, for messages.
        advice: how to get a valid one, for messages.

    Raises:
        BadFile: not a record, without a format, or of a newer one.
    """
    if not isinstance(values, dict):
        raise BadFile(
            f"{source} holds a damaged {what} ({quoted(values)}, not an object of fields); {advice}"
        )
    major, minor = values.get("format"), values.get("format_minor", 0)
    if type(major) is int and major > known:
        raise BadFile(
            f"{source} was written by a newer ssd-small: its {what} is of format {quoted(major)}, "
            f"and this version reads format {known}; update ssd-small"
        )
    if type(major) is not int or major < 1 or type(minor) is not int or minor < 0:
        found = quoted(major) if type(major) is not int or major < 1 else f"minor {quoted(minor)}"
        raise BadFile(
            f"{source} holds a {what} of format {found}; this version reads format {known}: "
            f"{advice}"
        )
    return values


def check_record(
    values: object, what: str, known: int, source: str | Path, advice: str
) -> dict[str, Any]:
    """Like :func:`check_format`, for a record that must be pure JSON.

    Raises:
        BadFile: as there, or it holds something that is not JSON.
    """
    record = check_format(values, what, known, source, advice)
    try:
        check_json(record)
    except ValueError as error:
        raise BadFile(f"{source} holds a damaged {what} ({error}); {advice}") from error
    return record


def read_record(path: Path, expected: str) -> Any:
    """Parse a record from a file of its own; ``expected`` says what it should be, for messages.

    Raises:
        BadFile: absent, unreadable, or not JSON.
    """
    content = read_bytes(path, expected, _MOST_BYTES)
    try:
        return record_from_json(content)
    except ValueError as error:
        raise BadFile(f"{path} is not JSON ({error}); expected {expected}") from error


#: largest file that is read; a list of all prior boxes takes 2 MB
_MOST_BYTES = 1 << 26
#: fields that this version does not know; those inside a list are keyed by their position in it
Unknown = dict[Any, Any]


def unknown_fields(given: object, own: object) -> Unknown:
    """Fields of ``given`` that are missing in ``own``, the same record as this version writes it.

    Nested objects are compared field by field, and so are objects in lists of equal length.
    """
    if isinstance(given, (list, tuple)) and isinstance(own, list) and len(given) == len(own):
        pairs = {i: unknown_fields(one, own[i]) for i, one in enumerate(given)}
        return {i: inner for i, inner in pairs.items() if inner}
    if not isinstance(given, dict) or not isinstance(own, dict):
        return {}
    found: Unknown = {}
    for name, value in given.items():
        if name not in own:
            found[name] = value
        elif inner := unknown_fields(value, own[name]):
            found[name] = inner
    return found


def with_unknown_fields(own: Mapping[str, Any], unknown: Mapping[Any, Any]) -> dict[str, Any]:
    """``own`` with the fields that :func:`unknown_fields` found added back."""
    merged = dict(own)
    for name, value in unknown.items():
        merged[name] = _merged(merged[name], value) if name in merged else value
    return merged


def _merged(own: Any, unknown: Any) -> Any:
    if isinstance(own, dict) and isinstance(unknown, dict):
        return with_unknown_fields(own, unknown)
    if isinstance(own, list) and isinstance(unknown, dict):
        return [_merged(one, unknown.get(i, {})) for i, one in enumerate(own)]
    return own


class Fields:
    """The fields of a record, each read as a given type; anything else raises ValueError."""

    def __init__(self, values: object, place: str = "") -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{place or 'record'}: got {quoted(values)}, expected an object")
        self._values, self._place = values, place

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def names(self) -> list[str]:
        """Names of all fields."""
        return list(self._values)

    def holds(self, name: str, kind: type) -> bool:
        """Whether a field is present and of this type."""
        return isinstance(self._values.get(name), kind)

    def text(self, name: str, choices: Collection[str] = ()) -> str:
        """A single-line text; one of ``choices``, if given."""
        value = self._get(name)
        if not isinstance(value, str) or (choices and value not in choices):
            raise self._wrong(name, f"one of {', '.join(choices)}" if choices else "a text")
        if NO_LINE.search(value):
            raise self._wrong(name, "a text in one line")
        return value

    def path(self, name: str) -> Path:
        """A path, which need not be text: a file name can contain any byte except 0."""
        value = self._get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise self._wrong(name, "a path")
        return Path(value)

    def integer(self, name: str, least: int, most: int) -> int:
        """A whole number in a range, both ends included."""
        value = self._get(name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number in a range, both ends included."""
        value = self._get(name)
        if not is_number(value) or not least <= value <= most:
            raise self._wrong(name, _range("a finite number", least, most))
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._get(name)
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise self._wrong(name, "a list of texts")
        if any(map(SURROGATE.search, value)):
            raise self._wrong(name, "a list of texts that can be written")
        return tuple(value)

    def numbers(
        self,
        name: str,
        least: float = -math.inf,
        most: float = math.inf,
        count: int | None = None,
    ) -> tuple[float, ...]:
        """A list of finite numbers in a range, both ends included; ``count`` of them, if given."""
        value = self._list(name, count)
        if not all(is_number(v) and least <= v <= most for v in value):
            raise self._wrong(name, _range("a list of finite numbers", least, most))
        return tuple(float(v) for v in value)

    def pairs(
        self, name: str, least: float = -math.inf, most: float = math.inf
    ) -> tuple[tuple[float, float], ...]:
        """A list of pairs of finite numbers in a range, both ends included."""
        pairs = []
        for value in self._list(name, None):
            if not isinstance(value, (list, tuple)) or len(value) != 2:
                raise self._wrong(name, "a list of pairs of numbers")
            if not all(is_number(v) and least <= v <= most for v in value):
                raise self._wrong(name, _range("pairs of finite numbers", least, most))
            pairs.append((float(value[0]), float(value[1])))
        return tuple(pairs)

    def integers(
        self, name: str, least: int, most: int, count: int | None = None
    ) -> tuple[int, ...]:
        """A list of whole numbers in a range, both ends included; ``count`` of them, if given."""
        value = self._list(name, count)
        if not all(type(v) is int and least <= v <= most for v in value):
            raise self._wrong(name, f"a list of whole numbers from {least} to {most}")
        return tuple(value)

    def fields(self, name: str) -> Fields:
        """A nested record."""
        return Fields(self._get(name), self._named(name))

    def records(self, name: str) -> list[Fields]:
        """A list of nested records."""
        return [
            Fields(one, f"{self._named(name)}[{i}]") for i, one in enumerate(self._list(name, None))
        ]

    def lists(self, name: str) -> list[list[Any]]:
        """A list of lists."""
        values = list(self._list(name, None))
        if not all(isinstance(one, (list, tuple)) for one in values):
            raise self._wrong(name, "a list of lists")
        return [list(one) for one in values]

    def mapping(self, name: str) -> dict[str, Any]:
        """An object whose fields are read elsewhere."""
        return dict(self.fields(name)._values)

    def _get(self, name: str) -> Any:
        if name not in self._values:
            raise ValueError(f"{self._named(name)} is missing")
        return self._values[name]

    def _list(self, name: str, count: int | None) -> Collection[Any]:
        value = self._get(name)
        if not isinstance(value, (list, tuple)):
            raise self._wrong(name, "a list")
        if count not in (None, len(value)):
            raise self._wrong(name, f"a list of {count}")
        return value

    def _wrong(self, name: str, expected: str) -> ValueError:
        return ValueError(
            f"{self._named(name)}: got {quoted(self._values[name])}, expected {expected}"
        )

    def _named(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name


def _range(what: str, least: float, most: float) -> str:
    if least == -math.inf and most == math.inf:
        return what
    return f"{what} of at least {least:g}" if most == math.inf else f"{what}, {least:g} to {most:g}"
