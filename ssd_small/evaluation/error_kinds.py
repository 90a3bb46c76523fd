"""Kinds of detection errors: which classes are confused, and what each kind of error costs.

Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations
from .columns import Found, ResultColumns, columns_from_annotations, columns_from_results
from .curves import hotcoco_evaluation
from .operating_point import IOU

#: a detection whose IoU with every object is lower is on background
BACKGROUND_IOU = 0.1
#: TIDE's name of a kind -> ours
_KINDS = {
    "Cls": "wrong class",
    "Loc": "badly placed",
    "Both": "wrong class and badly placed",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}


@dataclass(frozen=True)
class ErrorKind:
    """One kind of error at an IoU of 0.5.

    Attributes:
        name: what is wrong with the detection, or ``missed`` for an object.
        count: errors over all classes.
        cost: how much higher AP50 would be without them.
    """

    name: str
    count: int
    cost: float


def error_kinds(annotations: Annotations, results: Found) -> list[ErrorKind]:
    """TIDE's six kinds of errors, the costliest first.

    Raises:
        MissingRequirement: hotcoco is missing.
    """
    truth, found = columns_from_annotations(annotations), columns_from_results(results)
    evaluation = hotcoco_evaluation(truth, found)
    evaluation.evaluate()
    told = evaluation.tide_errors(pos_thr=IOU, bg_thr=BACKGROUND_IOU)
    kinds = [
        ErrorKind(name, int(told["counts"][key]), float(told["delta_ap"][key]))
        for key, name in _KINDS.items()
    ]
    return sorted(kinds, key=lambda one: -one.cost)


def confusion_matrix(
    annotations: Annotations, results: Found, threshold: float
) -> npt.NDArray[np.int64]:
    """``[C + 1, C + 1]`` counts of objects by class (rows) and by the class found (columns).

    The last column counts objects that were not found, the last row detections that found nothing.
    Classes are in the order of their ids, detections those with scores above ``threshold``, as
    float32. An object is found at an IoU of 0.5.

    Raises:
        MissingRequirement: hotcoco is missing.
    """
    truth, found = columns_from_annotations(annotations), columns_from_results(results)
    shown = found.scores.astype(np.float32) > np.float32(threshold)
    found = ResultColumns(
        found.image_ids[shown],
        found.category_ids[shown],
        found.boxes_xywh[shown],
        found.scores[shown],
    )
    matrix = hotcoco_evaluation(truth, found).confusion_matrix(iou_thr=IOU)["matrix"]
    return np.asarray(matrix).astype(np.int64)
