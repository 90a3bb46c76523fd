"""Every field of a record, removed, of another type, huge, negative, no number, and so on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Place = tuple[str | int, ...]

REMOVED = object()
#: lists in lists: more than any record needs, few enough for every parser
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]

#: what takes the place of a value, by name
REPLACEMENTS: dict[str, Any] = {
    "null": None,
    "text": "odd",
    "empty text": "",
    "number as text": "1",
    "long text": "x" * 10**6,
    "lone surrogate": "a\ud800b",
    "lines": "a\nb",
    "list": [1, "a"],
    "empty list": [],
    "object": {"a": 1},
    "empty object": {},
    "deep list": DEEP,
    "true": True,
    "false": False,
    "0": 0,
    "1": 1,
    "-1": -1,
    "-0.0": -0.0,
    "0.5": 0.5,
    "1.0": 1.0,
    "-2.5": -2.5,
    "10**9": 10**9,
    "2**63": 2**63,
    "10**400": 10**400,
    "1e308": 1e308,
    "1e30": 1e30,
    "-1e30": -1e30,
    "1e-320": 1e-320,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}
#: fields that no version has written; the last ones are names of what inspect tells besides
STRANGERS = ("novelty", "kind", "file", "tensors", "layers", "unknown", "state_dict")


@dataclass(frozen=True, eq=False)
class Damage:
    """One change of a record.

    Attributes:
        path: keys and positions that lead to the field.
        name: what was done to it.
        value: what is there now; REMOVED for nothing.
        was: what was there before; REMOVED for nothing.
    """

    path: Place
    name: str
    value: Any
    was: Any

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.name}"

    def applied(self, record: Any) -> Any:
        """A copy of a record with this damage."""
        changed = copy.deepcopy(record)
        inner = changed
        for key in self.path[:-1]:
            inner = inner[key]
        if self.value is REMOVED:
            del inner[self.path[-1]]
        else:
            inner[self.path[-1]] = self.value
        return changed


def damages(record: dict[str, Any]) -> dict[Place, list[Damage]]:
    """All changes of a record, by the field they are done to."""
    found: dict[Place, list[Damage]] = {(): list(_strangers((), record))}
    for path, value in _fields(record, ()):
        found[path] = [Damage(path, "removed", REMOVED, value)]
        found[path] += [Damage(path, name, new, value) for name, new in _changes(value)]
        found[path] += _strangers(path, value)
    return found


def _fields(value: Any, path: Place) -> Iterator[tuple[Place, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key), inner
        if isinstance(inner, (dict, list)):
            yield from _fields(inner, (*path, key))


def _changes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from REPLACEMENTS.items()
    if isinstance(value, bool):
        yield "the other", not value
    elif isinstance(value, (int, float)):
        yield "one more", value + 1
        yield "negative", -value
        yield "as a float", float(value)
    if isinstance(value, float):
        yield "next float", math.nextafter(value, math.inf)
    if isinstance(value, str):
        yield "longer", value + "x"
    if isinstance(value, list) and value:
        yield "one more", [*value, value[0]]
        yield "one less", value[1:]
        yield "reversed", value[::-1]
        yield "many", value * 10_000


def _strangers(path: Place, value: Any) -> Iterator[Damage]:
    if isinstance(value, dict):
        for name in STRANGERS:
            yield Damage((*path, name), "unknown field", {"a": [1, None]}, REMOVED)
        yield Damage((*path, "novelty"), "unknown field with nan", math.nan, REMOVED)
        yield Damage((*path, "novelty"), "unknown field, deep", DEEP, REMOVED)
        yield Damage((*path, "novelty"), "unknown field, huge", 10**400, REMOVED)


def json_text(value: Any, twice: Place | None = None) -> str:
    """A value as JSON, with what ``json.dumps`` writes though it is none (NaN).

    Args:
        value: of any depth.
        twice: path of a field that is written twice, the second time with another value.
    """
    if isinstance(value, dict):
        parts = []
        for key, inner in value.items():
            here = twice is not None and twice[:1] == (key,)
            rest = twice[1:] if here and twice is not None else None
            parts.append(f"{json_text(key)}: {json_text(inner, rest or None)}")
            if here and not rest:
                parts.append(f"{json_text(key)}: 1")
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, (list, tuple)):
        inside = (
            json_text(v, twice[1:] if twice is not None and twice[0] == i else None)
            for i, v in enumerate(value)
        )
        return "[" + ", ".join(inside) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    import json

    return json.dumps(value)
