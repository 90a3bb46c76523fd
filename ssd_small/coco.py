"""COCO-format annotations, results and scores; the scoring is pycocotools'."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifact import Description
from .detections import Detections
from .errors import BadFile
from .files import read_json
from .requirements import require

#: the twelve numbers, in pycocotools' order
METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)


@dataclass(frozen=True, eq=False)
class Annotations:
    """Ground truth of a data set.

    Attributes:
        path: the file it came from.
        images: id, file_name, width and height of every image.
        categories: id and name, ordered by id.
        boxes: annotations that count.
        dropped: number of boxes without area, which were left out.
    """

    path: Path
    images: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]
    boxes: tuple[dict[str, Any], ...]
    dropped: int


def read_annotations(path: Path) -> Annotations:
    """Read and check a COCO annotation file.

    Raises:
        BadFile: not COCO, or a box refers to an image or category that is not in the file.
    """
    content = read_json(path, "COCO annotations")
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise BadFile(f"{path} is not a COCO annotation file: expected lists {', '.join(lists)}")
    try:
        images = _by_id(content["images"], "image")
        categories = _by_id(content["categories"], "category")
        for image in images.values():
            if not isinstance(image["file_name"], str):
                raise TypeError(f"file_name {image['file_name']!r} of image {image['id']!r}")
            if not min(_numbers(image["width"], image["height"])) > 0:
                raise ValueError(f"image {image['id']!r} has no size")
        for category in categories.values():
            _check_name(str(category["name"]))
        boxes, dropped = [], 0
        for number, box in enumerate(content["annotations"]):
            _check_reference(path, box, images, categories)
            if not isinstance(box["bbox"], list):
                raise TypeError(f"bbox {box['bbox']!r} is not a list")
            # some exporters write numbers, NaN above all, as texts
            x, y, width, height = (float(v) for v in box["bbox"])
            if not (math.isfinite(x + y + width * height) and width > 0 and height > 0):
                dropped += 1
                continue
            (area,) = _numbers(box.get("area", width * height))
            crowd = int(box.get("iscrowd", 0))
            # pycocotools takes a matched id of 0 for "not matched"
            kept = {"id": number + 1, "bbox": [x, y, width, height], "area": area, "iscrowd": crowd}
            boxes.append(box | kept)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadFile(
            f"{path} is not a COCO annotation file ({type(error).__name__}: {error}); expected "
            "images with id, file_name, width, height and annotations with image_id, "
            "category_id, bbox [x, y, w, h]"
        ) from error
    if not images or not categories:
        raise BadFile(f"{path} lists no images or no categories; nothing could be scored")
    ordered = tuple(categories[key] for key in sorted(categories))
    return Annotations(path, tuple(images.values()), ordered, tuple(boxes), dropped)


def _by_id(entries: list[dict[str, Any]], kind: str) -> dict[int, dict[str, Any]]:
    """Entries by their id, a whole number that none shares with another."""
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        key = entry["id"]
        if type(key) is not int:
            raise TypeError(f"{kind} id {key!r} is not a whole number")
        if key in found:
            raise ValueError(f"{kind} id {key} occurs twice")
        found[key] = entry
    return found


def _check_name(name: str) -> None:
    """A class name takes a line of a text file."""
    if not name.strip() or not name.isprintable():
        raise ValueError(f"category name {name!r} is empty or not printable")


def _numbers(*values: Any) -> list[float]:
    """JSON numbers as floats; texts and booleans are refused, which float() would take."""
    for value in values:
        if type(value) not in (int, float):
            raise TypeError(f"{value!r} is not a number")
    return [float(value) for value in values]


def _check_reference(
    path: Path, box: dict[str, Any], images: dict[Any, Any], categories: dict[Any, Any]
) -> None:
    for key, known in (("image_id", images), ("category_id", categories)):
        if box[key] not in known:
            raise BadFile(
                f"{path}: a box has {key} {box[key]!r}, which the file does not list; correct the "
                "file"
            )


def image_paths(annotations: Annotations, folder: Path) -> list[Path]:
    """The image files of a data set, all of which exist.

    Raises:
        BadFile: images are missing; names the first.
    """
    paths = [folder / image["file_name"] for image in annotations.images]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise BadFile(
            f"{len(missing)} of {len(paths)} images of {annotations.path} are not in {folder}, the "
            f"first is {missing[0].name}; pass the right --images"
        )
    return paths


def category_ids(annotations: Annotations, description: Description) -> list[int]:
    """The category id of each label a network can give, in the order of its labels.

    By name where all of the network's labels are categories; else by order, if the numbers are
    equal: the published networks number the categories by ascending id.

    Raises:
        BadFile: neither is possible.
    """
    by_name = {str(category["name"]): int(category["id"]) for category in annotations.categories}
    if all(name in by_name for name in description.labels):
        return [by_name[name] for name in description.labels]
    if len(description.labels) == len(annotations.categories):
        return [int(category["id"]) for category in annotations.categories]
    raise BadFile(
        f"{annotations.path} has {len(annotations.categories)} categories, the network "
        f"{len(description.labels)} classes, and the names differ (e.g. {description.labels[0]!r} "
        f"and {annotations.categories[0]['name']!r}); use the annotations the network was trained "
        "for, or name its classes with --labels"
    )


def results_from_detections(
    detections: Detections,
    image: dict[str, Any],
    description: Description,
    ids: Sequence[int],
    *,
    inclusive: bool = False,
) -> list[dict[str, Any]]:
    """COCO result entries of one image.

    Args:
        detections: boxes in the unit square.
        image: the image's entry, for id, width and height in pixels.
        description: gives the label's place in ``ids``.
        ids: category id per detectable label.
        inclusive: boxes were learned with x2 = x + w - 1, so that a width is x2 - x1 + 1.
    """
    width, height = float(image["width"]), float(image["height"])
    extra = 1.0 if inclusive else 0.0
    background = description.postprocess.background_label
    entries = []
    for box, score, label in zip(
        detections.boxes.tolist(),
        detections.scores.tolist(),
        detections.labels.tolist(),
        strict=True,
    ):
        x1, y1, x2, y2 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
        entries.append(
            {
                "image_id": image["id"],
                "category_id": ids[label - (0 <= background < label)],
                "bbox": [x1, y1, x2 - x1 + extra, y2 - y1 + extra],
                "score": score,
            }
        )
    return entries


def read_results(path: Path, annotations: Annotations) -> list[dict[str, Any]]:
    """Read a COCO result file and check that it belongs to the annotations.

    Raises:
        BadFile: not a result file, or an entry refers to an unknown image or category.
    """
    entries = read_json(path, "COCO detection results")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise BadFile(f"{path} is not a COCO result file: expected a list of detections")
    images = {image["id"]: image for image in annotations.images}
    categories = {category["id"]: category for category in annotations.categories}
    try:
        for entry in entries:
            _check_reference(path, entry, images, categories)
            if not all(math.isfinite(v) for v in _numbers(*entry["bbox"], entry["score"])):
                raise ValueError("a bbox or score is not finite")
            if len(entry["bbox"]) != 4:
                raise ValueError("a bbox does not have four numbers")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadFile(
            f"{path} is not a COCO result file ({type(error).__name__}: {error}); expected entries "
            "with image_id, category_id, bbox [x, y, w, h], score"
        ) from error
    return entries


def score(annotations: Annotations, results: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """The twelve COCO numbers, 0 to 1; None where there is no ground truth of that size."""
    require("pycocotools", "scoring")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def indexed(boxes: Sequence[dict[str, Any]]) -> Any:
        data = COCO()
        data.dataset = {
            "images": list(annotations.images),
            "categories": list(annotations.categories),
            "annotations": list(boxes),
        }
        data.createIndex()
        return data

    found = [
        {**entry, "id": i + 1, "iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3]}
        for i, entry in enumerate(results)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(indexed(annotations.boxes), indexed(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(METRICS, evaluation.stats, strict=True)
    }
