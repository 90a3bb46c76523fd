"""Measure how much two results on one data set differ: in AP and in single detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..datasets.coco import Annotations
from ..evaluation.coco_results import results_from_detections
from ..evaluation.score import score
from ..postprocess import Detections
from ..postprocess.boxes import iou_one_to_many
from .naming import Naming

#: least IoU for two detections to be of one object, and to be in the same place: COCO's lowest and
#: strictest thresholds
SAME_OBJECT, SAME_PLACE = 0.5, 0.95


def mean_ap(found: Sequence[Detections], naming: Naming, annotations: Annotations) -> float | None:
    """COCO's AP of detections, one per picture of the annotations; None without ground truth.

    Boxes are in the unit square of the network's input.
    """
    entries = []
    description = naming.description
    for one, image in zip(found, annotations.images, strict=True):
        known = naming.categories(one) >= 0
        placed = description.preprocessing.placement(int(image["height"]), int(image["width"]))
        one = replace(one, boxes=placed.picture_from_input(one.boxes))
        entries += results_from_detections(one[known], image, description, naming.ids)
    return score(annotations, entries).metrics["AP"]


def changed(first: Detections, second: Detections, names: tuple[Naming, Naming]) -> int:
    """Count the detections of one picture that differ between two results.

    Two are the same if they have one class and overlap by at least :data:`SAME_PLACE`. A detection
    counts once if its partner overlaps it by less, or if it has none. The partner is of the same
    class: the one from the same prior, else the one with the largest overlap, at least
    :data:`SAME_OBJECT`.
    """
    classes = [naming.categories(one) for naming, one in zip(names, (first, second), strict=True)]
    keys = [
        list(zip(of.tolist(), one.prior_indices.tolist(), strict=True))
        for of, one in zip(classes, (first, second), strict=True)
    ]
    places = {key: i for i, key in enumerate(keys[1])}
    pairs = [(i, places.pop(key)) for i, key in enumerate(keys[0]) if key in places]
    differing = sum(_iou(first, i, second, j) < SAME_PLACE for i, j in pairs)
    taken = ({i for i, _ in pairs}, {j for _, j in pairs})
    left = [i for i in range(len(first)) if i not in taken[0]]
    others = np.array([j for j in range(len(second)) if j not in taken[1]], np.intp)
    for i in left:
        of_class = others[classes[1][others] == classes[0][i]]
        overlaps = iou_one_to_many(first.boxes[i], second.boxes[of_class])
        if not len(of_class) or not overlaps.max() >= SAME_OBJECT:
            differing += 1
            continue
        best = int(np.argmax(overlaps))
        differing += bool(overlaps[best] < SAME_PLACE)
        others = others[others != of_class[best]]
    return int(differing) + len(others)


def _iou(first: Detections, i: int, second: Detections, j: int) -> float:
    if np.array_equal(first.boxes[i], second.boxes[j]):
        return 1.0
    return float(iou_one_to_many(first.boxes[i], second.boxes[j : j + 1])[0])


def same(first: Detections, second: Detections) -> bool:
    """Whether two results are bit-identical."""
    names = ("boxes", "scores", "labels", "prior_indices")
    return all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)
