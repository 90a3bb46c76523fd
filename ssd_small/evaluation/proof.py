"""Proof that detections are what decode + NMS may give for heads that differ a little.

An engine's heads differ from PyTorch's by rounding, so a score or an IoU that lies within that
rounding of its threshold may fall on the other side, with all that follows from it. Here the size
of the difference becomes an interval for every score, box and IoU of the reference heads.
Detections are accepted only if every decision behind them is one that the intervals allow: with
intervals of zero width, only the greedy result itself is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..postprocess import Detections, PostprocessParams
from .intervals import DoubleArray, IndexArray, Intervals, intervals_from_heads

#: elements of an IoU table processed at a time
_TABLE = 1 << 18


@dataclass(frozen=True)
class Fault:
    """Something in the detections of one image that rounding cannot explain.

    Attributes:
        text: what is wrong, with the numbers.
        label: the class it is about.
        prior_indices: the detections of that class it is about, found or missing; empty if it is
            about the image as a whole.
    """

    text: str
    label: int = 0
    prior_indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.prior_indices:
            return self.text
        priors = " and ".join(map(str, self.prior_indices[:2]))
        more = f" ({len(self.prior_indices)} of them)" if len(self.prior_indices) > 2 else ""
        return f"class {self.label}, prior {priors}: {self.text}{more}"


def heads_difference(
    own: Iterable[npt.NDArray[np.floating]], reference: Iterable[npt.NDArray[np.floating]]
) -> float:
    """Largest difference of any output as a fraction of that output's largest absolute value.

    To be compared with :data:`ssd_small.evaluation.limits.HEAD_LIMITS`; NaN if an output contains
    NaN.

    Args:
        own: outputs such as loc and conf.
        reference: the same outputs to compare with.
    """
    shares = [
        np.abs(mine - other).max() / np.abs(other).max()
        for mine, other in zip(own, reference, strict=True)
    ]
    return float(np.max(shares))


def faults_from_heads(
    found: Sequence[Detections],
    loc: npt.NDArray[np.floating],
    conf: npt.NDArray[np.floating],
    priors: npt.NDArray[np.floating],
    params: PostprocessParams,
    *,
    loc_error: float,
    conf_error: float,
) -> list[list[Fault]]:
    """The faults of each image's detections; an empty list for an image that is proven.

    Args:
        found: one per image.
        loc: ``[N, P, 4]`` reference heads.
        conf: ``[N, P, C]`` reference heads.
        priors: ``[P, 4]`` (cx, cy, w, h), unit square.
        params: of decode + NMS.
        loc_error: how much an element of the heads behind ``found`` may differ from ``loc``.
        conf_error: the same for ``conf``.
    """
    result = []
    for one, image_loc, image_conf in zip(found, loc, conf, strict=True):
        intervals = intervals_from_heads(
            image_loc, image_conf, priors, params, loc_error=loc_error, conf_error=conf_error
        )
        result.append(list(faults_of_detections(one, intervals)))
    return result


def faults_of_detections(found: Detections, intervals: Intervals) -> Iterator[Fault]:
    """What rounding cannot explain in the detections of one image; nothing if they are proven."""
    classes, num_priors = intervals.scores.shape
    known = (found.labels >= 0) & (found.labels < classes)
    known &= (found.prior_indices >= 0) & (found.prior_indices < num_priors)
    for one in np.flatnonzero(~known):
        text = f"there are {classes} classes and {num_priors} priors"
        yield Fault(text, int(found.labels[one]), (int(found.prior_indices[one]),))
    found = found[known]
    yield from _faults_of_list(found, intervals.params)
    yield from _faults_of_values(found, intervals)
    # the absence of a score that the last one kept may outrank is explained by the cut
    cut = -np.inf
    if intervals.params.keep_topk and len(found) >= intervals.params.keep_topk:
        cut = intervals.smallest_high(found.labels, found.prior_indices)
    for label in range(classes):
        if label != intervals.params.background_label:
            kept = found.prior_indices[found.labels == label]
            yield from _faults_of_class(label, kept, intervals, cut)


def _faults_of_list(found: Detections, params: PostprocessParams) -> Iterator[Fault]:
    _, first, counts = np.unique(
        found.labels.astype(np.int64) << 32 | found.prior_indices,
        return_index=True,
        return_counts=True,
    )
    for i in first[counts > 1]:
        yield Fault("twice", int(found.labels[i]), (int(found.prior_indices[i]),))
    order = np.lexsort((found.prior_indices, found.labels, -found.scores))
    if not np.array_equal(order, np.arange(len(found))):
        yield Fault("not in the total order")
    if params.keep_topk and len(found) > params.keep_topk:
        yield Fault(f"{len(found)} detections, more than keep_topk {params.keep_topk}")


def _faults_of_values(found: Detections, intervals: Intervals) -> Iterator[Fault]:
    labels, priors = found.labels, found.prior_indices
    low, high = intervals.score_bounds(intervals.scores[labels, priors])
    candidate = high > intervals.params.score_threshold
    right = (found.scores >= low) & (found.scores <= high)
    inside = (found.boxes >= intervals.box_low[priors]) & (
        found.boxes <= intervals.box_high[priors]
    )
    for i in np.flatnonzero(~(candidate & right & inside.all(axis=1))):
        key = int(labels[i]), (int(priors[i]),)
        if not candidate[i]:
            threshold = intervals.params.score_threshold
            yield Fault(f"score {high[i]:.6g} at most, not above {threshold:g}", *key)
        elif not right[i]:
            yield Fault(f"score {found.scores[i]:.6g} outside {low[i]:.6g} .. {high[i]:.6g}", *key)
        if not inside[i].all():
            yield Fault(f"box {found.boxes[i].tolist()} is not that of the prior", *key)


def _faults_of_class(
    label: int, kept: IndexArray, intervals: Intervals, cut: float
) -> Iterator[Fault]:
    params = intervals.params
    low, high = intervals.score_bounds(intervals.scores[label])
    possible = high > params.score_threshold
    if not len(kept) and not possible.any():
        return
    for pair in _overlapping(kept, intervals):
        yield Fault("they overlap, and both are kept", label, pair)
    # certain candidates that were not kept and are above the cut over all classes
    absent = low > max(params.score_threshold, cut)
    absent[kept] = False
    if params.pre_nms_topk:
        certain = nth_largest(low[low > params.score_threshold], params.pre_nms_topk)
        for prior in kept[high[kept] < certain]:
            yield Fault("beyond pre_nms_topk", label, (int(prior),))
        # those that stay within the cut even if all others come before them; hence + 1, for itself
        absent &= low > nth_largest(high[possible], params.pre_nms_topk + 1)
    limit = params.keep_topk_per_class
    if limit and len(kept) > limit:
        text = f"{len(kept)} of class {label}, more than keep_topk_per_class {limit}"
        yield Fault(text)
    if limit and len(kept) >= limit:
        absent &= low > np.fmin.reduce(high[kept])
    missing = _unsuppressed(np.flatnonzero(absent), kept, low, high, intervals)
    if len(missing):
        missing = missing[np.argsort(-low[missing], kind="stable")]
        yield Fault("missing, and nothing suppresses it", label, tuple(missing.tolist()))


def nth_largest(values: npt.NDArray[np.floating], n: int) -> float:
    """The n-th largest of the values; -infinity if there are fewer."""
    if len(values) < n:
        return -np.inf
    return float(np.partition(values, len(values) - n)[len(values) - n])


def _overlapping(kept: IndexArray, intervals: Intervals) -> Iterator[tuple[int, int]]:
    """Pairs of kept priors whose boxes certainly overlap by more than the threshold."""
    boxes = intervals.extents[kept]
    step = max(1, _TABLE // max(1, len(kept)))
    for start in range(0, len(kept), step):
        iou = boxes[start : start + step].iou_low(boxes[start:])
        for i, j in np.argwhere(np.triu(iou > intervals.params.iou_threshold, 1)):
            yield int(kept[start + i]), int(kept[start + j])


def _unsuppressed(
    absent: IndexArray, kept: IndexArray, low: DoubleArray, high: DoubleArray, intervals: Intervals
) -> IndexArray:
    """The absent priors that none of the kept ones can suppress."""
    boxes, winners = intervals.extents[absent], intervals.extents[kept]
    # best first, passing on only what is left, just as greedy suppression shrinks its list
    start = 0
    while start < len(kept) and len(absent):
        some = slice(start, start + max(1, _TABLE // len(absent)))
        # [some, absent]: the long axis last
        by = winners[some].iou_high(boxes) > intervals.params.iou_threshold
        by &= high[kept[some], None] >= low[absent]
        left = np.flatnonzero(~by.any(axis=0))
        absent, boxes = absent[left], boxes[left]
        start = some.stop
    return absent
