"""Types and ranges of configuration values, defined once for reading and for messages."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import BadFile, quoted

_MOST_LITERAL = 10_000


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        expected: description for messages.
        take: converts a value from a file; raises ValueError for an invalid one.
    """

    expected: str
    take: Callable[[Any], Any]

    def read(self, value: object, key: str, source: object) -> Any:
        """Convert the value of a key.

        Raises:
            BadFile: the value is not of this kind; the message names source, key and value.
        """
        try:
            return self.take(value)
        except (ValueError, OverflowError):
            raise BadFile(
                f"{source}: {key}: got {quoted(value)}, expected {self.expected}"
            ) from None


def _literal(value: Any) -> Any:
    """Parse a text as a Python literal, as the published reader does; else return it unchanged."""
    if not isinstance(value, str) or len(value) > _MOST_LITERAL:
        return value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value


def _refuse() -> Any:
    raise ValueError


def whole(least: int, most: int) -> Kind:
    """A whole number in a range, including its ends."""

    def take(value: Any) -> int:
        number = _literal(value)
        return number if type(number) is int and least <= number <= most else _refuse()

    return Kind(f"a whole number from {least} to {most}", take)


def number(least: float, most: float, *, above: bool = False, below: bool = False) -> Kind:
    """A finite number in a range; ``above`` and ``below`` exclude its lower and upper end."""

    def take(value: Any) -> float:
        given = _literal(value)
        if type(given) not in (int, float):
            _refuse()
        converted = float(given)
        fits = math.isfinite(converted) and least <= converted <= most
        fits = fits and not (above and converted == least) and not (below and converted == most)
        return converted if fits else _refuse()

    low = f"above {least:g}" if above else f"from {least:g}"
    return Kind(f"a number {low} to {'below ' if below else ''}{most:g}", take)


def flag() -> Kind:
    """True or false."""

    def take(value: Any) -> bool:
        given = _literal(value)
        return given if isinstance(given, bool) else _refuse()

    return Kind("true or false", take)


def text(*choices: str) -> Kind:
    """A text in one line, one of ``choices`` if there are any; a number becomes text."""

    def take(value: Any) -> str:
        given = str(value) if type(value) in (int, float) else value
        if not isinstance(given, str) or len(given.splitlines()) > 1:
            _refuse()
        return given if not choices or given in choices else _refuse()

    return Kind(f"one of {', '.join(choices)}" if choices else "a text in one line", take)


def path() -> Kind:
    """A path; an empty text gives None."""

    def take(value: Any) -> Path | None:
        if not isinstance(value, str) or "\0" in value:
            _refuse()
        return Path(value) if value else None

    return Kind("a path", take)


def names() -> Kind:
    """Names separated by commas, or a list of names; whitespace around a name is dropped."""

    def take(value: Any) -> tuple[str, ...]:
        given = value.split(",") if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(v, str) for v in given):
            _refuse()
        stripped = tuple(one.strip() for one in given)
        if any(len(one.splitlines()) > 1 for one in stripped):
            _refuse()
        return tuple(one for one in stripped if one)

    return Kind("names separated by commas", take)


def several(kind: Kind, least: int = 0, most: int = 1000) -> Kind:
    """A list of values of a kind, as a tuple."""

    def take(value: Any) -> tuple[Any, ...]:
        given = _literal(value)
        if not isinstance(given, list | tuple) or not least <= len(given) <= most:
            _refuse()
        return tuple(kind.take(one) for one in given)

    count = f"{least}" if least == most else f"{least} to {most}"
    return Kind(f"a list of {count} values, each {kind.expected}", take)


def year_sets() -> Kind:
    """Splits of a data set: a list of (year, split), or ``2007:trainval,2012:trainval``."""
    pairs = several(several(text(), 2, 2))

    def take(value: Any) -> tuple[tuple[str, str], ...]:
        given = _literal(value)
        if isinstance(given, str):
            given = [one.split(":") for one in given.split(",") if one.strip()]
        taken: tuple[tuple[str, str], ...] = pairs.take(given)
        stripped = tuple((year.strip(), split.strip()) for year, split in taken)
        return stripped if all(year and split for year, split in stripped) else _refuse()

    return Kind("pairs of year and split such as [['2007', 'trainval']]", take)


def tile_size() -> Kind:
    """Width and height of tiles, as ``300x300`` or a list of two numbers; or ``auto``."""
    sides = several(whole(1, 99_999), 2, 2)

    def take(value: Any) -> tuple[int, ...] | str:
        if value == "auto":
            return "auto"
        given = value.split("x") if isinstance(value, str) and "x" in value else value
        taken: tuple[int, ...] = sides.take(given)
        return taken

    return Kind("tiles such as 300x300, or auto", take)


def either(first: Kind, second: Kind) -> Kind:
    """A value of either kind."""

    def take(value: Any) -> Any:
        try:
            return first.take(value)
        except ValueError:
            return second.take(value)

    return Kind(f"{first.expected}, or {second.expected}", take)


def key(default: Any, kind: Kind | None, *, unused: bool = False) -> Any:
    """Define a field of a section; its key is the field's name in upper case.

    Args:
        default: the published default; for a nested section, its class.
        kind: kind of the value; None for a nested section.
        unused: whether the value is read and checked but has no effect here.
    """
    metadata = {"kind": kind, "unused": unused}
    if kind is None:
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def kinds_of(section: type[Any]) -> Mapping[str, tuple[str, Kind | None, bool]]:
    """Return the keys of a section, each with its field, its kind and whether it is unused."""
    return {
        one.name.upper(): (one.name, one.metadata["kind"], one.metadata["unused"])
        for one in fields(section)
        if "kind" in one.metadata
    }
