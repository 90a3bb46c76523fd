"""Which detections are in only one of two results, and whether rounding can be the reason.

A detection is identified by its class and prior. If two priors of one object tie, each result may
keep a different one: those two form one pair, not two differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..postprocess import Detections
from ..postprocess.boxes import iou_one_to_many
from ..postprocess.oracle import iou_scale_and_offset
from .intervals import IndexArray, Intervals
from .proof import Fault, faults_of_detections, nth_largest

Side = Literal["reference", "other"]
Key = tuple[int, int]


@dataclass(frozen=True)
class Difference:
    """A detection that is in only one of two results.

    Attributes:
        side: the result that has it.
        label: its class.
        prior_index: its prior.
        score: its score in that result.
        explained: whether rounding can be the reason.
        reason: what lies within rounding of what ("score 0.0103 against the threshold 0.01"),
            or the fault that rounding does not explain.
    """

    side: Side
    label: int
    prior_index: int
    score: float
    explained: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two results of one image, matched one to one.

    Attributes:
        pairs: ``[M, 2]`` positions in the reference and in the other result: of the same class
            and prior, or of two priors that tie for the same object.
        differences: detections without a partner.
        faults: what rounding cannot explain in the other result; none if it is proven.
    """

    pairs: npt.NDArray[np.intp]
    differences: tuple[Difference, ...]
    faults: tuple[Fault, ...]

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """The differences that rounding does not explain."""
        return tuple(one for one in self.differences if not one.explained)


def compare_detections(
    reference: Detections, other: Detections, intervals: Intervals
) -> Comparison:
    """Pair two results of one image, and explain each detection that has no partner.

    Args:
        reference: what decode + NMS gives for the reference heads.
        other: the result to be judged.
        intervals: of the reference heads, as wide as the other's heads may differ.
    """
    faults = tuple(faults_of_detections(other, intervals))
    accused = {(f.label, prior): f for f in reversed(faults) for prior in f.prior_indices}
    ours, theirs = _positions(reference), _positions(other)
    pairs = [(i, theirs[key]) for key, i in ours.items() if key in theirs]
    # by position, so that duplicates are left over
    alone = [
        sorted(set(range(len(one))) - {pair[side] for pair in pairs})
        for side, one in enumerate((reference, other))
    ]
    innocent = [
        [i for i in positions if _key(one, i) not in accused]
        for one, positions in zip((reference, other), alone, strict=True)
    ]
    ties = _ties(reference, innocent[0], other, innocent[1], intervals)
    lost, gained = (
        [i for i in positions if i not in {pair[side] for pair in ties}]
        for side, positions in enumerate(alone)
    )
    differences = [
        *_differences("reference", reference, _known(other, intervals), lost, accused, intervals),
        *_differences("other", other, reference, gained, accused, intervals),
    ]
    pairs += ties
    return Comparison(np.array(pairs, np.intp).reshape(-1, 2), tuple(differences), faults)


def _differences(
    side: Side,
    having: Detections,
    lacking: Detections,
    positions: list[int],
    accused: dict[Key, Fault],
    intervals: Intervals,
) -> Iterator[Difference]:
    for position in positions:
        key = _key(having, position)
        fault = accused.get(key)
        reason = None if fault else _reason(key, having, lacking, intervals)
        text = str(fault or reason or "nothing in the reference heads comes close")
        yield Difference(side, *key, float(having.scores[position]), reason is not None, text)


def _positions(detections: Detections) -> dict[Key, int]:
    """Position of each class and prior; for duplicates, the first."""
    keys = zip(detections.labels.tolist(), detections.prior_indices.tolist(), strict=True)
    positions: dict[Key, int] = {}
    for position, key in enumerate(keys):
        positions.setdefault(key, position)
    return positions


def _known(detections: Detections, intervals: Intervals) -> Detections:
    """The detections whose class and prior exist."""
    labels, priors = detections.labels, detections.prior_indices
    classes, num_priors = intervals.scores.shape
    return detections[(labels >= 0) & (labels < classes) & (priors >= 0) & (priors < num_priors)]


def _key(detections: Detections, position: int) -> Key:
    return int(detections.labels[position]), int(detections.prior_indices[position])


