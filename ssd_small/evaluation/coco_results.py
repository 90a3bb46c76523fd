"""COCO result entries of detections, and the files that hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..artefacts.description import Description
from ..datasets.coco import Annotations, check_reference, numbers
from ..errors import BadFile
from ..files import read_json
from ..postprocess.detections import Detections


def category_ids(annotations: Annotations, description: Description) -> list[int]:
    """The category id of each label a network can give, in the order of its labels.

    By name where all of the network's labels are categories; by order where none is, if the
    numbers are equal: the published networks number the categories by ascending id.

    Raises:
        BadFile: neither is possible, or some labels are categories and others are not: by order,
            one class would be scored for another.
    """
    by_name = {str(category["name"]): int(category["id"]) for category in annotations.categories}
    if all(name in by_name for name in description.labels):
        return [by_name[name] for name in description.labels]
    strangers = [name for name in description.labels if name not in by_name]
    if len(strangers) < len(description.labels):
        raise BadFile(
            f"{annotations.path} has no category {strangers[0]!r}, which the network finds beside "
            "others that it has; rename its categories, or name the network's classes with --labels"
        )
    if len(description.labels) == len(annotations.categories):
        return [int(category["id"]) for category in annotations.categories]
    raise BadFile(
        f"{annotations.path} has {len(annotations.categories)} categories, the network "
        f"{len(description.labels)} classes, and the names differ (e.g. {description.labels[0]!r} "
        f"and {annotations.categories[0]['name']!r}); use the annotations the network was trained "
        "for, or name its classes with --labels"
    )


def labels_by_order(annotations: Annotations, description: Description) -> dict[str, str]:
    """Label -> the category it is scored as, where :func:`category_ids` went by order; else empty.

    That is right for published networks, whose classes have no names, and for nobody else without a
    look at it.
    """
    names = [str(category["name"]) for category in annotations.categories]
    if set(names) & set(description.labels):
        return {}
    return dict(zip(description.labels, names, strict=True))


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


def read_results(path: str | Path, annotations: Annotations) -> list[dict[str, Any]]:
    """Read a COCO result file and check that it belongs to the annotations.

    Raises:
        BadFile: not a result file, or an entry refers to an unknown image or category.
    """
    path = Path(path)
    entries = read_json(path, "COCO detection results")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise BadFile(f"{path} is not a COCO result file: expected a list of detections")
    images = {image["id"]: image for image in annotations.images}
    categories = {category["id"]: category for category in annotations.categories}
    try:
        for entry in entries:
            check_reference(path, entry, images, categories)
            if not all(math.isfinite(v) for v in numbers(*entry["bbox"], entry["score"])):
                raise ValueError("a bbox or score is not finite")
            if len(entry["bbox"]) != 4:
                raise ValueError("a bbox does not have four numbers")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadFile(
            f"{path} is not a COCO result file ({type(error).__name__}: {error}); expected entries "
            "with image_id, category_id, bbox [x, y, w, h], score"
        ) from error
    return entries
