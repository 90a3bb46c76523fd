"""COCO-format annotations: reading and checking them, and where their pictures are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..files import read_json


@dataclass(frozen=True, eq=False)
class Annotations:
    """Ground truth of a data set.

    Attributes:
        path: the file it came from, or the folder of several.
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


def read_annotations(path: str | Path) -> Annotations:
    """Read and check a COCO annotation file.

    Raises:
        BadFile: not COCO, or a box refers to an image or category that is not in the file.
    """
    path = Path(path)
    return annotations_from_content(read_json(path, "COCO annotations"), path)


def annotations_from_content(content: object, path: Path) -> Annotations:
    """Check COCO-format annotations; ``path`` is what messages name.

    Raises:
        BadFile: see :func:`read_annotations`.
    """
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise BadFile(f"{path} is not a COCO annotation file: expected lists {', '.join(lists)}")
    try:
        images = _by_id(content["images"], "image")
        categories = _by_id(content["categories"], "category")
        for image in images.values():
            if not isinstance(image["file_name"], str):
                raise TypeError(f"file_name {image['file_name']!r} of image {image['id']!r}")
            if not min(numbers(image["width"], image["height"])) > 0:
                raise ValueError(f"image {image['id']!r} has no size")
        for category in categories.values():
            _check_name(str(category["name"]))
        boxes, dropped = [], 0
        for number, box in enumerate(content["annotations"]):
            check_reference(path, box, images, categories)
            if not isinstance(box["bbox"], list):
                raise TypeError(f"bbox {box['bbox']!r} is not a list")
            # some exporters write numbers, NaN above all, as texts
            x, y, width, height = (float(v) for v in box["bbox"])
            if not (math.isfinite(x + y + width * height) and width > 0 and height > 0):
                dropped += 1
                continue
            (area,) = numbers(box.get("area", width * height))
            crowd = int(box.get("iscrowd", 0))
            # pycocotools takes a matched id of 0 for "not matched"
            kept = {"id": number + 1, "bbox": [x, y, width, height], "area": area, "iscrowd": crowd}
            if "difficult" in box:
                kept["difficult"] = int(box["difficult"] or 0)
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


def numbers(*values: Any) -> list[float]:
    """JSON numbers as floats; texts and booleans are refused, which float() would take."""
    for value in values:
        if type(value) not in (int, float):
            raise TypeError(f"{value!r} is not a number")
    return [float(value) for value in values]


def check_reference(
    path: Path, box: dict[str, Any], images: dict[Any, Any], categories: dict[Any, Any]
) -> None:
    """Refuse a box of an image or category that the file does not list, with BadFile."""
    for key, known in (("image_id", images), ("category_id", categories)):
        if box[key] not in known:
            raise BadFile(
                f"{path}: a box has {key} {box[key]!r}, which the file does not list; correct the "
                "file"
            )


def image_paths(
    annotations: Annotations, folder: str | Path, option: str = "--images", *, some: bool = False
) -> list[Path]:
    """The image files of a data set; ``option`` is what gave the folder.

    All of them exist; with ``some``, at least one does.

    Raises:
        BadFile: images are missing; names the first.
    """
    paths = [Path(folder) / image["file_name"] for image in annotations.images]
    missing = [path for path in paths if not path.is_file()]
    if missing and not (some and len(missing) < len(paths)):
        raise BadFile(
            f"{len(missing)} of {len(paths)} images of {annotations.path} are not in {folder}, the "
            f"first is {missing[0].name}; pass the right {option}"
        )
    return paths
