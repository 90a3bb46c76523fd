"""Which detections are right, by COCO's rule (cocoeval.py's evaluateImg), as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from .columns import Floats, Numbers, ResultColumns, TruthColumns
from .operating_point import IOU, Matches

Flags = npt.NDArray[np.bool_]

#: number of best detections per class and image that count
MOST = 100
#: areas in square pixels, both ends included, as in cocoeval.py (Params)
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
#: a match at IoU 1 needs slightly less than that, as in cocoeval.py
_BELOW_ONE = 1 - 1e-10
#: pairs of a detection and an object processed at a time
_PAIRS = 1 << 21


def matches_by_class(truth: TruthColumns, found: ResultColumns) -> list[Matches]:
    """The matches of each class at an IoU of 0.5, in the order of the category ids."""
    ranked = ranked_from_results(truth, found, IOU)
    ignored = ranked.ignored(AREAS["all"])
    right, wrong = ranked.right_and_wrong(ignored, IOU, AREAS["all"])
    scores = ranked.scores.astype(np.float32)
    numbers = np.bincount(truth.categories[~ignored], minlength=len(truth.category_ids))
    return [
        Matches(scores[rows], right[rows], wrong[rows], int(number))
        for rows, number in zip(ranked.classes(), numbers, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Detections that count, best first per class and image, and the objects they may match.

    Attributes:
        truth: the objects.
        group: ``[D]`` class and image of each detection, ascending: class times I plus image.
        scores: ``[D]``.
        areas: ``[D]`` of the detections in square pixels.
        rows, objects, ious: ``[K]`` indices of a detection and an object of its class and image
            that overlap enough, and their IoU; sorted by row, then by object.
    """

    truth: TruthColumns
    group: Numbers
    scores: Floats
    areas: Floats
    rows: Numbers
    objects: Numbers
    ious: Floats

    @property
    def images(self) -> Numbers:
        """``[D]`` image of each detection."""
        return self.group % len(self.truth.image_ids)

    def classes(self) -> list[slice]:
        """The range of detections of each class."""
        bounds = np.arange(len(self.truth.category_ids) + 1) * len(self.truth.image_ids)
        ends = np.searchsorted(self.group, bounds).tolist()
        return [slice(a, b) for a, b in pairwise(ends)]

    def ignored(self, area: tuple[float, float]) -> Flags:
        """``[B]`` whether an object is ignored for a range of areas."""
        low, high = area
        return self.truth.crowds | (self.truth.areas < low) | (self.truth.areas > high)

    def right_and_wrong(
        self, ignored: Flags, iou: float, area: tuple[float, float]
    ) -> tuple[Flags, Flags]:
        """``[D]`` whether a detection matches an object that counts, and whether it is wrong.

        The detections of a class and image are taken by descending score, ties in their own order.
        Each matches the object of its class with the highest IoU (the last of several) among those
        still free. Only if there is none does it match an ignored object, and is then neither right
        nor wrong (for a crowd, which can be matched repeatedly, the IoU is the share of the
        detection inside it).

        Args:
            ignored: ``[B]``, see :meth:`ignored`.
            iou: minimum of a match, at least the one used for the pairs.
            area: range of areas in which a detection that matches nothing counts as wrong.
        """
        near = np.flatnonzero(self.ious >= min(iou, _BELOW_ONE))
        # of each detection, ignored objects last, otherwise in their order
        near = near[np.lexsort((ignored[self.objects[near]], self.rows[near]))]
        pairs = (one[near].tolist() for one in (self.rows, self.objects, self.ious))
        right, passed = np.zeros((2, len(self.group)), bool)
        taken: set[int] = set()
        for row, own in groupby(zip(*pairs, strict=True), itemgetter(0)):
            choice = _choice(own, ignored, self.truth.crowds, taken)
            if choice is not None:
                taken.add(choice)
                (passed if ignored[choice] else right)[row] = True
        # a detection that matches nothing counts if an object of its size would
        low, high = area
        return right, ~right & ~passed & (self.areas >= low) & (self.areas <= high)


def ranked_from_results(truth: TruthColumns, found: ResultColumns, iou: float) -> Ranked:
    """The detections that count, with the objects they overlap by at least this IoU."""
    images = len(truth.image_ids)
    group = np.searchsorted(truth.category_ids, found.category_ids) * images
    group += np.searchsorted(truth.image_ids, found.image_ids)
    order = np.lexsort((-found.scores, group))  # stable
    group = group[order]
    best = np.arange(len(group)) - np.searchsorted(group, group) < MOST
    group, order = group[best], order[best]
    boxes = found.boxes_xywh[order]
    pairs = _near(truth, group, boxes, min(iou, _BELOW_ONE))
    return Ranked(truth, group, found.scores[order], boxes[:, 2] * boxes[:, 3], *pairs)


def _near(
    truth: TruthColumns, group: Numbers, boxes: Floats, least: float
) -> tuple[Numbers, Numbers, Floats]:
    """Pairs ``[K]`` of detections and objects of their class and image, and their IoU.

    Args:
        truth: the objects.
        group: ``[D]``, class and image of each detection, ascending.
        boxes: ``[D, 4]``, the detections.
        least: minimum IoU.
    """
    of_object = truth.categories * len(truth.image_ids) + truth.images
    order = np.argsort(of_object, kind="stable")
    of_object = of_object[order]
    first = np.searchsorted(of_object, group)
    number = np.searchsorted(of_object, group, side="right") - first
    ends = np.cumsum(number)
    parts = []
    start = 0
    while start < len(group):
        stop = int(np.searchsorted(ends, ends[start] - number[start] + _PAIRS, side="right"))
        stop = max(stop, start + 1)
        some = number[start:stop]
        rows = np.repeat(np.arange(start, stop), some)
        columns = first[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(some) - some, some)
        objects = order[columns]
        iou = _iou(boxes[rows], truth.boxes_xywh[objects], truth.crowds[objects])
        near = iou >= least
        parts.append((rows[near], objects[near], iou[near]))
        start = stop
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rows, objects, iou = (np.concatenate(one) for one in zip(*parts, strict=True))
    return rows, objects, iou


def _choice(
    candidates: Iterable[tuple[int, int, float]],
    ignored: Flags,
    crowds: Flags,
    taken: Set[int],
) -> int | None:
    """The object that a detection matches, out of candidates (detection, object, IoU)."""
    choice, largest = None, 0.0
    for _, place, overlap in candidates:
        if place in taken and not crowds[place]:
            continue
        if choice is not None and ignored[place] and not ignored[choice]:
            break
        if overlap >= largest:
            choice, largest = place, overlap
    return choice


def _iou(found_xywh: Floats, boxes_xywh: Floats, crowds: Flags) -> Floats:
    """``[P]`` IoU of pairs ``[P, 4]``, with the operations of COCO's maskApi.c (bbIou)."""
    low = np.maximum(found_xywh[:, :2], boxes_xywh[:, :2])
    ends = [one[:, :2] + one[:, 2:] for one in (found_xywh, boxes_xywh)]
    sides = np.minimum(*ends) - low
    inter = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    of_found = found_xywh[:, 2] * found_xywh[:, 3]
    union = np.where(crowds, of_found, of_found + boxes_xywh[:, 2] * boxes_xywh[:, 3] - inter)
    return np.divide(inter, union, out=np.zeros(len(inter)), where=inter > 0)