def _ties(
    reference: Detections,
    lost: list[int],
    other: Detections,
    gained: list[int],
    intervals: Intervals,
) -> list[tuple[int, int]]:
    """Pairs of a class that may suppress each other, either way round; highest IoU first.

    Each detection is in at most one pair.
    """
    if not lost or not gained:
        return []
    labels = reference.labels[lost], other.labels[gained]
    priors = reference.prior_indices[lost], other.prior_indices[gained]
    (low_a, high_a), (low_b, high_b) = (
        intervals.score_bounds(intervals.scores[label, prior])
        for label, prior in zip(labels, priors, strict=True)
    )
    iou = intervals.extents[priors[0]].iou_high(intervals.extents[priors[1]])
    possible = (labels[0][:, None] == labels[1]) & (iou > intervals.params.iou_threshold)
    possible &= (low_a[:, None] <= high_b) & (low_b <= high_a[:, None])
    pairs: list[tuple[int, int]] = []
    while possible.any():
        a, b = np.unravel_index(np.argmax(np.where(possible, iou, -1)), iou.shape)
        pairs.append((lost[a], gained[b]))
        possible[a], possible[:, b] = False, False
    return pairs


def _reason(key: Key, having: Detections, lacking: Detections, intervals: Intervals) -> str | None:
    """Why one result may lack what the other has, with numbers of the reference heads."""
    label, prior = key
    params = intervals.params
    score = float(intervals.scores[label, prior])
    least = float(intervals.score_bounds(intervals.scores[label, prior])[0])
    if least <= params.score_threshold:
        return f"score {score:.6g} against the threshold {params.score_threshold:g}"
    winners = lacking.prior_indices[lacking.labels == label]
    reason = _suppression(key, having, winners, intervals)
    if reason:
        return reason
    for name, limit, labels, priors in (
        ("keep_topk_per_class", params.keep_topk_per_class, label, winners),
        ("keep_topk", params.keep_topk, lacking.labels, lacking.prior_indices),
    ):
        if limit and len(priors) >= limit:
            scores = intervals.scores[labels, priors]
            if least <= np.fmin.reduce(intervals.score_bounds(scores)[1]):
                return f"score {score:.6g} against {scores.min():.6g}, the last of {name} {limit}"
    limit = params.pre_nms_topk
    others = np.delete(intervals.scores[label], prior)
    others = others[~np.isnan(others)]
    if limit and least <= nth_largest(intervals.score_bounds(others)[1], limit):
        return (
            f"score {score:.6g} against {nth_largest(others, limit):.6g}, "
            f"the last of pre_nms_topk {limit}"
        )
    return None


def _suppression(
    key: Key, having: Detections, winners: IndexArray, intervals: Intervals
) -> str | None:
    """What may suppress a detection in the result that lacks it, and which comparison is close."""
    label, prior = key
    threshold = intervals.params.iou_threshold
    scores = intervals.scores[label, winners]
    low, high = intervals.score_bounds(scores)
    least, most = intervals.score_bounds(intervals.scores[label, prior])
    own, others = intervals.extents[np.array([prior])], intervals.extents[winners]
    iou_low, iou_high = own.iou_low(others)[0], own.iou_high(others)[0]
    able = (iou_high > threshold) & (high >= least)
    close = np.flatnonzero(able & (iou_low <= threshold))
    if len(close):
        overlaps = [(_iou(prior, winner, intervals), winner) for winner in winners[close]]
        iou, winner = min(overlaps, key=lambda one: abs(one[0] - threshold))
        return f"IoU {iou:.6g} with prior {winner} against {threshold:g}"
    # a detection in both results would suppress it in both
    able &= ~np.isin(winners, having.prior_indices[having.labels == label])
    for k in np.flatnonzero(able & (low <= most)):
        score = float(intervals.scores[label, prior])
        return f"score {score:.6g} against {scores[k]:.6g} of prior {winners[k]}, which overlaps it"
    for k in np.flatnonzero(able):
        return f"prior {winners[k]}, which suppresses it, is itself in one result only"
    return None


def _iou(first: int, second: int, intervals: Intervals) -> float:
    """IoU of two boxes of the reference heads."""
    scale, offset = iou_scale_and_offset(intervals.params.pixel_offset)
    boxes = ((intervals.box_low + intervals.box_high) / 2)[[first, second]].astype(np.float32)
    return float(iou_one_to_many(boxes[0] * scale, boxes[1:] * scale, float(offset))[0])
