"""What is found in a data set that is not as it should be, collected by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import BadFile

#: places of a kind that are shown, the first ones
_SHOWN = 5

#: counted by ``Annotations.dropped``
_APART = ("box_without_area", "box_not_finite")

#: what becomes of it: no repaired file changes it; a repaired file leaves the entry out; put right
#: while reading; used as it is, and mended only in a repaired file; nothing wrong, worth knowing
Fate = Literal["lasting", "error", "repaired", "fixable", "note"]


@dataclass
class _Kind:
    """Occurrences of one kind with one fate."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


class Findings:
    """Faults and notes of a data set, by kind.

    A kind is a word in snake case (``repeated_category``). ``where`` is a line that needs no other
    beside it: list, index, id and field, what was received, what was expected
    (``annotations[17] (id 4): image_id 99 is not the id of an image; ...``). Of each kind all
    occurrences are counted and the first five are kept.
    """

    def __init__(self) -> None:
        self._found: dict[Fate, dict[str, _Kind]] = {}

    def lasting(self, kind: str, where: str) -> None:
        """Training and evaluation cannot, or must not go on, and only people can change it."""
        self._add("lasting", kind, where, 1)

    def error(self, kind: str, where: str) -> None:
        """Training and evaluation cannot go on; a repaired file leaves the entry out."""
        self._add("error", kind, where, 1)

    def repaired(self, kind: str, where: str, count: int = 1) -> None:
        """The reader put it right by itself; a repaired file has it so."""
        self._add("repaired", kind, where, count)

    def fixable(self, kind: str, where: str, count: int = 1) -> None:
        """Training and evaluation use it as it is; a repaired file has it otherwise."""
        self._add("fixable", kind, where, count)

    def note(self, kind: str, where: str, count: int = 1) -> None:
        """Nothing wrong, but worth knowing."""
        self._add("note", kind, where, count)

    def _add(self, fate: Fate, kind: str, where: str, count: int) -> None:
        one = self._found.setdefault(fate, {}).setdefault(kind, _Kind())
        one.count += count
        if len(one.examples) < _SHOWN:
            one.examples.append(where)

    def update(self, other: Findings, prefix: str = "") -> None:
        """Take over what another one holds, its examples with ``prefix`` before them."""
        for fate, kinds in other._found.items():
            for kind, theirs in kinds.items():
                one = self._found.setdefault(fate, {}).setdefault(kind, _Kind())
                one.count += theirs.count
                room = _SHOWN - len(one.examples)
                one.examples += [f"{prefix}{where}" for where in theirs.examples[:room]]

    def of(self, *fates: Fate) -> list[dict[str, Any]]:
        """``kind``, ``count`` and first ``examples`` of the kinds with these fates; JSON-ready."""
        kinds: dict[str, _Kind] = {}
        for fate in fates:
            for kind, theirs in self._found.get(fate, {}).items():
                one = kinds.setdefault(kind, _Kind())
                one.count += theirs.count
                one.examples += theirs.examples[: _SHOWN - len(one.examples)]
        return [
            {"kind": kind, "count": one.count, "examples": one.examples}
            for kind, one in kinds.items()
        ]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Kinds that training and evaluation cannot go on with."""
        return self.of("lasting", "error")

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Kinds that are wrong, errors first."""
        return self.of("lasting", "error", "repaired", "fixable")

    @property
    def has_mended(self) -> bool:
        """Whether a repaired file has something otherwise."""
        return bool(self.of("error", "repaired", "fixable"))

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Kinds that are only worth knowing."""
        return self.of("note")

    @property
    def summary(self) -> str | None:
        """A line for a command that goes on, on what was put right or left out; None: nothing.

        Without boxes that have no area, which are counted apart.
        """
        counts = self.counts("repaired", "fixable")
        listed = [f"{count} {kind}" for kind, count in counts.items() if kind not in _APART]
        if not listed:
            return None
        return f"put right while reading: {', '.join(listed)}; 'ssd-small check-data' says where"

    def counts(self, *fates: Fate) -> Mapping[str, int]:
        """Occurrences by kind."""
        return {one["kind"]: one["count"] for one in self.of(*fates)}


class FirstError(Findings):
    """Findings of a file that has to be right: the first error ends the reading.

    Args:
        path: the file, which the message names.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def lasting(self, kind: str, where: str) -> None:
        """Raises BadFile."""
        self.error(kind, where)

    def error(self, kind: str, where: str) -> None:
        """Raises BadFile."""
        raise BadFile(
            f"{self._path}: {where}; correct it, or see all that is wrong, and mend it, with "
            "'ssd-small check-data'"
        )
