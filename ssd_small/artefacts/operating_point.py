"""Operating point of a detector: score thresholds that an evaluation has found.

It is part of the description, and passes from a checkpoint to ONNX to an engine, or is written
into an engine's sidecar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .record import Fields

#: scores are float32
_LARGEST = 3.4028234663852886e38


@dataclass(frozen=True)
class OperatingPoint:
    """Score thresholds, and what was measured at the common one, at an IoU of 0.5.

    Attributes:
        score_threshold: common to all classes; detections have greater scores.
        precision, recall, f1: over all classes together, 0 to 1.
        classes: threshold per class name; None if no detection of the class was right.
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
        """Read the fields strictly; ValueError if one is missing or wrong."""
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
