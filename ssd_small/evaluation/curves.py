"""COCO's precision and recall of columns, by hotcoco; bit-identical to pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..requirements import require
from .columns import Floats, ResultColumns, TruthColumns

#: minimum IoU of a match, as in cocoeval.py (Params)
IOUS = np.linspace(0.5, 0.95, 10)


def mean_of_known(values: Floats) -> float | None:
    """The mean of the defined values (-1 means no ground truth), as in cocoeval.py."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def coco_curves(
    truth: TruthColumns,
    found: ResultColumns,
    areas: Sequence[Sequence[float]],
    most: Sequence[int],
    measures: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    """Precision ``[T, R, K, A, M]`` and recall ``[T, K, A, M]``; -1 without ground truth.

    T, R, K, A, M: IoU from 0.50 to 0.95, recall from 0 to 1, class, range of areas (or of another
    measure), detections.

    Args:
        truth: ground truth with at least one image.
        found: detections.
        areas: ranges, both ends included.
        most: numbers of detections per class and image that count, ascending.
        measures: values that the ranges apply to, ``[B]`` per object and ``[D]`` per detection;
            None for areas.

    Raises:
        MissingRequirement: hotcoco is missing.
    """
    evaluation = hotcoco_evaluation(truth, found, measures)
    evaluation.params.area_rng = [list(one) for one in areas]
    evaluation.params.area_rng_lbl = [str(a) for a in range(len(areas))]
    evaluation.params.max_dets = list(most)
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def hotcoco_evaluation(
    truth: TruthColumns, found: ResultColumns, measures: tuple[Floats, Floats] | None = None
) -> Any:
    """Set up hotcoco's ``COCOeval``, not yet run, with indices as image and category ids.

    Raises:
        MissingRequirement: hotcoco is missing.
    """
    hotcoco = require("hotcoco", "scoring")
    # new ids, since those of a file may exceed what a float can hold
    size = {"file_name": "", "width": 1, "height": 1}
    images = [{"id": i, **size} for i in range(len(truth.image_ids))]
    names = [{"id": k, "name": str(k)} for k in range(len(truth.category_ids))]
    of = np.searchsorted(truth.image_ids, found.image_ids)
    own, theirs = (truth.areas, None) if measures is None else measures
    boxes = hotcoco.COCO.from_arrays(
        *(images, names, truth.images, truth.categories, truth.boxes_xywh),
        ids=np.arange(1, len(own) + 1),  # 0 is "not matched"
        area=own,
        iscrowd=truth.crowds.astype(np.int64),
    )
    kinds = np.searchsorted(truth.category_ids, found.category_ids)
    detections = boxes.load_res(np.column_stack([of, found.boxes_xywh, found.scores, kinds]))
    if theirs is not None and len(found):
        detections.update_anns(ids=np.arange(1, len(theirs) + 1), area=theirs)
    return hotcoco.COCOeval(boxes, detections, "bbox")
