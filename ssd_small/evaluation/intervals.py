"""Where scores, boxes and IoU may lie if the heads behind them differ by a known amount."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..postprocess import PostprocessParams
from ..postprocess.boxes import boxes_xyxy_from_loc
from ..postprocess.numerics import sigmoid_f32, softmax_f32
from ..postprocess.oracle import iou_scale_and_offset
from ..postprocess.params import WHOLE
from .limits import BOX_ROUNDING, IOU_ROUNDING, SCORE_ROUNDING

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.integer[Any]]
#: rows of conf processed at a time, so that temporaries stay in the cache
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Extents:
    """Boxes whose corners each lie anywhere in an interval, in the unit of the IoU.

    Attributes:
        smallest: ``[4, A]`` (x1, y1, x2, y2) of each box at its smallest, possibly inside out.
        largest: ``[4, A]`` of each box at its largest.
        smallest_areas: ``[A]``.
        largest_areas: ``[A]``.
        offset: added to the sides of intersections; the areas already include it.
    """

    smallest: DoubleArray
    largest: DoubleArray
    smallest_areas: DoubleArray
    largest_areas: DoubleArray
    offset: float

    def __len__(self) -> int:
        return len(self.largest_areas)

    def __getitem__(self, index: slice | npt.NDArray[np.generic]) -> Extents:
        """The boxes that ``index`` selects."""
        return Extents(
            self.smallest[:, index],
            self.largest[:, index],
            self.smallest_areas[index],
            self.largest_areas[index],
            self.offset,
        )

    def iou_low(self, other: Extents) -> DoubleArray:
        """Smallest possible IoU ``[A, B]`` with other boxes."""
        inter = _intersections(self.smallest, other.smallest, self.offset)
        return _ratio(inter, self.largest_areas, other.largest_areas) - IOU_ROUNDING

    def iou_high(self, other: Extents) -> DoubleArray:
        """Largest possible IoU ``[A, B]`` with other boxes."""
        inter = _intersections(self.largest, other.largest, self.offset)
        return _ratio(inter, self.smallest_areas, other.smallest_areas) + IOU_ROUNDING


def _intersections(first: DoubleArray, second: DoubleArray, offset: float) -> DoubleArray:
    inter = np.ones((first.shape[1], second.shape[1]))
    for axis in (0, 1):
        with np.errstate(invalid="ignore", over="ignore"):
            side = np.minimum.outer(first[axis + 2], second[axis + 2])
            side -= np.maximum.outer(first[axis], second[axis])
            inter *= np.maximum(side + offset, 0, out=side)
    return inter


def _ratio(inter: DoubleArray, first: DoubleArray, second: DoubleArray) -> DoubleArray:
    with np.errstate(invalid="ignore", over="ignore"):
        union = np.add.outer(first, second) - inter
    # if the smallest areas are less than the largest intersection, any IoU is possible
    whole = np.where(inter > 0, 1.0, 0.0)
    return np.divide(inter, union, out=whole, where=union > inter)


def _extents(box_low: DoubleArray, box_high: DoubleArray, pixel_offset: float) -> Extents:
    """Extents of boxes whose corners ``[P, 4]`` lie between two arrays, unit square."""
    scale, offset = (float(value) for value in iou_scale_and_offset(pixel_offset))
    smallest = np.concatenate([box_high[:, :2], box_low[:, 2:]], axis=1).T * scale
    largest = np.concatenate([box_low[:, :2], box_high[:, 2:]], axis=1).T * scale
    areas = [
        np.maximum(sides[2:] - sides[:2] + offset, 0).prod(axis=0) for sides in (smallest, largest)
    ]
    return Extents(smallest, largest, areas[0], areas[1], offset)


@dataclass(frozen=True, eq=False)
class Intervals:
    """What decode + NMS may compute for the heads of one image.

    Attributes:
        params: of decode + NMS.
        scores: ``[C, P]`` float32 of the reference heads; NaN where there is no candidate at any
            threshold, that is for the background and priors without a finite box.
        score_shift: how much a logit may be off relative to the others; with the activation
            ``none``, how much the score itself may be off.
        box_low: ``[P, 4]`` smallest box corners (x1, y1, x2, y2), unit square.
        box_high: ``[P, 4]`` largest box corners.
        extents: the same P boxes for the IoU.
    """

    params: PostprocessParams
    scores: FloatArray
    score_shift: float
    box_low: DoubleArray
    box_high: DoubleArray
    extents: Extents

    def score_bounds(self, scores: npt.NDArray[np.floating]) -> tuple[DoubleArray, DoubleArray]:
        """Smallest and largest values that scores of the reference heads may have, in any shape.

        A softmax score is ``1 / (1 + r)``, r a sum of ``exp(x_j - x_i)``; so is a sigmoid with
        ``r = exp(-x)``: r changes by a factor of at most ``exp(score_shift)``. Rounding is added
        before and after this, half of the limit each.
        """
        values = np.asarray(scores, np.float64)
        half = SCORE_ROUNDING / 2
        if self.params.activation == "none":
            margin = self.score_shift + 2 * half * np.abs(values)
            return values - margin, values + margin
        # beyond 700 the exponential overflows, and any score is possible long before that
        factor = float(np.exp(min(self.score_shift, 700.0)))
        low, high = values * (1 - half), np.minimum(values * (1 + half), 1)
        return (
            low / (low + (1 - low) * factor) * (1 - half),
            high / (high + (1 - high) / factor) * (1 + half),
        )

    def smallest_high(self, labels: IndexArray, prior_indices: IndexArray) -> float:
        """The smallest of the upper bounds of some scores; infinity if there are none."""
        high = self.score_bounds(self.scores[labels, prior_indices])[1]
        return float(np.fmin.reduce(high, initial=np.inf))


def intervals_from_heads(
    loc: npt.NDArray[np.floating],
    conf: npt.NDArray[np.floating],
    priors: npt.NDArray[np.floating],
    params: PostprocessParams,
    *,
    loc_error: float,
    conf_error: float,
    edges: tuple[float, float] = WHOLE,
) -> Intervals:
    """Intervals for heads of one image whose elements may be off by the given amounts.

    Boxes: centres move by ``variance * loc_error`` prior sizes, sizes change by a factor of at
    most ``exp(variance * loc_error)``.

    Args:
        loc: ``[P, 4]`` box offsets.
        conf: ``[P, C]`` logits, or scores with the activation ``none``.
        priors: ``[P, 4]`` (cx, cy, w, h), unit square.
        params: of decode + NMS.
        loc_error: largest absolute difference of an element of loc.
        conf_error: largest absolute difference of an element of conf.
        edges: right and bottom edges of the picture in the unit of the priors.
    """
    loc, priors = np.asarray(loc, np.float32), np.asarray(priors, np.float32)
    boxes = boxes_xyxy_from_loc(loc, priors, params.variances).astype(np.float64)
    finite = np.isfinite(boxes).all(axis=1)
    boxes[~finite] = np.nan
    centre, size = (variance * loc_error for variance in params.variances)
    margin = centre * priors[:, 2:] + np.abs(boxes[:, 2:] - boxes[:, :2]) / 2 * np.expm1(size)
    margin = np.tile(margin, 2) + BOX_ROUNDING * np.maximum(np.abs(boxes), 1)
    scores = np.full(np.shape(conf)[::-1], np.nan, np.float32)
    for rows, values in _scores_by_rows(np.asarray(conf, np.float32), params):
        scores[:, rows] = values.T
    scores[:, ~finite] = np.nan
    if 0 <= params.background_label < len(scores):
        scores[params.background_label] = np.nan
    # with softmax, a logit and all others may move in opposite directions; a sigmoid has no others
    shift = conf_error * (2 if params.activation == "softmax" else 1)
    low, high = boxes - margin, boxes + margin
    if params.clip_boxes:  # this does not round, and NaN stays
        highest = np.tile(np.asarray(edges, np.float32), 2)
        low, high = low.clip(0, highest), high.clip(0, highest)
    return Intervals(params, scores, shift, low, high, _extents(low, high, params.pixel_offset))


def _scores_by_rows(
    conf: FloatArray, params: PostprocessParams
) -> Iterator[tuple[slice, FloatArray]]:
    for start in range(0, len(conf), _ROWS):
        rows = slice(start, start + _ROWS)
        if params.activation == "softmax":
            yield rows, softmax_f32(conf[rows])
        elif params.activation == "sigmoid":
            yield rows, sigmoid_f32(conf[rows])
        else:
            yield rows, conf[rows]
