"""Proof that detections are what decode + NMS may give for heads that differ a little.

An engine's heads differ from PyTorch's by rounding, so a score or an IoU that lies within that
rounding of its threshold may fall on the other side, and everything that follows from it. Here
the size of the difference becomes an interval for every score, box and IoU of the reference
heads. Detections are accepted only if every decision behind them is one that the intervals
leave open: with intervals of no width that is the greedy result itself, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc
from ssd_small.postprocess.detections import Detections
from ssd_small.postprocess.numerics import sigmoid_f32, softmax_f32
from ssd_small.postprocess.oracle import iou_scale_and_offset

#: relative rounding of scores and absolute rounding of boxes in single precision, a few units
ROUNDING = 1e-6


@dataclass(frozen=True)
class Intervals:
    """Where the scores ``[P, C]`` and box corners ``[P, 4]`` of an image may lie."""

    score_low: np.ndarray
    score_high: np.ndarray
    box_low: np.ndarray
    box_high: np.ndarray


def intervals_from_heads(
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    params: PostprocessParams,
    loc_error: float,
    conf_error: float,
) -> Intervals:
    """For heads of one image whose elements may be off by so much.

    Softmax: numerator and denominator each change by a factor of at most ``exp(conf_error)``;
    a sigmoid changes by less. Boxes: centres move by ``variance * loc_error`` prior sizes,
    sizes change by a factor of at most ``exp(variance * loc_error)``.
    """
    assert params.activation in ("softmax", "sigmoid")
    scores = (softmax_f32 if params.activation == "softmax" else sigmoid_f32)(conf)
    scores = scores.astype(np.float64)
    if params.background_label >= 0:
        scores[:, params.background_label] = 0
    factor = np.exp(2 * conf_error) * (1 + ROUNDING)
    boxes = boxes_xyxy_from_loc(loc, priors, params.variances).astype(np.float64)
    sizes = np.abs(boxes[:, 2:] - boxes[:, :2])
    centre, size = (variance * loc_error for variance in params.variances)
    margin = centre * priors[:, 2:] + sizes / 2 * np.expm1(size) + ROUNDING
    margin = np.concatenate([margin, margin], axis=1)
    return Intervals(scores / factor, scores * factor, boxes - margin, boxes + margin)


def faults_of_detections(
    found: Detections, given: Intervals, params: PostprocessParams
) -> Iterator[str]:
    """What the detections of one image cannot be by rounding; nothing if they are proven."""
    keys = list(zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True))
    if len(set(keys)) != len(keys):
        yield "a (label, prior) twice"
    order = np.lexsort((found.prior_indices, found.labels, -found.scores))
    if order.tolist() != list(range(len(found))):
        yield "not in the total order"
    if params.keep_topk and len(found) > params.keep_topk:
        yield f"{len(found)} detections, more than keep_topk"
    yield from _faults_of_values(found, given, params)
    # a score that the last one kept may outrank is explained by the cut
    full = bool(params.keep_topk) and len(found) == params.keep_topk
    cut = given.score_high[found.prior_indices, found.labels].min() if full else -np.inf
    for label in range(given.score_low.shape[1]):
        if label != params.background_label:
            kept = found.prior_indices[found.labels == label]
            yield from _faults_of_class(label, kept, given, params, cut)


def _faults_of_values(
    found: Detections, given: Intervals, params: PostprocessParams
) -> Iterator[str]:
    low, high = (s[found.prior_indices, found.labels] for s in (given.score_low, given.score_high))
    for i in np.flatnonzero((found.scores < low) | (found.scores > high)):
        yield f"detection {i}: score {found.scores[i]} outside {low[i]} .. {high[i]}"
    for i in np.flatnonzero(~(high > params.score_threshold)):
        yield f"detection {i}: score {high[i]} at most, below the threshold"
    inside = (found.boxes >= given.box_low[found.prior_indices]) & (
        found.boxes <= given.box_high[found.prior_indices]
    )
    for i in np.flatnonzero(~inside.all(axis=1)):
        yield f"detection {i}: box {found.boxes[i]} is not that of prior {found.prior_indices[i]}"


def _faults_of_class(
    label: int, kept: np.ndarray, given: Intervals, params: PostprocessParams, cut: float
) -> Iterator[str]:
    low, high = given.score_low[:, label], given.score_high[:, label]
    iou_low, iou_high = iou_intervals(kept, kept, given, params.pixel_offset)
    for i, j in np.argwhere(np.triu(iou_low > params.iou_threshold, 1)):
        yield f"class {label}: priors {kept[i]} and {kept[j]} overlap, and both are kept"
    if params.pre_nms_topk:
        certain = np.sort(low[low > params.score_threshold])
        better = len(certain) - np.searchsorted(certain, high[kept], "right")
        for i in np.flatnonzero(better >= params.pre_nms_topk):
            yield f"class {label}: prior {kept[i]} is beyond pre_nms_topk"
    # what must be a candidate, was not kept, and is above the cut over all classes
    absent = low > max(params.score_threshold, cut)
    absent[kept] = False
    if params.pre_nms_topk:
        possible = np.sort(high[high > params.score_threshold])
        before = len(possible) - np.searchsorted(possible, low, "left") - 1
        absent &= before < params.pre_nms_topk
    limit = params.keep_topk_per_class
    if limit and len(kept) > limit:
        yield f"class {label}: {len(kept)} kept, more than keep_topk_per_class"
    if limit and len(kept) == limit:
        absent &= low > high[kept].min()
    rest = np.flatnonzero(absent)
    if len(rest):
        _, iou_high = iou_intervals(rest, kept, given, params.pixel_offset)
        by = (iou_high > params.iou_threshold) & (high[kept] >= low[rest, None])
        for prior in rest[~by.any(axis=1)]:
            yield f"class {label}: prior {prior} is missing, and nothing suppresses it"


def iou_intervals(
    first: np.ndarray, second: np.ndarray, given: Intervals, pixel_offset: float
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest IoU ``[A, B]`` of the boxes of two lists of priors."""
    scale, offset = (float(v) for v in iou_scale_and_offset(pixel_offset))
    # a corner's interval widens a box when its far corners are taken, and narrows it otherwise
    outer = np.concatenate([given.box_low[:, :2], given.box_high[:, 2:]], axis=1) * scale
    inner = np.concatenate([given.box_high[:, :2], given.box_low[:, 2:]], axis=1) * scale
    results = []
    for inter_boxes, area_boxes in ((inner, outer), (outer, inner)):
        a, b = inter_boxes[first][:, None], inter_boxes[second][None]
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + offset
        inter = np.clip(sides, 0, None).prod(axis=-1)
        area = np.clip(area_boxes[:, 2:] - area_boxes[:, :2] + offset, 0, None).prod(axis=-1)
        union = area[first][:, None] + area[second][None] - inter
        # where the smallest areas are less than the largest intersection nothing is excluded
        whole = np.where(inter > 0, 1.0, 0.0)
        results.append(np.divide(inter, union, out=whole, where=union > inter))
    # single precision rounds the quotient as well
    return results[0] - ROUNDING, results[1] + ROUNDING
