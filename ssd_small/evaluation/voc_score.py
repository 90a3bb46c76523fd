"""The metric of Pascal VOC: average precision at IoU 0.5, by 11 points or by area.

Everingham et al., The Pascal Visual Object Classes Challenge (IJCV 2010), sections 4.2 and 4.4; the
area under the curve since 2010 (development kit of VOC2012, section 3.4.1).

VOC's boxes are whole pixels, xmin..xmax with the last one included, and its IoU adds 1 to every
difference. Here a box is the area of those pixels: xmin = x + 1, xmax = x + w, so that
xmax - xmin + 1 = w, and the plain IoU of [x, y, w, h] is VOC's IoU of its own coordinates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations
from .columns import Found, results_from_columns
from .operating_point import IOU, Matches
from .score import ClassScore, Scores

Interpolation = Literal["voc07", "voc12"]
#: number of recalls at which precision is sampled: 0, 0.1, ..., 1
_POINTS = 11


def voc_score(annotations: Annotations, results: Found, interpolation: Interpolation) -> Scores:
    """Score COCO result entries by the rule of VOC.

    The detections of a class are taken by descending score, ties in the order of the pictures and
    then of ``results``. Each is compared with the box of its class and picture that has the highest
    IoU with it (the first of several). It is right if the IoU is at least 0.5 and the box is not
    taken yet; a second detection of a box is wrong. A detection whose box is difficult (or
    ``iscrowd``) is neither.

    Args:
        annotations: ground truth; ``difficult`` of a box may be absent.
        results: see :func:`ssd_small.evaluation.coco_results.read_results`.
        interpolation: ``voc07``, mean of 11 points; ``voc12``, area under the monotone curve.

    Returns:
        ``metrics`` has only AP, the mean over the classes with ground truth that counts.
    """
    order = {image["id"]: place for place, image in enumerate(annotations.images)}
    boxes: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for box in annotations.boxes:
        boxes[box["category_id"], box["image_id"]].append(box)
    for entry in results_from_columns(results):
        found[entry["category_id"]].append(entry)
    classes = []
    for category in annotations.categories:
        key = category["id"]
        entries = sorted(found[key], key=lambda one: (-one["score"], order[one["image_id"]]))
        truth = {image: boxes[key, image] for image in order if (key, image) in boxes}
        matches = _matches(entries, truth)
        ap = average_precision(matches, interpolation)
        name = str(category["name"])
        classes.append(ClassScore(name, {"AP": ap}, matches.boxes, len(entries), matches))
    known = [one.ap for one in classes if one.ap is not None]
    return Scores({"AP": float(np.mean(known)) if known else None}, tuple(classes))


def _matches(entries: Sequence[dict[str, Any]], boxes: dict[int, list[dict[str, Any]]]) -> Matches:
    """Matches of one class, given its detections in order and its boxes by picture."""
    passed_over = {
        image: [bool(box.get("difficult") or box["iscrowd"]) for box in of_image]
        for image, of_image in boxes.items()
    }
    places: dict[int, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        places[entry["image_id"]].append(place)
    right, wrong = np.zeros(len(entries), bool), np.ones(len(entries), bool)
    # whether a detection is right depends only on earlier ones in the same picture
    for image, of_image in boxes.items():
        rows = places[image]
        iou = _iou(
            _xyxy([entries[row]["bbox"] for row in rows]), _xyxy([b["bbox"] for b in of_image])
        )
        taken: set[int] = set()
        for row, best, overlap in zip(rows, iou.argmax(axis=1), iou.max(axis=1), strict=True):
            if overlap >= IOU:
                counts = not passed_over[image][best]
                right[row] = counts and best not in taken
                wrong[row] = counts and best in taken
                taken.add(best)
    return Matches(
        np.array([entry["score"] for entry in entries], np.float32),
        right,
        wrong,
        sum(not one for of_image in passed_over.values() for one in of_image),
    )


def _xyxy(boxes_xywh: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Corners ``[N, 4]``."""
    boxes = np.array(boxes_xywh, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _iou(
    found_xyxy: npt.NDArray[np.float64], boxes_xyxy: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """IoU ``[D, G]`` of detections ``[D, 4]`` with boxes ``[G, 4]``, which must have an area."""
    first, second = found_xyxy[:, None], boxes_xyxy[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    inter = sides.clip(0).prod(axis=2)
    areas = [(one[..., 2:] - one[..., :2]).clip(0).prod(axis=2) for one in (first, second)]
    iou: npt.NDArray[np.float64] = inter / (areas[0] + areas[1] - inter)
    return iou


def average_precision(matches: Matches, interpolation: Interpolation) -> float | None:
    """AP of the matches of a class, which are ordered by descending score.

    The precision at a recall is the highest at that recall or above. None without ground truth.
    """
    if not matches.boxes:
        return None
    true = np.cumsum(matches.right)
    judged = true + np.cumsum(matches.wrong)
    # if a difficult object's detection comes before all others, nothing is judged yet
    precision = np.divide(true, judged, out=np.zeros(len(true)), where=judged > 0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == "voc12":
        # only a right detection changes the recall, by one box
        return float(envelope[matches.right].sum() / matches.boxes)
    # recall >= k / 10 in whole numbers: 0.3 is not 3 * 0.1 in floating point
    steps = np.arange(_POINTS) * matches.boxes
    places = np.searchsorted(true * (_POINTS - 1), steps)
    return float(np.append(envelope, 0.0)[places].mean())
