"""The pictures on which detections and ground truth disagree most, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.coco import Annotations
from ..datasets.picture_files import picture_path
from ..errors import BadFile
from ..evaluation.columns import Found, results_from_columns
from ..evaluation.operating_point import IOU
from ..pictures.annotated import read_annotated
from ..pictures.reading import Image
from .page import Picture, Pictures
from .pictures import Box, uri_from_picture

#: largest number of examples on a page, two pictures each
MOST_EXAMPLES = 6


@dataclass(frozen=True)
class Disagreement:
    """One picture with its objects and detections.

    Attributes:
        image: its entry in the annotations.
        truth: its objects, each with whether it was missed.
        found: its detections, each with whether it is wrong.
    """

    image: Mapping[str, Any]
    truth: Sequence[tuple[Mapping[str, Any], bool]]
    found: Sequence[tuple[Mapping[str, Any], bool]]

    @property
    def errors(self) -> int:
        """Number of missed objects and wrong detections."""
        return sum(bad for _, bad in (*self.truth, *self.found))


def largest_disagreements(
    annotations: Annotations, results: Found, thresholds: Mapping[int, float]
) -> list[Disagreement]:
    """The pictures with the most errors at IoU 0.5, the worst first; crowds do not count.

    Args:
        annotations: ground truth.
        results: COCO result entries.
        thresholds: score threshold by category id.
    """
    truth: dict[int, list[Any]] = {image["id"]: [] for image in annotations.images}
    found: dict[int, list[Any]] = {image["id"]: [] for image in annotations.images}
    for box in annotations.boxes:
        if not box["iscrowd"]:
            truth[box["image_id"]].append(box)
    for one in results_from_columns(results):
        if one["score"] > thresholds[one["category_id"]]:
            found[one["image_id"]].append(one)
    rows = [
        _disagreement(image, truth[image["id"]], found[image["id"]]) for image in annotations.images
    ]
    rows = [one for one in rows if one.errors]
    return sorted(rows, key=lambda one: -one.errors)[:MOST_EXAMPLES]


def _disagreement(image: Mapping[str, Any], truth: list[Any], found: list[Any]) -> Disagreement:
    """Match detections, best first, to the free object of their class that they overlap most."""
    found = sorted(found, key=lambda one: -one["score"])
    free = np.ones(len(truth), bool)
    kinds = np.array([box["category_id"] for box in truth], np.int64)
    boxes = np.array([box["bbox"] for box in truth], np.float64).reshape(-1, 4)
    wrong = []
    for one in found:
        overlaps = np.where(free & (kinds == one["category_id"]), _iou(one["bbox"], boxes), 0.0)
        best = int(np.argmax(overlaps)) if len(overlaps) else -1
        wrong.append(best < 0 or overlaps[best] < IOU)
        if not wrong[-1]:
            free[best] = False
    return Disagreement(
        image,
        list(zip(truth, free.tolist(), strict=True)),
        list(zip(found, wrong, strict=True)),
    )


def _iou(one: Sequence[float], boxes: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """``[B]`` IoU of a box (x, y, width, height) with ``[B, 4]``."""
    own = np.asarray(one, np.float64)
    low = np.maximum(own[:2], boxes[:, :2])
    sides = np.maximum(np.minimum(own[:2] + own[2:], boxes[:, :2] + boxes[:, 2:]) - low, 0)
    shared = sides.prod(axis=1)
    union = own[2] * own[3] + boxes[:, 2] * boxes[:, 3] - shared
    return np.divide(shared, union, out=np.zeros(len(boxes)), where=shared > 0)


def examples_from_disagreements(
    rows: Sequence[Disagreement], annotations: Annotations, folder: Path
) -> list[Pictures]:
    """Ground truth and detections of each picture side by side; unreadable ones are left out."""
    names = {one["id"]: str(one["name"]) for one in annotations.categories}
    examples = []
    for row in rows:
        size = float(row.image["height"]), float(row.image["width"])
        pixels = picture_of_name(folder, str(row.image["file_name"]), size)
        if pixels is None:
            continue
        missed = Counter(names[box["category_id"]] for box, bad in row.truth if bad)
        wrong = Counter(names[one["category_id"]] for one, bad in row.found if bad)
        left = [Box(tuple(box["bbox"]), bad) for box, bad in row.truth]
        right = [Box(tuple(o["bbox"]), bad, f"{o['score']:.2f}") for o, bad in row.found]
        name = str(row.image["file_name"])
        said = f"ground truth: {len(left)} objects, {sum(missed.values())} missed"
        told = f"detections: {len(right)}, {sum(wrong.values())} wrong"
        pair = [
            Picture(uri_from_picture(pixels, size, left), f"{name}, {said}", f"{said} (dashed)"),
            Picture(uri_from_picture(pixels, size, right), f"{name}, {told}", f"{told} (dashed)"),
        ]
        lines = [
            f"{word}: {', '.join(f'{n} {c}' for n, c in counts.most_common(12))}."
            for word, counts in (("Missed", missed), ("Wrong", wrong))
            if counts
        ]
        examples.append(Pictures(name, pair, lines))
    return examples


def picture_of_name(folder: Path, name: str, size: tuple[float, float]) -> Image | None:
    """A picture of a folder at its annotated size; None if it cannot be read."""
    path = picture_path(folder, name)
    if path is None:
        return None
    try:
        return read_annotated(path, size)
    except BadFile:
        return None
