"""Precision and recall at score thresholds, as they are for a detector in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: minimum IoU of a detection that is right
IOU = 0.5


@dataclass(frozen=True, eq=False)
class Matches:
    """Which detections of a class are right, matched one by one by descending score.

    Whether a detection is right does not depend on those of lower score, so these matches hold for
    any threshold. A detection that matches a crowd is neither right nor wrong.

    Attributes:
        scores: ``[D]`` float32.
        right: ``[D]`` bool, whether it is the first to match a box that counts.
        wrong: ``[D]`` bool, whether it matches nothing, or a box that is already matched.
        boxes: number of ground-truth boxes that count.
    """

    scores: npt.NDArray[np.float32]
    right: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]
    boxes: int

    def above(self, threshold: float) -> Counts:
        """Counts of the detections with greater scores, compared as float32."""
        shown = self.scores > np.float32(threshold)
        found = int(np.count_nonzero(self.right & shown))
        return Counts(found, int(np.count_nonzero(self.wrong & shown)), self.boxes - found)


@dataclass(frozen=True)
class Counts:
    """Numbers of boxes.

    Attributes:
        true_positives: detections that are right.
        false_positives: detections that are wrong, including duplicates.
        missed: ground-truth boxes that no detection has found.
    """

    true_positives: int
    false_positives: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Fraction of the detections that are right; None if there are none."""
        detections = self.true_positives + self.false_positives
        return self.true_positives / detections if detections else None

    @property
    def recall(self) -> float | None:
        """Fraction of the ground truth that is found; None if there is none."""
        boxes = self.true_positives + self.missed
        return self.true_positives / boxes if boxes else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without detections and ground truth."""
        both = 2 * self.true_positives + self.false_positives + self.missed
        return 2 * self.true_positives / both if both else None

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
            "f1": self.f1,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "missed": self.missed,
        }


def operating_point(
    names: Sequence[str], matches: Sequence[Matches], thresholds: Sequence[float]
) -> dict[str, Any]:
    """Precision, recall, F1 and counts at :data:`IOU`, JSON-ready.

    Args:
        names, matches: of the classes.
        thresholds: one per class, which a score must exceed.

    Returns:
        Values for all classes together (their boxes counted as one set; ``score_threshold`` None
        if the classes have different ones), and for each class under ``classes``.
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


@dataclass(frozen=True)
class BestThresholds:
    """Score thresholds of highest F1 at :data:`IOU`; None if no detection is right.

    Attributes:
        overall: for all classes together, their boxes counted as one set.
        by_class: for each class separately, by name; classes with the same name count as one.
    """

    overall: float | None
    by_class: dict[str, float | None]


def best_thresholds(
    names: Sequence[str], matches: Sequence[Matches], least: float
) -> BestThresholds:
    """The thresholds of highest F1 of classes with these names and matches.

    ``least`` is the threshold with which the scores were produced; no result is lower.
    """
    of_name: dict[str, list[Matches]] = {}
    for name, one in zip(names, matches, strict=True):
        of_name.setdefault(name, []).append(one)
    by_class = {name: best_threshold(some, least) for name, some in of_name.items()}
    return BestThresholds(best_threshold(matches, least), by_class)


def best_threshold(matches: Sequence[Matches], least: float) -> float | None:
    """The score threshold of highest F1 (the highest of several); None if nothing is right.

    It lies midway between the lowest score that is kept and the next lower one, or ``least``, so
    that rounding of scores does not change what is kept.
    """
    scores = np.concatenate([np.zeros(0, np.float32), *(one.scores for one in matches)])
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    right, wrong = (
        np.cumsum(np.concatenate([np.zeros(0, bool), *some])[order])
        for some in ([one.right for one in matches], [one.wrong for one in matches])
    )
    boxes = sum(one.boxes for one in matches)
    # equal scores are kept or left out together
    last = np.flatnonzero(np.append(scores[:-1] > scores[1:], True)) if len(scores) else order
    f1 = 2 * right[last] / np.maximum(right[last] + wrong[last] + boxes, 1)
    if not f1.any():
        return None
    kept = int(last[f1.argmax()])
    below = min(least, float(scores[kept]) - 1) if least >= scores[kept] else least
    if kept + 1 < len(scores):
        below = float(scores[kept + 1])
    middle = np.float32((float(scores[kept]) + below) / 2)
    return float(middle) if middle < scores[kept] else below
