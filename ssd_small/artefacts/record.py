"""How artefacts grow: format numbers, unknown fields, and reading fields strictly.

One rule for ONNX metadata, sidecar, checkpoint and run. A record has a ``format`` (major, a whole
number) and a ``format_minor`` (absent means 0). A newer minor version adds fields that a reader
may ignore: unknown fields, nested ones too, are kept when the record is written again. What cannot
be ignored raises the major number, and a reader of an older one refuses the file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import BadFile

_QUOTED = 60


def check_format(
    values: object, what: str, known: int, source: str | Path, advice: str
) -> dict[str, Any]:
    """The record, if this version can read it.

    Args:
        values: what was parsed.
        what: kind of record, for messages.
        known: newest major format that is read.
        source: file it is from, for messages.
        advice: how to get a sound one.

    Raises:
        BadFile: no record, without a format, or of a newer one.
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


def unknown_fields(given: object, own: object) -> dict[str, Any]:
    """Fields of ``given`` that ``own``, the same record as this version writes it, lacks.

    Nested objects are compared field by field; what is inside lists is not.
    """
    if not isinstance(given, dict) or not isinstance(own, dict):
        return {}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in own:
            found[name] = value
        elif inner := unknown_fields(value, own[name]):
            found[name] = inner
    return found


def with_unknown_fields(own: dict[str, Any], unknown: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` with the fields that :func:`unknown_fields` found put back."""
    merged = dict(own)
    for name, value in unknown.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[name] = with_unknown_fields(inner, value)
        else:
            merged.setdefault(name, value)
    return merged


class Fields:
    """The fields of a record, each read as what it must be; everything else is a ValueError."""

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
        """Whether a field is there and of a type."""
        return isinstance(self._values.get(name), kind)

    def text(self, name: str, choices: Collection[str] = ()) -> str:
        """A text, one of ``choices`` if there are any."""
        value = self._get(name)
        if not isinstance(value, str) or (choices and value not in choices):
            raise self._wrong(name, f"one of {', '.join(choices)}" if choices else "a text")
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._get(name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number in a range, its ends among it."""
        value = self._get(name)
        if not _is_number(value) or not least <= value <= most:
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
        return tuple(value)

    def numbers(self, name: str, least: float = -math.inf) -> tuple[float, ...]:
        """A list of finite numbers."""
        value = self._get(name)
        if not isinstance(value, (list, tuple)) or not all(
            _is_number(v) and v >= least for v in value
        ):
            raise self._wrong(name, _range("a list of finite numbers", least, math.inf))
        return tuple(float(v) for v in value)

    def integers(self, name: str, least: int, most: int) -> tuple[int, ...]:
        """A list of whole numbers in a range."""
        value = self._get(name)
        if not isinstance(value, (list, tuple)) or not all(
            type(v) is int and least <= v <= most for v in value
        ):
            raise self._wrong(name, f"a list of whole numbers from {least} to {most}")
        return tuple(value)

    def fields(self, name: str) -> Fields:
        """A nested record."""
        return Fields(self._get(name), self._named(name))

    def records(self, name: str) -> list[Fields]:
        """A list of nested records."""
        value = self._get(name)
        if not isinstance(value, (list, tuple)):
            raise self._wrong(name, "a list")
        return [Fields(one, f"{self._named(name)}[{i}]") for i, one in enumerate(value)]

    def mapping(self, name: str) -> dict[str, Any]:
        """An object whose fields are read elsewhere."""
        return dict(self.fields(name)._values)

    def _get(self, name: str) -> Any:
        if name not in self._values:
            raise ValueError(f"{self._named(name)} is missing")
        return self._values[name]

    def _wrong(self, name: str, expected: str) -> ValueError:
        return ValueError(
            f"{self._named(name)}: got {quoted(self._values[name])}, expected {expected}"
        )

    def _named(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name


def quoted(value: object) -> str:
    """A value as a message shows it: on one line, cut."""
    # a whole number of many digits takes long to be written out, or is refused
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}..."


def _is_number(value: object) -> bool:
    if type(value) is int:
        return abs(value) < 1 << 1023  # beyond, no float holds it
    return type(value) is float and math.isfinite(value)


def _range(what: str, least: float, most: float) -> str:
    if least == -math.inf and most == math.inf:
        return what
    return f"{what} of at least {least:g}" if most == math.inf else f"{what}, {least:g} to {most:g}"
