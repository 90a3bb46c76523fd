"""Assignment of priors to objects, and target offsets (Liu et al. 2016, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import torch
from torch import Tensor

from .overlaps import GroupedPriors


@dataclass(frozen=True, eq=False)
class Targets:
    """Target outputs of the heads for a batch.

    Attributes:
        loc: ``[N, P, 4]`` float32 offsets; meaningful where ``labels > 0``.
        labels: ``[N, P]`` int64, 0 for background.
    """

    loc: Tensor
    labels: Tensor

    @staticmethod
    def stack(images: list[Targets]) -> Targets:
        """Combine targets of single images (``loc [P, 4]``, ``labels [P]``) into a batch."""
        return Targets(
            torch.stack([image.loc for image in images]),
            torch.stack([image.labels for image in images]),
        )


def loc_from_boxes(
    boxes_xyxy: Tensor, priors_cxcywh: Tensor, variances: tuple[float, float] = (0.1, 0.2)
) -> Tensor:
    """Offsets that decode to ``boxes_xyxy``: the inverse of ``boxes.boxes_xyxy_from_loc``.

    Args:
        boxes_xyxy: ``[P, 4]`` unit square, one box per prior, with positive width and height.
        priors_cxcywh: ``[P, 4]`` unit square.
        variances: scales of the centre offsets and of the size offsets.
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
    priors: GroupedPriors,
    *,
    iou_threshold: float = 0.5,
    variances: tuple[float, float] = (0.1, 0.2),
) -> Targets:
    """Compute the targets of one image.

    A prior learns the object that it overlaps most, if the overlap is at least ``iou_threshold``.
    In addition, each object gets its best-overlapping prior, however small the overlap, so that no
    object is lost. If several objects have the same best prior, it goes to the pair with the
    largest overlap, and the other objects take their next best prior. Hence the result does not
    depend on the order of the objects, whereas the published code gives the prior to the last
    object and drops the others.

    Args:
        boxes_xyxy: ``[G, 4]`` float32, unit square; G may be 0, sides must be positive.
        labels: ``[G]`` int64, 1 and up.
        priors: P priors, at least one per object.
        iou_threshold: minimum overlap of a positive prior.
        variances: scales of the centre offsets and of the size offsets.

    Returns:
        ``loc [P, 4]`` and ``labels [P]``.
    """
    num_priors = len(priors.cxcywh)
    targets = Targets(priors.cxcywh.new_zeros(num_priors, 4), labels.new_zeros(num_priors))
    if len(boxes_xyxy):
        objects = _object_of_prior(boxes_xyxy, priors, iou_threshold)
        learning = (objects >= 0).nonzero().flatten()
        learned = objects[learning]
        boxes, own = boxes_xyxy[learned], priors.cxcywh[learning]
        targets.loc[learning] = loc_from_boxes(boxes, own, variances)
        targets.labels[learning] = labels[learned]
    return targets


def _object_of_prior(boxes_xyxy: Tensor, priors: GroupedPriors, iou_threshold: float) -> Tensor:
    """Index of the object ``[G, 4]`` that each prior learns: ``[P]``, -1 for none."""
    num_objects, num_priors = len(boxes_xyxy), len(priors.cxcywh)
    bounds = priors.bounds(boxes_xyxy)
    # the best overlap is at least that with any one group; the group of largest bound is tried
    reached = priors.overlaps(boxes_xyxy, bounds.argmax(dim=1)).amax(dim=1)
    least = reached.clamp(max=iou_threshold)  # [G]: smaller overlaps do not affect the result
    objects, groups = (bounds >= least[:, None]).nonzero().unbind(1)
    overlaps, members = priors.overlaps(boxes_xyxy[objects], groups), priors.members[groups]
    of_object = objects[:, None].expand_as(members)  # [M, S], like overlaps and members
    enough = overlaps >= iou_threshold
    most, first = _first_largest(overlaps[enough], members[enough], of_object[enough], num_priors)
    object_of_prior = torch.where(most >= 0, first, -1)
    best, chosen = _first_largest(overlaps, of_object, members, num_objects)
    if len(set(chosen.tolist())) < num_objects:
        counts = objects.bincount(minlength=num_objects).tolist()
        known = zip(
            least.tolist(), torch.split(members, counts), torch.split(overlaps, counts), strict=True
        )
        candidates = _Candidates(priors, boxes_xyxy, bounds, list(known))
        chosen = _best_pairs(best, chosen, num_priors, candidates.best_free)
    object_of_prior[chosen] = torch.arange(num_objects, device=chosen.device)
    return object_of_prior


def _first_largest(
    values: Tensor, places: Tensor, candidates: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The largest value at each place, -1 if it has none, and the first candidate with that value.

    Args:
        values: of any shape, at least 0.
        places: of the same shape, integers below ``count``.
        candidates: of the same shape, integers.
        count: number of places.
    """
    values, places, candidates = values.flatten(), places.flatten(), candidates.flatten()
    largest = values.new_full((count,), -1).scatter_reduce(0, places, values, "amax")
    won = values == largest[places]
    none = torch.iinfo(candidates.dtype).max
    first = candidates.new_full((count,), none)
    return largest, first.scatter_reduce(0, places[won], candidates[won], "amin")


def _best_pairs(
    best: Tensor,
    chosen: Tensor,
    num_priors: int,
    best_free: Callable[[int, Tensor], tuple[float, int]],
) -> Tensor:
    """Assign a separate prior to each object ``[G]``, greedily, largest overlap first.

    Ties go to the first object, then to the first prior.

    Args:
        best: ``[G]`` largest overlap of each object.
        chosen: ``[G]`` the first prior with that overlap.
        num_priors: P.
        best_free: returns both among the free priors, given an object and ``[P]`` which are free.
    """
    chosen, free = chosen.clone(), torch.ones(num_priors, dtype=torch.bool, device=chosen.device)
    waiting = [
        (-overlap, i, p)
        for i, (overlap, p) in enumerate(zip(best.tolist(), chosen.tolist(), strict=True))
    ]
    heapify(waiting)
    left = num_priors
    while waiting and left:
        _, i, prior = heappop(waiting)
        if free[prior]:
            chosen[i], free[prior] = prior, False
            left -= 1
        else:
            overlap, new = best_free(i, free)
            heappush(waiting, (-overlap, i, new))
    return chosen


@dataclass(eq=False)
class _Candidates:
    """Overlaps of an image's objects with priors, computed only as needed.

    Attributes:
        priors: P priors in K groups.
        boxes_xyxy: ``[G, 4]``.
        bounds: ``[G, K]``, see :meth:`GroupedPriors.bounds`.
        known: for each object an overlap, and the members and overlaps ``[M, S]`` of the groups
            whose bound reaches it.
    """

    priors: GroupedPriors
    boxes_xyxy: Tensor
    bounds: Tensor
    known: list[tuple[float, Tensor, Tensor]]

    def best_free(self, i: int, free: Tensor) -> tuple[float, int]:
        """The largest overlap of object i with a free prior, and the first such prior.

        Args:
            i: index of the object.
            free: ``[P]``, not all False.
        """
        while True:
            least, members, overlaps = self.known[i]
            overlaps = torch.where(free[members], overlaps, -1.0)
            best = overlaps.max()
            if best >= least:
                return float(best), int(members[overlaps == best].min())
            least = least / 2 if least > 0.01 else 0.0
            groups = (self.bounds[i] >= least).nonzero().flatten()
            box = self.boxes_xyxy[i].expand(len(groups), 4)
            self.known[i] = least, self.priors.members[groups], self.priors.overlaps(box, groups)
