"""Which detections are right, by picture: what average precision of resampled pictures is made of.

COCO's rule (cocoeval.py's evaluateImg) at ten IoU and four ranges of area.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations

Places = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

#: least IoU of a match, as cocoeval.py (Params) has them
IOUS = np.linspace(0.5, 0.95, 10)
#: areas in square pixels, both ends included
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
#: detections of a class and image that count, the best ones
_MOST = 100
#: a match needs a little less than an IoU of 1, as cocoeval.py has it
_BELOW_ONE = 1 - 1e-10


@dataclass(frozen=True, eq=False)
class MatchTable:
    """The detections of one class that count in one range of areas, at one IoU.

    Attributes:
        category: place of the class in the annotations.
        area: of :data:`AREAS`.
        images: ``[n]`` image of each, by its place in the order of the ids, best score first; none
            after the last right one, since what follows it does not change average precision.
        right: ``[m]`` positions in ``images`` of those that are right.
        boxes: ``[I]`` objects of each image that count.
    """

    category: int
    area: str
    images: Places
    right: Places
    boxes: Places


def match_tables(
    annotations: Annotations, entries: Sequence[Mapping[str, Any]]
) -> list[MatchTable]:
    """A table per class, range of areas and IoU, for classes and ranges that have objects."""
    # equal scores of several images go by the images' ids
    place = {key: i for i, key in enumerate(sorted(image["id"] for image in annotations.images))}
    truth: dict[int, dict[int, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    found: dict[int, dict[int, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for box in annotations.boxes:
        truth[box["category_id"]][place[box["image_id"]]].append(box)
    for entry in entries:
        found[entry["category_id"]][place[entry["image_id"]]].append(entry)
    tables: list[MatchTable] = []
    for number, category in enumerate(annotations.categories):
        key = category["id"]
        if truth[key]:
            tables += _tables_of_class(number, truth[key], found[key], len(place))
    return tables


def _tables_of_class(
    category: int,
    truth: Mapping[int, list[Mapping[str, Any]]],
    found: Mapping[int, list[Mapping[str, Any]]],
    images: int,
) -> list[MatchTable]:
    pictures = [
        _Picture(image, truth.get(image, []), found.get(image, []))
        for image in sorted({*truth, *found})
    ]
    of = np.concatenate([np.full(len(one.scores), one.image, np.int32) for one in pictures])
    order = np.argsort(-np.concatenate([one.scores for one in pictures]), kind="stable")
    tables = []
    for area, (low, high) in AREAS.items():
        boxes = np.zeros(images, np.int32)
        parts = []
        for one in pictures:
            absent = one.crowds | (one.areas < low) | (one.areas > high)
            boxes[one.image] = np.count_nonzero(~absent)
            parts.append(one.matches(absent, low, high))
        if not boxes.any():
            continue
        right = np.concatenate([part[0] for part in parts], axis=1)[:, order]
        counts = np.concatenate([part[1] for part in parts], axis=1)[:, order]
        for own, counted in zip(right, counts, strict=True):
            positions = np.flatnonzero(own[counted]).astype(np.int32)
            end = positions[-1] + 1 if len(positions) else 0
            tables.append(MatchTable(category, area, of[order][counted][:end], positions, boxes))
    return tables


class _Picture:
    """Objects and detections of one class in one image, the best detections first."""

    def __init__(
        self, image: int, truth: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
    ) -> None:
        self.image = image
        scores = np.array([one["score"] for one in found], np.float64)
        order = np.argsort(-scores, kind="stable")[:_MOST]
        self.scores = scores[order]
        boxes = np.array([one["bbox"] for one in found], np.float64).reshape(-1, 4)[order]
        self.found_areas = boxes[:, 2] * boxes[:, 3]
        objects = np.array([one["bbox"] for one in truth], np.float64).reshape(-1, 4)
        self.areas = np.array([one["area"] for one in truth], np.float64)
        self.crowds = np.array([bool(one["iscrowd"]) for one in truth], bool)
        self._iou = _iou(boxes, objects, self.crowds)
        #: detections that may match anything
        self._able = np.flatnonzero((self._iou >= IOUS[0]).any(axis=1)).tolist()

    def matches(self, absent: Flags, low: float, high: float) -> tuple[Flags, Flags]:
        """``[T, D]`` which detections are right, and which count (are right or wrong).

        Args:
            absent: ``[G]`` objects that do not count.
            low, high: of the area of an unmatched detection that counts.
        """
        outside = (self.found_areas < low) | (self.found_areas > high)
        right = np.zeros((len(IOUS), len(self.scores)), bool)
        counts = np.tile(~outside, (len(IOUS), 1))
        order = np.argsort(absent, kind="stable").tolist()
        for t, iou in enumerate(IOUS):
            taken: set[int] = set()
            for row in self._able:
                chosen = self._choice(row, order, absent, taken, min(float(iou), _BELOW_ONE))
                if chosen is not None:
                    taken.add(chosen)
                    right[t, row] = counts[t, row] = not absent[chosen]
        return right, counts

    def _choice(
        self, row: int, order: Sequence[int], absent: Flags, taken: set[int], least: float
    ) -> int | None:
        """The object that a detection takes; those that do not count only if no other is left."""
        chosen = None
        for g in order:
            if g in taken and not self.crowds[g]:
                continue
            if chosen is not None and absent[g] and not absent[chosen]:
                break
            if self._iou[row, g] >= least:
                chosen, least = g, float(self._iou[row, g])
        return chosen


def _iou(found: Numbers, objects: Numbers, crowds: Flags) -> Numbers:
    """IoU ``[D, G]`` of boxes (x, y, w, h) in COCO's sense: with a crowd the share inside it."""
    low = np.maximum(found[:, None, :2], objects[None, :, :2])
    high = np.minimum(
        (found[:, :2] + found[:, 2:])[:, None], (objects[:, :2] + objects[:, 2:])[None]
    )
    inter = np.clip(high - low, 0, None).prod(axis=2)
    own = (found[:, 2] * found[:, 3])[:, None]
    union = np.where(crowds[None], own, own + (objects[:, 2] * objects[:, 3])[None] - inter)
    iou: Numbers = np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)
    return iou
