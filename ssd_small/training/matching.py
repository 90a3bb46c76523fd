"""Which prior learns which object, and the offsets it learns (Liu et al. 2016, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Targets:
    """What the heads are to give for a batch.

    Attributes:
        loc: ``[N, P, 4]`` float32 offsets; meaningful where ``labels > 0``.
        labels: ``[N, P]`` int64, 0 for background.
    """

    loc: Tensor
    labels: Tensor

    @staticmethod
    def stack(images: list[Targets]) -> Targets:
        """One batch from targets of single images (``loc [P, 4]``, ``labels [P]``)."""
        return Targets(
            torch.stack([image.loc for image in images]),
            torch.stack([image.labels for image in images]),
        )


def boxes_xyxy_from_cxcywh(boxes_cxcywh: Tensor) -> Tensor:
    """Corners ``[..., 4]`` of boxes given by centre and size."""
    centre, size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def iou_matrix(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Intersection over union of each of ``[G, 4]`` with each of ``[P, 4]``: ``[G, P]``.

    Boxes without area overlap nothing (0, never NaN).
    """
    # contiguous columns and results in place: this is the largest part of preparing a picture
    x1, y1, x2, y2 = boxes_xyxy[:, None].unbind(-1)  # each [G, 1]
    u1, v1, u2, v2 = others_xyxy.T.contiguous()[:, None]  # each [1, P]
    inter = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    inter *= torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    union = ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)).sub_(inter)
    return inter.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def loc_from_boxes(
    boxes_xyxy: Tensor, priors_cxcywh: Tensor, variances: tuple[float, float] = (0.1, 0.2)
) -> Tensor:
    """Offsets that decode to ``boxes_xyxy``: the inverse of ``boxes.boxes_xyxy_from_loc``.

    Args:
        boxes_xyxy: ``[P, 4]`` unit square, one box per prior, of positive width and height.
        priors_cxcywh: ``[P, 4]`` unit square.
        variances: scale of the centre and of the size offsets.
    """
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return torch.cat(
        [
            (centre - priors_cxcywh[:, :2]) / (variances[0] * priors_cxcywh[:, 2:]),
            (size / priors_cxcywh[:, 2:]).log() / variances[1],
        ],
        dim=1,
    )


def match(
    boxes_xyxy: Tensor,
    labels: Tensor,
    priors_cxcywh: Tensor,
    *,
    iou_threshold: float = 0.5,
    variances: tuple[float, float] = (0.1, 0.2),
) -> Targets:
    """Targets of one image.

    A prior learns the object it overlaps most, if by at least ``iou_threshold``. Besides, each
    object gets the prior that fits it best, however badly, so that no object is lost. Where
    several objects want the same prior the best-fitting pair has it and the others take their
    next best: the result does not depend on the order of the objects, whereas the published
    code gives the prior to the last one and drops the rest.

    Args:
        boxes_xyxy: ``[G, 4]`` float32, unit square; G may be 0, sides must be positive.
        labels: ``[G]`` int64, 1 and up.
        priors_cxcywh: ``[P, 4]`` float32, with at least one prior per object.
        iou_threshold: least overlap of a positive prior.
        variances: scale of the centre and of the size offsets.

    Returns:
        ``loc [P, 4]`` and ``labels [P]``.
    """
    num_priors = len(priors_cxcywh)
    if len(boxes_xyxy) == 0:
        return Targets(priors_cxcywh.new_zeros(num_priors, 4), labels.new_zeros(num_priors))
    overlaps = iou_matrix(boxes_xyxy, boxes_xyxy_from_cxcywh(priors_cxcywh))
    best_overlap, best_object = overlaps.max(dim=0)  # [P]
    positive = best_overlap >= iou_threshold
    priors_of_objects = _best_pairs(overlaps)
    best_object[priors_of_objects] = torch.arange(len(boxes_xyxy), device=best_object.device)
    positive[priors_of_objects] = True
    loc = loc_from_boxes(boxes_xyxy[best_object], priors_cxcywh, variances)
    return Targets(
        torch.where(positive[:, None], loc, torch.zeros_like(loc)),
        torch.where(positive, labels[best_object], torch.zeros_like(labels[best_object])),
    )


def _best_pairs(overlaps: Tensor) -> Tensor:
    """A prior of its own for each object ``[G]``: greedily, the largest overlap first.

    Of equal overlaps the first object comes first, then the first prior.
    """
    best, chosen = overlaps.max(dim=1)
    if len(set(chosen.tolist())) == len(chosen):  # nobody in the way of anybody
        return chosen
    free = torch.ones_like(overlaps[0], dtype=torch.bool)
    waiting = [
        (-overlap, i, p)
        for i, (overlap, p) in enumerate(zip(best.tolist(), chosen.tolist(), strict=True))
    ]
    heapify(waiting)
    left = len(free)
    while waiting and left:
        _, i, prior = heappop(waiting)
        if free[prior]:
            chosen[i], free[prior] = prior, False
            left -= 1
        else:
            overlap, new = torch.where(free, overlaps[i], -1.0).max(dim=0)
            heappush(waiting, (-float(overlap), i, int(new)))
    return chosen
