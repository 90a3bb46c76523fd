"""Box geometry in numpy float32: the reference with which every backend is compared.

Each function performs single-precision operations in a documented order, one rounding per
operation, so that the C++ headers can repeat them bit for bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .numerics import exp_f32

FloatArray = npt.NDArray[np.float32]


def boxes_xyxy_from_loc(
    loc: FloatArray, priors_cxcywh: FloatArray, variances: tuple[float, float] = (0.1, 0.2)
) -> FloatArray:
    """Decode regression outputs to corner boxes (Liu et al. 2016, eq. 2, inverted).

    ``centre = prior_centre + loc * variances[0] * prior_size`` and
    ``size = prior_size * exp(loc * variances[1])``. Boxes are not clipped to the image.

    Args:
        loc: ``[..., P, 4]`` float32 offsets (cx, cy, w, h).
        priors_cxcywh: ``[P, 4]`` float32, unit square.
        variances: scale of the centre and of the size offsets.

    Returns:
        ``[..., P, 4]`` float32 (x1, y1, x2, y2), unit square.
    """
    loc = np.asarray(loc, np.float32)
    priors = np.asarray(priors_cxcywh, np.float32)
    centre_variance, size_variance = np.float32(variances[0]), np.float32(variances[1])
    with np.errstate(over="ignore", invalid="ignore"):
        centre = priors[:, :2] + loc[..., :2] * centre_variance * priors[:, 2:]
        size = priors[:, 2:] * exp_f32(loc[..., 2:] * size_variance)
        low = centre - size * np.float32(0.5)
        return np.concatenate([low, low + size], axis=-1)


def clipped_boxes(boxes_xyxy: FloatArray, edges: tuple[float, float]) -> FloatArray:
    """Clip boxes to the picture, except boxes with a coordinate that is not finite.

    -0 becomes +0, so that there is only one zero.

    Args:
        boxes_xyxy: ``[..., 4]`` float32.
        edges: right and bottom edge of the picture in the unit of the boxes; the others are at 0.

    Returns:
        ``[..., 4]`` float32.
    """
    boxes = np.asarray(boxes_xyxy, np.float32)
    highest = np.tile(np.asarray(edges, np.float32), 2)
    with np.errstate(invalid="ignore"):
        cut = np.where(boxes > 0, boxes, np.float32(0))
        cut = np.where(cut < highest, cut, highest)
    finite = np.isfinite(boxes).all(axis=-1, keepdims=True)
    return np.asarray(np.where(finite, cut, boxes), np.float32)


def edges_from_scale(scale: FloatArray) -> tuple[float, float]:
    """Right and bottom edge of the picture in units that ``scale [4]`` maps to its unit square.

    If the product of edge and scale would round to more than 1, the next smaller number is used.
    """
    factors = np.asarray(scale, np.float32)[:2]
    edges = np.float32(1) / factors
    edges = np.where(edges * factors > 1, np.nextafter(edges, np.float32(0)), edges)
    return float(edges[0]), float(edges[1])


def iou_one_to_many(
    box_xyxy: FloatArray, boxes_xyxy: FloatArray, offset: float = 0.0
) -> FloatArray:
    """Intersection over union of one box with many.

    ``offset`` is added to every width and height, of boxes and of intersections: 1 for the
    "+1 pixel" convention with boxes in pixels. Two boxes without any area give 0/0 = NaN,
    which exceeds no threshold.

    Args:
        box_xyxy: ``[4]`` float32.
        boxes_xyxy: ``[D, 4]`` float32.
        offset: in the unit of the boxes.

    Returns:
        ``[D]`` float32.
    """
    box = np.asarray(box_xyxy, np.float32)
    boxes = np.asarray(boxes_xyxy, np.float32)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        low = np.maximum(box[:2], boxes[:, :2])
        high = np.minimum(box[2:], boxes[:, 2:])
        sides = np.maximum(high - low + np.float32(offset), np.float32(0))
        inter = sides[:, 0] * sides[:, 1]
        union = areas(box[None], offset)[0] + areas(boxes, offset) - inter
        return np.asarray(inter / union, np.float32)


def areas(boxes_xyxy: FloatArray, offset: float = 0.0) -> FloatArray:
    """Areas ``[D]`` of boxes ``[D, 4]``, with ``offset`` added to both sides."""
    boxes = np.asarray(boxes_xyxy, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2] + np.float32(offset)
        return np.asarray(sides[:, 0] * sides[:, 1], np.float32)
