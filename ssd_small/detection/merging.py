"""Merges the heads of a picture's tiles into one set of heads, with one NMS over all of them.

Coordinates in a picture are in **tile units** here: 1 is the side of a tile. The priors of a tile
are those of the network, shifted to the tile's position: their sizes keep their bits,
``pixel_offset`` keeps its meaning, and scaling an axis does not change an IoU. A prior's index is
``view * P + prior``, so equal scores are ordered by view first.

NMS depends on candidates only. So each view keeps only the rows that may hold one: memory grows
with the contents of the picture, not with its area, and the number of priors is not limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..models.priors import priors_from_shifts
from ..pictures.tiles import Tiling, Window
from ..postprocess import Detections, PostprocessParams
from ..postprocess.boxes import boxes_xyxy_from_loc, edges_from_scale
from ..postprocess.oracle import boxes_from_loc, scores_from_conf
from ..postprocess.params import WHOLE

FloatArray = npt.NDArray[np.float32]
#: turns loc ``[R, 4]``, conf ``[R, C]`` and priors ``[R, 4]`` into the detections of one image;
#: the last argument is its right and bottom edge
DecodeNms = Callable[
    [npt.NDArray[Any], npt.NDArray[Any], FloatArray, PostprocessParams, tuple[float, float]],
    Detections,
]

#: number of prior indices in a picture, which are int32
_MOST_INDICES = 2**31
#: the whole picture contributes only boxes with a side above this share of a tile, or above the
#: overlap if larger: a smaller object mostly lies whole in a tile, which sees it better. Measured
#: with the package's digits (mobilenet_v1_s1l0) on mosaics of 3x3 pictures, one of them enlarged
#: three times: AP .440 with tiles alone, .436 with all boxes of the whole, .442 with those above
#: the overlap, .445 with these, .442 with those above a tile; large objects .494, .616, .616,
#: .610, .538
_LARGE = 0.5
#: margins by which the test on logits lets too much through: a share of the score, which is rounded
#: some forty times in the sum of a softmax, by 2**-24 each; and a difference of logits, rounded
#: once by 2**-24 of its value, which is at most 88 where the exponential is not 0
_SCORE_MARGIN, _LOGIT_MARGIN = 1e-5, 1e-4


def tile_of_picture(tiling: Tiling, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a tile in a picture of ``size`` (height, width): the unit."""
    height, width = size
    return min(tiling.width, width), min(tiling.height, height)


def priors_of_view(priors_cxcywh: FloatArray, window: Window, unit: tuple[int, int]) -> FloatArray:
    """Convert a view's priors ``[P, 4]`` from its unit square to tile units of the picture.

    In a tile, sizes keep their bits; in the first tile, the priors are the given ones.

    Args:
        priors_cxcywh: ``[P, 4]`` (cx, cy, w, h), unit square of the view.
        window: position of the view, in pixels of the picture.
        unit: width and height of a tile in pixels.
    """
    scale = np.array([window.width / unit[0], window.height / unit[1]], np.float32)
    shift = np.array([window.x / unit[0], window.y / unit[1]], np.float32)
    return priors_from_shifts(priors_cxcywh * np.tile(scale, 2), shift[None])


def rows_of_candidates(
    conf: npt.NDArray[np.floating[Any]], params: PostprocessParams
) -> npt.NDArray[np.intp]:
    """Rows of conf ``[P, C]`` that may hold a score above the threshold; never too few.

    With a background ``b``, softmax gives class c at most ``1 / (1 + exp(conf_b - conf_c))``.
    """
    threshold, background = params.score_threshold, params.background_label
    logits = np.ascontiguousarray(conf, np.float32)
    classes = logits.shape[1]
    with_background = params.activation == "softmax" and 0 <= background < classes
    if with_background and 0 < threshold < 1 and classes > 1:
        least = threshold * (1 - _SCORE_MARGIN)
        least = math.log(least / (1 - least)) - _LOGIT_MARGIN
        own, others = _background_and_others(logits, background)
        with np.errstate(invalid="ignore", over="ignore"):
            return np.flatnonzero(~(others - own <= np.float32(least)))
    with np.errstate(invalid="ignore"):
        scores = scores_from_conf(logits, params) > np.float32(threshold)
    return np.flatnonzero(scores.any(axis=1))


