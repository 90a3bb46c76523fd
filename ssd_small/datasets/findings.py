"""Collect what is wrong in a data set, or worth knowing about it, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import BadFile

#: number of places shown per kind, the first ones
_SHOWN = 5

#: counted in ``Annotations.dropped`` instead
_APART = ("box_without_area", "box_not_finite")

#: what becomes of a finding, in this order: no repaired file changes it; a repaired file leaves the
#: entry out; repaired while reading; used as it is, mended only in a repaired file; merely a note
Fate = Literal["lasting", "error", "repaired", "fixable", "note"]


@dataclass
class _Kind:
    """Occurrences of one kind with one fate."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


class Findings:
    """Faults and notes of a data set, by kind.

    A kind is a word in snake case (``repeated_category``). ``where`` is a self-contained line:
    list, index, id and field, what was received, what was expected
    (``annotations[17] (id 4): image_id 99 is not the id of an image; ...``). All occurrences of a
    kind are counted, and the first five are kept.
    """

    def __init__(self) -> None:
        self._found: dict[Fate, dict[str, _Kind]] = {}

    def lasting(self, kind: str, where: str) -> None:
        """Add a fault that stops training and evaluation and that only people can correct."""
        self._add("lasting", kind, where, 1)

    def error(self, kind: str, where: str) -> None:
        """Add a fault that stops training and evaluation; a repaired file leaves the entry out."""
        self._add("error", kind, where, 1)

    def repaired(self, kind: str, where: str, count: int = 1) -> None:
        """Add a fault that the reader has repaired; a repaired file has it corrected."""
        self._add("repaired", kind, where, count)

    def fixable(self, kind: str, where: str, count: int = 1) -> None:
        """Add a fault that training and evaluation accept as it is; a repaired file mends it."""
        self._add("fixable", kind, where, count)

    def note(self, kind: str, where: str, count: int = 1) -> None:
        """Add something that is not wrong, but worth knowing."""
        self._add("note", kind, where, count)

    def _add(self, fate: Fate, kind: str, where: str, count: int) -> None:
        one = self._found.setdefault(fate, {}).setdefault(kind, _Kind())
        one.count += count
        if len(one.examples) < _SHOWN:
            one.examples.append(where)

    def update(self, other: Findings, prefix: str = "") -> None:
        """Add all findings of ``other``, with ``prefix`` before its examples."""
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
        """Kinds that stop training and evaluation."""
        return self.of("lasting", "error")

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Kinds that are wrong, errors first."""
        return self.of("lasting", "error", "repaired", "fixable")

    @property
    def has_mended(self) -> bool:
        """Whether a repaired file differs in anything."""
        return bool(self.of("error", "repaired", "fixable"))

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Kinds that are only worth knowing."""
        return self.of("note")

    @property
    def summary(self) -> str | None:
        """A line for a command that carries on, about what was repaired; None if nothing was.

        Boxes without area are not included, as they are counted separately.
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
    """Findings of a file that has to be correct: the first error raises BadFile.

    Args:
        path: the file, named in the message.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def lasting(self, kind: str, where: str) -> None:
        """Raise BadFile."""
        self.error(kind, where)

    def error(self, kind: str, where: str) -> None:
        """Raise BadFile."""
        raise BadFile(
            f"{self._path}: {where}; correct it, or see all that is wrong, and mend it, with "
            "'ssd-small check-data'"
        )
