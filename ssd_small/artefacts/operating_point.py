"""Where a detector is meant to be used: score thresholds that an evaluation has found.

They travel in the description: from a checkpoint to ONNX to an engine, or in an engine's sidecar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .record import Fields

#: scores are float32
_LARGEST = 3.4028234663852886e38


@dataclass(frozen=True)
class OperatingPoint:
    """Score thresholds, and what was measured at the one of all classes, at an IoU of 0.5.

    Attributes:
        score_threshold: of all classes; scores are greater.
        precision, recall, f1: of all classes together, 0 to 1.
        classes: threshold by class name; None where nothing of the class was right.
    """

    score_threshold: float
    precision: float
    recall: float
    f1: float
    classes: tuple[tuple[str, float | None], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "score_threshold": self.score_threshold,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "classes": dict(self.classes),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> OperatingPoint:
        """Read strictly; ValueError."""
        classes, limits = fields.fields("classes"), (-_LARGEST, _LARGEST)
        by_class = tuple(
            (name, classes.number(name, *limits) if name in classes else None)
            for name in classes.names()
        )
        return cls(
            score_threshold=fields.number("score_threshold", *limits),
            precision=fields.number("precision", 0, 1),
            recall=fields.number("recall", 0, 1),
            f1=fields.number("f1", 0, 1),
            classes=by_class,
        )