def are_large(
    loc: npt.NDArray[np.floating[Any]],
    priors: FloatArray,
    params: PostprocessParams,
    tiling: Tiling,
    edges: tuple[float, float] = WHOLE,
) -> npt.NDArray[np.bool_]:
    """Mask ``[R]`` of the whole picture's boxes that are too large for tiles to see them better.

    Args:
        loc: ``[R, 4]`` box offsets.
        priors: ``[R, 4]``, in tile units.
        params: parameters of decode + NMS.
        tiling: how the picture is cut.
        edges: right and bottom edge of the picture, in tile units.
    """
    boxes = boxes_from_loc(np.asarray(loc, np.float32), priors, params, edges)
    with np.errstate(invalid="ignore", over="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray((sides > max(tiling.overlap, _LARGE)).any(axis=1), np.bool_)


def _background_and_others(logits: FloatArray, background: int) -> tuple[FloatArray, FloatArray]:
    """Logits ``[P]`` of the background, and the largest other logit, NaN if any of them is."""
    rows, classes = logits.shape
    if background:
        others = np.delete(logits, background, axis=1)
        return logits[:, background], others.max(axis=1)
    # both in one pass in memory order: a fifth of the time of a maximum along the short axis
    starts = (np.arange(rows)[:, None] * classes + [0, 1]).ravel()
    found = np.maximum.reduceat(logits.ravel(), starts).reshape(rows, 2)
    return found[:, 0], found[:, 1]


def best_score(
    conf: npt.NDArray[np.floating[Any]], params: PostprocessParams, least: float
) -> float:
    """The best score in conf ``[P, C]``, or ``least`` if none exceeds it."""
    rows = rows_of_candidates(conf, replace(params, score_threshold=least))
    if not len(rows):
        return least
    scores = scores_from_conf(np.asarray(conf[rows], np.float32), params)
    return float(scores.max(initial=np.float32(least), where=~np.isnan(scores)))


class TileMerger:
    """Collects the heads of a picture's views one by one and gives the picture's detections."""

    def __init__(
        self,
        size: tuple[int, int],
        tiling: Tiling,
        priors: FloatArray,
        params: PostprocessParams,
        most_rows: int,
        floor: float | None = None,
    ) -> None:
        """Start a picture without views.

        Args:
            size: height and width of the picture in pixels.
            tiling: how it is cut.
            priors: ``[P, 4]`` of the network (cx, cy, w, h), unit square.
            params: parameters of decode + NMS, with the caps of the picture.
            most_rows: largest number of rows that enter one NMS.
            floor: report :attr:`best_score` only above this; None to report none.
        """
        self._priors, self._params = priors, params
        self._tiling = tiling
        self._unit = tile_of_picture(tiling, size)
        height, width = size
        scale = [self._unit[0] / width, self._unit[1] / height]
        self._scale = np.array(scale * 2, np.float32)
        self._edges = edges_from_scale(self._scale)
        self._most = most_rows
        self._views = 0
        self._parts: list[tuple[npt.NDArray[Any], ...]] = []
        self._rows = 0
        self._floor = floor
        self._best = -math.inf if floor is None else floor

    @property
    def best_score(self) -> float | None:
        """Best score in all views, even below the threshold; None if none is above the floor."""
        told = self._floor is not None and self._best > self._floor
        return self._best if told else None

    def add(
        self, loc: npt.NDArray[np.floating[Any]], conf: npt.NDArray[np.floating[Any]], view: Window
    ) -> None:
        """Add the heads ``loc [P, 4]`` and ``conf [P, C]`` of the next view.

        Raises:
            UsageError: more candidates, or priors, than can be merged.
        """
        offset = self._views * len(self._priors)
        self._views += 1
        if offset + len(self._priors) > _MOST_INDICES:
            raise UsageError(
                f"{self._views} tiles of {len(self._priors)} prior boxes each: expected at most "
                f"{_MOST_INDICES} prior boxes in a picture; use larger tiles"
            )
        rows = rows_of_candidates(conf, self._params)
        priors = priors_of_view(self._priors[rows], view, self._unit)
        if (view.width, view.height) != self._unit:
            large = are_large(loc[rows], priors, self._params, self._tiling, self._edges)
            rows, priors = rows[large], priors[large]
        self._parts.append((loc[rows], conf[rows], priors, rows + offset))
        self._rows += len(rows)
        if self._floor is not None:
            self._best = best_score(conf, self._params, self._best)
        if self._rows > 2 * self._most:  # at twice the limit, so that each row is seen a few times
            self._gather()

    def detections(self, decode_nms: DecodeNms) -> Detections:
        """Detections after NMS over all views, boxes in the unit square of the picture.

        ``prior_indices`` are ``view * P + prior``.

        Raises:
            UsageError: more candidates than can be merged.
        """
        if not self._rows:
            return Detections.empty()
        loc, conf, priors, index = self._gather()
        found = decode_nms(loc, conf, priors, self._params, self._edges)
        indices = index[found.prior_indices].astype(np.int32)
        return replace(found, boxes=found.boxes * self._scale, prior_indices=indices)

    def _gather(self) -> tuple[npt.NDArray[Any], ...]:
        """All rows in prior order, reduced to those that may enter NMS."""
        rows = tuple(np.concatenate(column) for column in zip(*self._parts, strict=True))
        if len(rows[0]) > self._most:
            loc, conf, priors, _ = rows
            chosen = _rows_of_first_candidates(loc, conf, priors, self._params)
            if len(chosen) > self._most:
                raise UsageError(
                    f"{len(chosen)} prior boxes of the tiles score above "
                    f"{self._params.score_threshold:g}: at most {self._most} are merged; raise the "
                    "score threshold, or lower pre_nms_topk"
                )
            rows = tuple(column[chosen] for column in rows)
        self._parts, self._rows = [rows], len(rows[0])
        return rows


def _rows_of_first_candidates(
    loc: FloatArray, conf: FloatArray, priors: FloatArray, params: PostprocessParams
) -> npt.NDArray[np.intp]:
    """Rows with one of a class's first ``pre_nms_topk`` candidates; without that cut, with any.

    The others take no part in NMS, whatever rows are added later.
    """
    boxes = boxes_xyxy_from_loc(loc, priors, params.variances)
    finite = np.isfinite(boxes).all(axis=1, keepdims=True)
    scores = scores_from_conf(np.asarray(conf, np.float32), params)
    with np.errstate(invalid="ignore"):
        candidate = (scores > np.float32(params.score_threshold)) & finite
    most = params.pre_nms_topk
    if most:
        for label in np.flatnonzero(candidate.sum(axis=0) > most):
            index = np.flatnonzero(candidate[:, label])
            order = np.argsort(-scores[index, label], kind="stable")
            candidate[index[order[most:]], label] = False
    return np.flatnonzero(candidate.any(axis=1))
