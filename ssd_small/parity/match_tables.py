"""Tabulate which detections are correct in each picture, to resample average precision.

COCO's rule (:mod:`ssd_small.evaluation.matching`) at ten IoU thresholds and four ranges of area.
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
    """The detections of one class that count in one range of areas, at one IoU threshold.

    Attributes:
        area: name of the range, see :data:`~ssd_small.evaluation.matching.AREAS`.
        images: ``[n]`` image of each detection, as its position in ascending id order; best score
            first. Ends with the last correct one, as later ones do not change average precision.
        right: ``[m]`` positions in ``images`` of the correct detections.
        boxes: ``[I]`` number of objects that count in each image.
    """

    area: str
    images: Places
    right: Places
    boxes: Places


def match_tables(annotations: Annotations, results: Found) -> list[MatchTable]:
    """One table per class, range of areas and IoU threshold, where there are objects."""
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
        # equal scores of several images are ordered by image id
        order = np.argsort(-ranked.scores[rows], kind="stable")
        places = ranked.images[rows][order].astype(np.int32)
        for right, wrong in matched:
            own = right[rows][order]
            counted = own | wrong[rows][order]
            positions = np.flatnonzero(own[counted]).astype(np.int32)
            end = positions[-1] + 1 if len(positions) else 0
            yield MatchTable(area, places[counted][:end], positions, of_class)
