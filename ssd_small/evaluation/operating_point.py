"""Precision and recall at score thresholds, as a detector in use has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: least IoU of a detection that is right
IOU = 0.5


@dataclass(frozen=True, eq=False)
class Matches:
    """Which detections of a class are right, one matched after the other by descending score.

    Whether a detection is right does not depend on those of lower score, so the matches under any
    threshold are among these. One that matches a crowd is neither right nor wrong.

    Attributes:
        scores: ``[D]`` float32.
        right: ``[D]`` bool, it is the first to match a box that counts.
        wrong: ``[D]`` bool, it matches nothing or what another one has matched before.
        boxes: ground truth that counts.
    """

    scores: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]
    boxes: int

    def above(self, threshold: float) -> Counts:
        """The counts of the detections whose score is greater; compared as float32."""
        shown = self.scores > np.float32(threshold)
        found = int(np.count_nonzero(self.right & shown))
        return Counts(found, int(np.count_nonzero(self.wrong & shown)), self.boxes - found)


@dataclass(frozen=True)
class Counts:
    """Numbers of boxes.

    Attributes:
        true_positives: detections that are right.
        false_positives: detections that are wrong, duplicates among them.
        missed: ground truth that no detection has found.
    """

    true_positives: int
    false_positives: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None without any."""
        detections = self.true_positives + self.false_positives
        return self.true_positives / detections if detections else None

    @property
    def recall(self) -> float | None:
        """Share of the ground truth that is found; None without any."""
        boxes = self.true_positives + self.missed
        return self.true_positives / boxes if boxes else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.missed + other.missed,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "missed": self.missed,
        }


def operating_point(
    names: Sequence[str], matches: Sequence[Matches], thresholds: Sequence[float]
) -> dict[str, Any]:
    """Precision, recall and counts at :data:`IOU`, JSON-ready.

    Args:
        names, matches: of the classes.
        thresholds: one per class, greater than which a score must be.

    Returns:
        Of all classes together (their boxes counted as one set; ``score_threshold`` None where the
        classes have different ones), and under ``classes`` of each one.
    """
    counts = [one.above(number) for one, number in zip(matches, thresholds, strict=True)]
    common = set(thresholds)
    return {
        "score_threshold": common.pop() if len(common) == 1 else None,
        "iou": IOU,
        **sum(counts, Counts(0, 0, 0)).to_dict(),
        "classes": [
            {"name": name, "score_threshold": number, **one.to_dict()}
            for name, number, one in zip(names, thresholds, counts, strict=True)
        ],
    }
