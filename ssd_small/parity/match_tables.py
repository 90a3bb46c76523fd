"""Which detections are right, by picture: what average precision of resampled pictures is made of.

COCO's rule (:mod:`ssd_small.evaluation.matching`) at ten IoU and four ranges of area.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations
from ..evaluation.columns import Found, columns_from_annotations, columns_from_results
from ..evaluation.curves import IOUS
from ..evaluation.matching import AREAS, Ranked, ranked_from_results

Places = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class MatchTable:
    """The detections of one class that count in one range of areas, at one IoU.

    Attributes:
        area: of :data:`~ssd_small.evaluation.matching.AREAS`.
        images: ``[n]`` image of each, by its place in the order of the ids, best score first; none
            after the last right one, since what follows it does not change average precision.
        right: ``[m]`` positions in ``images`` of those that are right.
        boxes: ``[I]`` objects of each image that count.
    """

    area: str
    images: Places
    right: Places
    boxes: Places


def match_tables(annotations: Annotations, results: Found) -> list[MatchTable]:
    """A table per class, range of areas and IoU, for classes and ranges that have objects."""
    truth, found = columns_from_annotations(annotations), columns_from_results(results)
    ranked = ranked_from_results(truth, found, IOUS[0])
    return [table for area in AREAS for table in _tables_of_area(ranked, area)]


def _tables_of_area(ranked: Ranked, area: str) -> Iterator[MatchTable]:
    truth, images = ranked.truth, len(ranked.truth.image_ids)
    ignored = ranked.ignored(AREAS[area])
    of_object = (truth.categories * images + truth.images)[~ignored]
    shape = (len(truth.category_ids), images)
    boxes = np.bincount(of_object, minlength=shape[0] * images).reshape(shape).astype(np.int32)
    matched = [ranked.right_and_wrong(ignored, float(iou), AREAS[area]) for iou in IOUS]
    for rows, of_class in zip(ranked.classes(), boxes, strict=True):
        if not of_class.any():
            continue
        # equal scores of several images go by the images' ids
        order = np.argsort(-ranked.scores[rows], kind="stable")
        places = ranked.images[rows][order].astype(np.int32)
        for right, wrong in matched:
            own = right[rows][order]
            counted = own | wrong[rows][order]
            positions = np.flatnonzero(own[counted]).astype(np.int32)
            end = positions[-1] + 1 if len(positions) else 0
            yield MatchTable(area, places[counted][:end], positions, of_class)
