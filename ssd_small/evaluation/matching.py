"""Which detections are right at one IoU, by COCO's rule (cocoeval.py's evaluateImg), as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Set
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from .columns import Floats, Numbers, ResultColumns, TruthColumns
from .operating_point import IOU, Matches

#: detections of a class and image that count, the best ones
MOST = 100
#: objects of a larger area do not count, as COCO's range "all" has it
_LARGEST_AREA = 1e5**2
#: pairs of a detection and an object that are held at a time
_PAIRS = 1 << 21


def matches_by_class(truth: TruthColumns, found: ResultColumns) -> list[Matches]:
    """The matches of each class, in the order of the ids.

    The detections of a class and image go by descending score, equal ones in their order. Each
    takes the object of its class that it overlaps most (of equal ones the last) among those not
    taken; only one that finds none takes what does not count (a crowd, whose IoU is the share of
    the detection inside it, and which can be taken again).
    """
    classes, images = len(truth.category_ids), len(truth.image_ids)
    group = np.searchsorted(truth.category_ids, found.category_ids) * images
    group += np.searchsorted(truth.image_ids, found.image_ids)
    order = np.lexsort((-found.scores, group))  # stable
    group = group[order]
    best = np.arange(len(group)) - np.searchsorted(group, group) < MOST
    group, order = group[best], order[best]
    boxes = found.boxes_xywh[order]
    ignored = truth.crowds | (truth.areas > _LARGEST_AREA)
    right, passed = _taken(truth, ignored, group, boxes)
    # a detection that takes nothing counts if an object of its size would
    areas = boxes[:, 2] * boxes[:, 3]
    wrong = ~right & ~passed & (areas >= 0) & (areas <= _LARGEST_AREA)
    scores = found.scores[order].astype(np.float32)
    numbers = np.bincount(truth.categories[~ignored], minlength=classes)
    ends = np.searchsorted(group, np.arange(classes + 1) * images)
    return [
        Matches(scores[a:b], right[a:b], wrong[a:b], int(number))
        for a, b, number in zip(ends[:-1], ends[1:], numbers, strict=True)
    ]


def _taken(
    truth: TruthColumns, ignored: npt.NDArray[np.bool_], group: Numbers, boxes: Floats
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """``[D]`` whether a detection takes an object that counts; whether one that does not.

    Args:
        truth: the objects.
        ignored: ``[B]``, those that do not count.
        group: ``[D]``, class and image of each detection, ascending.
        boxes: ``[D, 4]``, the detections.
    """
    of_object = truth.categories * len(truth.image_ids) + truth.images
    # within a group those that do not count last, else in their order
    order = np.lexsort((ignored, of_object))
    of_object, ignored, crowds = of_object[order], ignored[order], truth.crowds[order]
    first = np.searchsorted(of_object, group)
    number = np.searchsorted(of_object, group, side="right") - first
    right, passed = np.zeros((2, len(group)), bool)
    taken: set[int] = set()
    ends = np.cumsum(number)
    start = 0
    while start < len(group):
        stop = int(np.searchsorted(ends, ends[start] - number[start] + _PAIRS, side="right"))
        stop = max(stop, start + 1)
        some = number[start:stop]
        rows = np.repeat(np.arange(start, stop), some)
        columns = first[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(some) - some, some)
        iou = _iou(boxes[rows], truth.boxes_xywh[order[columns]], crowds[columns])
        near = iou >= IOU
        candidates = zip(rows[near], columns[near], iou[near], strict=True)
        for row, own in groupby(candidates, itemgetter(0)):
            choice = _choice(own, ignored, crowds, taken)
            if choice is not None:
                taken.add(choice)
                (passed if ignored[choice] else right)[row] = True
        start = stop
    return right, passed


def _choice(
    candidates: Iterable[tuple[int, int, float]],
    ignored: npt.NDArray[np.bool_],
    crowds: npt.NDArray[np.bool_],
    taken: Set[int],
) -> int | None:
    """The object that a detection takes, of its candidates: detection, object, IoU."""
    choice, largest = None, 0.0
    for _, place, overlap in candidates:
        if place in taken and not crowds[place]:
            continue
        if choice is not None and ignored[place] and not ignored[choice]:
            break
        if overlap >= largest:
            choice, largest = place, overlap
    return choice


def _iou(found_xywh: Floats, boxes_xywh: Floats, crowds: npt.NDArray[np.bool_]) -> Floats:
    """``[P]`` IoU of pairs ``[P, 4]``, in the operations of COCO's maskApi.c (bbIou)."""
    low = np.maximum(found_xywh[:, :2], boxes_xywh[:, :2])
    ends = [one[:, :2] + one[:, 2:] for one in (found_xywh, boxes_xywh)]
    sides = np.minimum(*ends) - low
    inter = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    of_found = found_xywh[:, 2] * found_xywh[:, 3]
    union = np.where(crowds, of_found, of_found + boxes_xywh[:, 2] * boxes_xywh[:, 3] - inter)
    return np.divide(inter, union, out=np.zeros(len(inter)), where=inter > 0)
