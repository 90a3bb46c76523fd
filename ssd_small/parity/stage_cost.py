"""Compute what one stage of an engine costs, from the results with and without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..datasets.coco import Annotations
from ..postprocess import Detections
from .changed_detections import changed, mean_ap
from .naming import Naming


@dataclass(frozen=True)
class StageCost:
    """What one stage of the engine does to the reference's result.

    Attributes:
        stage: one of :data:`~ssd_small.parity.swaps.STAGES`.
        map_change: COCO's AP with the engine's stage minus that without it; None without
            annotations.
        detections_changed: how many detections it changes, see
            :func:`~ssd_small.parity.changed_detections.changed`.
        reason: what the engine does differently, if a line can say it.
    """

    stage: str
    map_change: float | None = None
    detections_changed: int = 0
    reason: str | None = None

    @property
    def map_cost(self) -> float | None:
        """How far AP moves, up or down."""
        return None if self.map_change is None else abs(self.map_change)

    def times(self, sign: int) -> StageCost:
        """The same cost with the sign of the AP change multiplied by ``sign``."""
        change = None if self.map_change is None else sign * self.map_change
        return replace(self, map_change=change)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "stage": self.stage,
            "map_cost": self.map_cost,
            "detections_changed": self.detections_changed,
            "map_change": self.map_change,
            "reason": self.reason,
        }


class ApWithoutSwap:
    """Caches AP without a swap, which most stages share."""

    def __init__(self) -> None:
        self._known: dict[int, float | None] = {}

    def __call__(
        self, found: list[Detections], naming: Naming, annotations: Annotations
    ) -> float | None:
        """AP of detections; the list's identity is the cache key."""
        if id(found) not in self._known:
            self._known[id(found)] = mean_ap(found, naming, annotations)
        return self._known[id(found)]


@dataclass(eq=False)
class Swap:
    """Results with and without one stage swapped.

    Attributes:
        names: namings of the results without and with the swap.
        without: results without it, one per picture.
        swapped: results with it, one per picture; the same object as in ``without`` if unchanged.
    """

    names: tuple[Naming, Naming]
    without: list[Detections]
    swapped: list[Detections]

    def cost(
        self, stage: str, annotations: Annotations | None, reason: str | None, before: ApWithoutSwap
    ) -> StageCost:
        """Compute the cost of the stage."""
        renamed = self.names[0] is not self.names[1]
        pairs = list(zip(self.without, self.swapped, strict=True))
        if not renamed and all(a is b for a, b in pairs):
            return StageCost(stage, None if annotations is None else 0.0, 0, reason)
        number = sum(changed(a, b, self.names) for a, b in pairs)
        if annotations is None:
            return StageCost(stage, None, number, reason)
        without = before(self.without, self.names[0], annotations)
        after = mean_ap(self.swapped, self.names[1], annotations)
        change = None if without is None or after is None else after - without
        return StageCost(stage, change, number, reason)
