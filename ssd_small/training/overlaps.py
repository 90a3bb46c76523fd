"""Overlaps of priors with objects, without comparing every prior with every object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: target number of priors per group; between 32 and 128 the time hardly differs
_GROUP = 64


def boxes_xyxy_from_cxcywh(boxes_cxcywh: Tensor) -> Tensor:
    """Corners ``[..., 4]`` of boxes given as centre and size."""
    centre, size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def iou_from_columns(boxes_xyxy: Sequence[Tensor], others_xyxy: Sequence[Tensor]) -> Tensor:
    """Intersection over union of boxes given as columns x1, y1, x2, y2 that broadcast.

    Boxes without area overlap nothing (0, never NaN).
    """
    x1, y1, x2, y2 = boxes_xyxy
    u1, v1, u2, v2 = others_xyxy
    wide = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    high = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    return _ratio(wide.mul_(high), (x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1))


def _ratio(inter: Tensor, area: Tensor, other_area: Tensor) -> Tensor:
    union = (area + other_area).sub_(inter)
    return inter.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


@dataclass(frozen=True, eq=False)
class GroupedPriors:
    """Priors in groups of the same size and close together, computed once per network.

    A few numbers per group bound the overlap of an object with any of its priors. Rounding is
    monotonic, and the bound is computed in the same steps as the overlaps, so it also holds for the
    rounded overlaps: groups can be skipped without changing a bit of the result.

    Attributes:
        cxcywh: ``[P, 4]``, unit square.
        members: ``[K, S]`` int64, indices into ``cxcywh``; a group of fewer than S priors repeats
            its first member.
        corners: ``[K, 4, S]`` x1, y1, x2, y2 of the members.
        hull: ``[K, 4]`` corners of the smallest box around a group.
        sides: ``[K, 2]`` largest width and height in a group.
        areas: ``[K]`` smallest area in a group.
    """

    cxcywh: Tensor
    members: Tensor
    corners: Tensor
    hull: Tensor
    sides: Tensor
    areas: Tensor

    @classmethod
    def of(cls, priors_cxcywh: Tensor) -> GroupedPriors:
        """Group priors ``[P, 4]``; useful if many have the same size, as in an SSD's levels."""
        members = _members(priors_cxcywh)
        corners = boxes_xyxy_from_cxcywh(priors_cxcywh)[members].transpose(1, 2).contiguous()
        low, high = corners[:, :2], corners[:, 2:]  # [K, 2, S]
        sides = high - low
        return cls(
            priors_cxcywh,
            members,
            corners,
            torch.cat([low.amin(dim=2), high.amax(dim=2)], dim=1),
            sides.amax(dim=2),
            (sides[:, 0] * sides[:, 1]).amin(dim=1),
        )

    def bounds(self, boxes_xyxy: Tensor) -> Tensor:
        """``[G, K]``: upper bound of the IoU of box g of ``[G, 4]`` with any prior of group k."""
        x1, y1, x2, y2 = boxes_xyxy[:, None].unbind(-1)  # each [G, 1]
        u1, v1, u2, v2 = self.hull.unbind(-1)  # each [K]
        wide = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
        high = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
        inter = wide.minimum(self.sides[:, 0]).mul_(high.minimum(self.sides[:, 1]))
        return _ratio(inter, (x2 - x1) * (y2 - y1), self.areas)

    def overlaps(self, boxes_xyxy: Tensor, groups: Tensor) -> Tensor:
        """``[M, S]``: IoU of box m of ``[M, 4]`` with the members of group m of ``[M]``."""
        return iou_from_columns(boxes_xyxy[..., None].unbind(1), self.corners[groups].unbind(1))


def _members(priors_cxcywh: Tensor) -> Tensor:
    """``members`` of :class:`GroupedPriors`: priors of one size grouped by tile of their centre."""
    size, counts = _numbered(priors_cxcywh[:, 2:])
    # tiles along each side of the unit square, such that one holds about _GROUP of this size
    tiles = (counts / _GROUP).sqrt().ceil()[size]
    place = (priors_cxcywh[:, :2] * tiles[:, None]).floor()
    group, counts = _numbered(torch.cat([size[:, None].to(place.dtype), place], dim=1))
    order = group.argsort(stable=True)
    first = counts.cumsum(dim=0) - counts  # of each group, in order
    members = order[first][:, None].repeat(1, int(counts.max()))
    of_group = group[order]
    members[of_group, torch.arange(len(order), device=order.device) - first[of_group]] = order
    return members


def _numbered(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the distinct row that each of ``[P, N]`` equals, and how often each one occurs."""
    unique: tuple[Tensor, Tensor, Tensor] = torch.unique(
        rows, dim=0, return_inverse=True, return_counts=True
    )
    return unique[1:]
