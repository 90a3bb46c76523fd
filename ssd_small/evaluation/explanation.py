"""Why an object was found or missed: the prior that came closest, and the rule that removed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..postprocess.boxes import iou_one_to_many
from ..postprocess.detections import Detections
from ..postprocess.oracle import (
    boxes_from_loc,
    decode_nms_image,
    iou_scale_and_offset,
    scores_from_conf,
)
from ..postprocess.params import PostprocessParams

FloatArray = npt.NDArray[np.float32]
Verdict = Literal["found", "below threshold", "suppressed", "cut", "no prior"]
#: minimum IoU at which a box counts as lying on the object, as in VOC's metric and COCO's AP50
OF_OBJECT = 0.5


@dataclass(frozen=True)
class Explanation:
    """What became of one object.

    Attributes:
        verdict: ``found``; ``below threshold``: no box on it has a score above; ``suppressed`` by a
            box with a higher score; ``cut`` by a limit on numbers; ``no prior``: no prior's box
            overlaps it by :data:`OF_OBJECT`.
        prior_index: the prior that came closest: the detection's, else the one whose box lies on
            the object with the highest score, else the one whose box overlaps most.
        level: feature map of that prior, 0 the finest; None if prior boxes are stored as data,
            without feature maps.
        iou: of that prior's box with the object. Boxes are compared as ``detect`` shows them,
            clipped to the picture.
        score: score of that prior, for its best class or the class asked for.
        label, name: that class.
        prior_iou: IoU of the prior itself with the object, before regression.
        by: what removed it: ``{"rule": ...}`` with the numbers of the rule; for a box that
            suppressed it prior_index, score, iou (of the two boxes), box (in pixels) and
            iou_with_object.
        object_px: width and height of the object in pixels of the network's input.
        object_cells: the same in cells of that level's feature map; None without feature maps.
    """

    verdict: Verdict
    prior_index: int
    level: int | None
    iou: float
    score: float
    label: int
    name: str
    prior_iou: float
    object_px: tuple[float, float]
    object_cells: tuple[float, float] | None
    by: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def explain_object(
    loc: FloatArray,
    conf: FloatArray,
    description: Description,
    params: PostprocessParams,
    box: Sequence[float],
    size: tuple[int, int],
    label: int | None = None,
    thresholds: FloatArray | None = None,
) -> Explanation:
    """Follow an object through decode + NMS.

    Args:
        loc: ``[P, 4]`` float32 box offsets of one picture.
        conf: ``[P, C]`` float32 logits.
        description: of the network, for its priors, levels and class names.
        params: of the post-processing.
        box: the object's (x, y, width, height) in pixels of the picture.
        size: height and width of the picture in pixels.
        label: the object's class, as an index of conf's columns; None for the best-scoring class.
        thresholds: ``[C]`` float32, which scores must exceed to be shown; None for the one in
            ``params``. If that is lower, it still decides what enters NMS.
    """
    if thresholds is None:
        thresholds = np.full(conf.shape[1], params.score_threshold, np.float32)
    return _Way(loc, conf, description, params, box, size, label, thresholds).explanation()


class _Way:
    """The arrays of one picture, from the point of view of one object."""

    def __init__(
        self,
        loc: FloatArray,
        conf: FloatArray,
        description: Description,
        params: PostprocessParams,
        box: Sequence[float],
        size: tuple[int, int],
        label: int | None,
        thresholds: FloatArray,
    ) -> None:
        self._thresholds = thresholds
        self._description, self._params, self._size = description, params, size
        self._loc, self._conf, self._asked = loc, conf, label
        height, width = size
        x, y, w, h = box
        self._sides = (w / width, h / height)
        self._target = np.array(
            [x / width, y / height, (x + w) / width, (y + h) / height], np.float32
        )
        # the background's column is NaN
        scores = scores_from_conf(conf, params)
        known = np.where(np.isnan(scores), np.float32(-np.inf), scores)
        self._labels = known.argmax(axis=1) if label is None else np.full(len(conf), label, np.intp)
        self._scores = known[np.arange(len(conf)), self._labels]
        priors = description.priors
        self._boxes = boxes_from_loc(loc, priors, params, description.edges)
        self._placed = description.preprocessing.placement(*size)
        with np.errstate(invalid="ignore", over="ignore"):
            ious = iou_one_to_many(self._target, self._shown(self._boxes))
            corners = np.concatenate(
                [priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2], axis=1
            )
            corners = self._placed.picture_from_input(corners)
            self._prior_ious = np.nan_to_num(iou_one_to_many(self._target, corners))
        finite = np.isfinite(self._boxes).all(axis=1)
        self._ious = np.where(finite, np.nan_to_num(ious), 0)

    def explanation(self) -> Explanation:
        kept = decode_nms_image(self._loc, self._conf, self._description.priors, self._params)
        kept = kept[kept.scores > self._thresholds[kept.labels]]
        found = self._on_object(kept)
        if found is not None:
            return self._told("found", int(kept.prior_indices[found]), int(kept.labels[found]))
        near = np.flatnonzero(self._ious >= OF_OBJECT)
        if not len(near):
            # the box that overlaps most; if none overlaps at all, the prior that overlaps most
            overlap = self._ious if self._ious.any() else self._prior_ious
            closest = int(overlap.argmax())
            rule = {"rule": "overlap", "least": OF_OBJECT}
            return self._told("no prior", closest, int(self._labels[closest]), rule)
        best = int(near[self._scores[near].argmax()])
        label = int(self._labels[best])
        threshold = max(self._thresholds[label], np.float32(self._params.score_threshold))
        if not self._scores[best] > threshold:
            rule = {"rule": "score_threshold", "threshold": float(threshold)}
            return self._told("below threshold", best, label, rule)
        return self._removed(best, label)

    def _shown(self, boxes: FloatArray) -> FloatArray:
        """Convert boxes of the network's input to the picture, clipped to it."""
        return np.asarray(self._placed.picture_from_input(boxes).clip(0, 1), np.float32)

    def _on_object(self, kept: Detections) -> int | None:
        """Position of the best detection on the object; None if there is none."""
        if not len(kept.scores):
            return None
        ious = np.nan_to_num(iou_one_to_many(self._target, self._shown(kept.boxes)))
        of_class = True if self._asked is None else kept.labels == self._asked
        places = np.flatnonzero((ious >= OF_OBJECT) & of_class)
        return int(places[0]) if len(places) else None

    def _removed(self, prior: int, label: int) -> Explanation:
        """What removed a candidate, checking the rules in the order in which they are applied."""
        params = self._params
        column = scores_from_conf(self._conf, params)[:, label]
        with np.errstate(invalid="ignore"):
            candidates = np.flatnonzero(
                (column > np.float32(params.score_threshold)) & np.isfinite(self._boxes).all(axis=1)
            )
        order = candidates[np.argsort(-column[candidates], kind="stable")]
        rank = int(np.flatnonzero(order == prior)[0])
        if params.pre_nms_topk and rank >= params.pre_nms_topk:
            return self._cut(prior, label, "pre_nms_topk", rank)
        own = self._kept_of_class(order[:rank])
        limit = params.keep_topk_per_class or len(own)
        if (by := self._suppressor(prior, own[:limit], column)) is not None:
            return self._told("suppressed", prior, label, by)
        if len(own) >= limit and params.keep_topk_per_class:
            return self._cut(prior, label, "keep_topk_per_class", len(own))
        return self._cut(prior, label, "keep_topk", None)

    def _kept_of_class(self, order: npt.NDArray[np.intp]) -> list[int]:
        """Greedy NMS of one class, best first, without any limit on numbers."""
        kept: list[int] = []
        for prior in order.tolist():
            if not kept or not self._exceeds(prior, kept).any():
                kept.append(prior)
        return kept

    def _overlaps(self, prior: int, others: Sequence[int]) -> FloatArray:
        scale, offset = iou_scale_and_offset(self._params.pixel_offset)
        boxes = self._boxes[list(others)] * scale
        with np.errstate(invalid="ignore"):
            return iou_one_to_many(self._boxes[prior] * scale, boxes, float(offset))

    def _exceeds(self, prior: int, others: Sequence[int]) -> npt.NDArray[np.bool_]:
        return np.asarray(self._overlaps(prior, others) > np.float32(self._params.iou_threshold))

    def _suppressor(self, prior: int, kept: list[int], column: FloatArray) -> dict[str, Any] | None:
        """The best kept box that suppresses a candidate, if there is one."""
        if not kept:
            return None
        overlaps = self._overlaps(prior, kept)
        places = np.flatnonzero(overlaps > np.float32(self._params.iou_threshold))
        if not len(places):
            return None
        place = int(places[0])
        by = kept[place]
        height, width = self._size
        scale = np.array([width, height, width, height], np.float32)
        return {
            "rule": "nms",
            "threshold": self._params.iou_threshold,
            "prior_index": by,
            "score": float(column[by]),
            "iou": float(overlaps[place]),
            "box": [round(v, 2) for v in (self._shown(self._boxes[by]) * scale).tolist()],
            "iou_with_object": float(self._ious[by]),
        }

    def _cut(self, prior: int, label: int, name: str, rank: int | None) -> Explanation:
        rule: dict[str, Any] = {"rule": name, "limit": getattr(self._params, name)}
        if rank is not None:
            rule["rank"] = rank + 1
        return self._told("cut", prior, label, rule)

    def _told(
        self, verdict: Verdict, prior: int, label: int, by: dict[str, Any] | None = None
    ) -> Explanation:
        scores = scores_from_conf(self._conf[prior : prior + 1], self._params)[0]
        level, feature_map = self._level(prior)
        wide, high = self._sides
        # in pixels of the input, which may show more or less than the picture
        size, placed = self._description.preprocessing, self._placed
        wide, high = wide * placed.width / size.width, high * placed.height / size.height
        names = self._description.labels
        background = self._description.postprocess.background_label
        position = label - (0 <= background < label)
        return Explanation(
            verdict=verdict,
            prior_index=prior,
            level=level,
            iou=float(self._ious[prior]),
            score=float(scores[label]),
            label=label,
            name=names[position] if position < len(names) else str(label),
            prior_iou=float(self._prior_ious[prior]),
            object_px=(wide * size.width, high * size.height),
            object_cells=feature_map and (wide * feature_map[1], high * feature_map[0]),
            by=by or {},
        )

    def _level(self, prior: int) -> tuple[int, tuple[int, int]] | tuple[None, None]:
        """A prior's feature map and its (rows, columns); None, None if unknown."""
        if self._description.stored_priors is not None:
            return None, None
        first = 0
        for place, (level, (rows, columns)) in enumerate(self._description.levels):
            first += rows * columns * level.num_anchors
            if prior < first:
                return place, (rows, columns)
        raise IndexError(f"prior {prior}: there are {first}")
