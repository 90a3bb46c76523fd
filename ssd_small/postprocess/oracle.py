"""Decode + non-maximum suppression in numpy: the oracle with which every backend is compared.

The contract (all backends):

1. ``scores = activation(conf)``; the background class is never detected.
2. A candidate is a (prior, class) pair whose score is greater than ``score_threshold`` and whose
   decoded box has four finite coordinates. A NaN score is therefore never a candidate, nor is
   anything of a softmax row that holds NaN or +infinity. With ``clip_boxes``, the boxes of
   candidates are then clipped to the picture, 0 to 1 in the unit square.
3. Per class, candidates are ordered by score descending, then prior ascending; the first
   ``pre_nms_topk`` enter greedy suppression, which drops a box whose IoU with a kept one is
   greater than ``iou_threshold``; the first ``keep_topk_per_class`` are kept.
4. Per image, the remaining detections are ordered by score descending, label ascending, prior
   ascending, and cut at ``keep_topk``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .boxes import boxes_xyxy_from_loc, clipped_boxes, iou_one_to_many
from .detections import Detections
from .numerics import sigmoid_f32, softmax_f32
from .params import WHOLE, PostprocessParams

FloatArray = npt.NDArray[np.float32]


def scores_from_conf(conf: FloatArray, params: PostprocessParams) -> FloatArray:
    """Scores ``[P, C]``; the background column is NaN, which passes no threshold."""
    if params.activation == "softmax":
        scores = softmax_f32(conf)
    elif params.activation == "sigmoid":
        scores = sigmoid_f32(conf)
    else:
        scores = conf
    return without_background(scores, params)


def without_background(scores: FloatArray, params: PostprocessParams) -> FloatArray:
    """A copy of scores ``[P, C]`` with NaN for the background, which passes no threshold."""
    masked: FloatArray = scores.copy()
    if 0 <= params.background_label < masked.shape[1]:
        masked[:, params.background_label] = np.nan
    return masked


def boxes_from_loc(
    loc: FloatArray,
    priors: FloatArray,
    params: PostprocessParams,
    edges: tuple[float, float] = WHOLE,
) -> FloatArray:
    """Boxes ``[..., P, 4]`` (x1, y1, x2, y2) as used by NMS and returned: decoded, maybe clipped.

    Args:
        loc: ``[..., P, 4]`` float32 box offsets.
        priors: ``[P, 4]`` float32 (cx, cy, w, h).
        params: parameters of decode + NMS.
        edges: right and bottom edge of the picture in the unit of the priors.
    """
    boxes = boxes_xyxy_from_loc(loc, priors, params.variances)
    return clipped_boxes(boxes, edges) if params.clip_boxes else boxes


def decode_nms_image(
    loc: FloatArray,
    conf: FloatArray,
    priors: FloatArray,
    params: PostprocessParams,
    edges: tuple[float, float] = WHOLE,
) -> Detections:
    """Decode + NMS of one image.

    Args:
        loc: ``[P, 4]`` float32 box offsets.
        conf: ``[P, C]`` float32 logits, or scores with ``activation="none"``.
        priors: ``[P, 4]`` float32 (cx, cy, w, h), unit square.
        params: parameters of decode + NMS.
        edges: right and bottom edge of the picture in the unit of the priors.
    """
    if len(priors) == 0:
        return Detections.empty()
    boxes = boxes_xyxy_from_loc(loc, priors, params.variances)
    return detections_from_scores(boxes, scores_from_conf(conf, params), params, edges)


def detections_from_scores(
    boxes: FloatArray,
    scores: FloatArray,
    params: PostprocessParams,
    edges: tuple[float, float] = WHOLE,
) -> Detections:
    """Select candidates and run NMS on one image's decoded boxes: points 2 to 4 of the contract.

    Args:
        boxes: ``[P, 4]`` float32 (x1, y1, x2, y2), unit square, clipped or not.
        scores: ``[P, C]`` float32, after the activation; NaN for what must never be detected.
        params: parameters of decode + NMS; activation and variances are not used.
        edges: right and bottom edge of the picture in the unit of the boxes.
    """
    finite = np.isfinite(boxes).all(axis=1, keepdims=True)
    if params.clip_boxes:
        boxes = clipped_boxes(boxes, edges)
    with np.errstate(invalid="ignore"):
        candidate = (scores > np.float32(params.score_threshold)) & finite
    kept_priors: list[npt.NDArray[np.intp]] = []
    labels: list[int] = []
    for label in np.flatnonzero(candidate.any(axis=0)):
        index = np.flatnonzero(candidate[:, label])
        # a stable sort keeps equal scores in prior order
        index = index[np.argsort(-scores[index, label], kind="stable")]
        if params.pre_nms_topk:
            index = index[: params.pre_nms_topk]
        kept = index[_nms(boxes[index], params)]
        kept_priors.append(kept)
        labels += [int(label)] * len(kept)
    if not kept_priors:
        return Detections.empty()
    prior = np.concatenate(kept_priors)
    label_of = np.asarray(labels, np.int32)
    score = scores[prior, label_of]
    order = np.lexsort((prior, label_of, -score))
    if params.keep_topk:
        order = order[: params.keep_topk]
    prior = prior[order]
    # adding +0 turns a score of -0 into +0, so that every backend has only one zero
    return Detections(
        boxes[prior], score[order] + np.float32(0), label_of[order], prior.astype(np.int32)
    )


def candidates_of_image(loc: FloatArray, conf: FloatArray, params: PostprocessParams) -> int:
    """Number of (prior, class) pairs of one image that enter NMS, which determines its cost.

    Args:
        loc: ``[P, 4]`` float32 box offsets.
        conf: ``[P, C]`` float32 logits.
        params: parameters; ``pre_nms_topk`` cuts each class.
    """
    finite = np.isfinite(loc).all(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        candidate = (scores_from_conf(conf, params) > np.float32(params.score_threshold)) & finite
    counts = candidate.sum(axis=0)
    return int(np.minimum(counts, params.pre_nms_topk or len(conf)).sum())


def iou_scale_and_offset(pixel_offset: float) -> tuple[np.float32, np.float32]:
    """Scale of the boxes and offset of widths and heights with which the IoU is computed.

    The published code multiplies boxes by 300 and adds 1. Any offset is treated the same way here
    (scale by its inverse, add 1), so that rounding is exactly as published.
    """
    if pixel_offset == 0:
        return np.float32(1), np.float32(0)
    return np.float32(1) / np.float32(pixel_offset), np.float32(1)


def _nms(boxes_xyxy: FloatArray, params: PostprocessParams) -> npt.NDArray[np.intp]:
    """Run greedy NMS over boxes in order of descending score; indices of the kept ones."""
    limit = params.keep_topk_per_class or len(boxes_xyxy)
    threshold = np.float32(params.iou_threshold)
    scale, offset = iou_scale_and_offset(params.pixel_offset)
    with np.errstate(over="ignore"):
        boxes = boxes_xyxy * scale
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        if len(kept) == limit:
            break
        overlap = iou_one_to_many(boxes[i], boxes[i + 1 :], float(offset))
        with np.errstate(invalid="ignore"):
            alive[i + 1 :] &= ~(overlap > threshold)
    return np.asarray(kept, np.intp)
