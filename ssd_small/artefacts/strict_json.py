"""JSON that all readers understand in the same way, also as values inside a checkpoint.

Fields of an object have distinct names, numbers are finite and fit a float, and nesting is limited.
Python's own parser is less strict.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from ..errors import quoted

#: far more than any record needs, but still quick to walk through and write
_MOST_DEPTH, _MOST_VALUES = 64, 100_000
#: half a UTF-16 pair, which no encoding can write
SURROGATE = re.compile("[\ud800-\udfff]")


def record_from_json(text: str | bytes) -> Any:
    """Parse JSON strictly: no duplicate fields, no NaN.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"field {quoted(twice)} stands in it twice")
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def check_json(record: object) -> None:
    """Refuse values that are not JSON or not portable, with ValueError."""
    left, count = [("", record, 0)], 1
    while left:
        place, value, depth = left.pop()
        if isinstance(value, (dict, list, tuple)):
            count += len(value)
            if depth == _MOST_DEPTH or count > _MOST_VALUES:
                fault = "nested too deep" if depth == _MOST_DEPTH else "too many values"
                raise ValueError(f"{quoted(place)}: {fault}")
            left += ((inner, one, depth + 1) for inner, one in _inside(place, value))
        elif not (value is None or isinstance(value, (bool, str)) or is_number(value)):
            raise ValueError(f"{place}: got {quoted(value)}, expected a value of JSON")


def _inside(place: str, value: dict[Any, Any] | Collection[Any]) -> Iterator[tuple[str, Any]]:
    """Contents of an object or list, each with its place."""
    if not isinstance(value, dict):
        yield from ((f"{place}[{i}]", one) for i, one in enumerate(value))
        return
    for name, one in value.items():
        if not isinstance(name, str) or SURROGATE.search(name):
            raise ValueError(f"{place or 'record'}: got a field {quoted(name)}, expected a name")
        yield (f"{place}.{name}" if place else name), one


def is_number(value: object) -> bool:
    """Whether a value is a finite number that a float can hold."""
    if type(value) is int:
        return abs(value) < 1 << 1023  # beyond, no float holds it
    return type(value) is float and math.isfinite(value)
