"""Find everything in a data set that train and eval would stumble on, and repair it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckFailed
from ..pictures.tiles import TINY
from .box_checks import checked_boxes
from .classes import loose_name
from .coco import Annotations, coco_from_annotations
from .findings import Findings
from .object_sizes import (
    are_fractions,
    object_sides,
    picture_sides,
    tiles_for_objects,
    tiny_objects_line,
)
from .picture_checks import checked_images
from .picture_facts import PictureFacts, picture_facts

#: side of the network's square input, in pixels
INPUT_SIDE = 300


@dataclass(frozen=True, eq=False)
class DataCheck:
    """What was found in a data set, and what remains once it is repaired.

    Attributes:
        annotations: as they were read.
        findings: problems and notes.
        facts: one per entry of ``annotations.images``, about its picture file.
        images, boxes, categories: entries of the repaired file, in COCO format.
        object_sides: ``[N]`` side of each box that can be learned (the square root of its area),
            in pixels of a square 300-pixel input.
    """

    annotations: Annotations
    findings: Findings
    facts: list[PictureFacts]
    images: list[dict[str, Any]]
    boxes: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    object_sides: npt.NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: counts of usable entries, findings by kind, percentiles of object sides."""
        sides = self.object_sides
        percentiles = np.percentile(sides, (10, 50, 90)).round(2).tolist() if len(sides) else None
        return {
            "images": len(self.images),
            "boxes": len(self.boxes),
            "categories": len(self.categories),
            "problems": self.findings.problems,
            "notes": self.findings.notes,
            "object_px": dict(
                zip(("p10", "median", "p90"), percentiles or [None] * 3, strict=True)
            ),
        }


def check_data(
    annotations: Annotations,
    folder: Path,
    *,
    compare: bool,
    progress: Callable[[int], None] = lambda count: None,
) -> DataCheck:
    """Check annotations, read with their findings collected, against their pictures.

    Args:
        annotations: what could be read, with ``findings`` about the rest.
        folder: folder of the picture files.
        compare: whether to look for copies of pictures, see
            :func:`ssd_small.datasets.near_duplicates.can_compare`.
        progress: called with the number of pictures just read.
    """
    findings = Findings()
    findings.update(annotations.findings)
    facts = picture_facts(annotations.images, folder, compare=compare, progress=progress)
    if are_fractions(annotations.boxes):
        findings.fixable(
            "boxes_as_fractions",
            "no box reaches a pixel: they are fractions of their pictures; expected pixels, as a "
            "repaired file has them: multiplied by width and height",
            len(annotations.boxes),
        )
    images, kept_id = checked_images(annotations, facts, findings)
    first = {c["name"]: c for c in reversed(annotations.categories)}
    categories = [c for c in annotations.categories if first[c["name"]] is c]
    kept_category = {c["id"]: first[c["name"]]["id"] for c in annotations.categories}
    places = annotations.box_places()
    boxes = checked_boxes(annotations.boxes, places, images, kept_id, kept_category, findings)
    sides = object_sides(images, boxes, INPUT_SIDE, INPUT_SIDE)
    tiles = tiles_for_objects(picture_sides(images, boxes), INPUT_SIDE, INPUT_SIDE)
    advice = None if tiles is None else f"train and detect {tiles}"
    if line := tiny_objects_line(sides, INPUT_SIDE, INPUT_SIDE, advice):
        findings.note("tiny_objects", line, int((sides < TINY).sum()))
    _note_similar(categories, findings)
    if annotations.annotated and not len(sides):
        findings.lasting("no_objects", "no box is left that could be learned")
    if annotations.annotated:
        classes = [c for c in categories if c["id"] not in annotations.root_categories]
        _note_empty(images, boxes, places, classes, findings)
    return DataCheck(annotations, findings, facts, images, boxes, categories, sides)


def content_from_check(check: DataCheck) -> dict[str, Any]:
    """Content of the repaired file: COCO's lists, plus whatever else the file held.

    Raises:
        CheckFailed: no image or no category is left.
    """
    if not check.images or not check.categories:
        gone = all(one.state == "missing" for one in check.facts)
        advice = "are the images in another folder?" if gone else "correct the problems by hand"
        raise CheckFailed(
            f"{check.annotations.path}: no image or no category is left that can be used, so that "
            f"nothing was written; {advice}"
        )
    content = coco_from_annotations(
        replace(
            check.annotations,
            images=tuple(check.images),
            categories=tuple(check.categories),
            boxes=tuple(check.boxes),
        )
    )
    return {name: _without_nan(value) for name, value in content.items()}


def _without_nan(value: Any) -> Any:
    """Replace NaN and infinity, which a tool's own fields may hold, by JSON's null."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _note_similar(categories: Sequence[dict[str, Any]], findings: Findings) -> None:
    """Note classes that are probably one, their names differing only in loose spelling."""
    first: dict[str, str] = {}
    for name in (str(category["name"]) for category in categories):
        other = first.setdefault(loose_name(name), name)
        if other != name:
            findings.note(
                "similar_categories", f"categories {other!r} and {name!r} are two classes"
            )


def _note_empty(
    images: Sequence[dict[str, Any]],
    boxes: Sequence[dict[str, Any]],
    places: Mapping[int, str],
    categories: Sequence[dict[str, Any]],
    findings: Findings,
) -> None:
    """Note classes without boxes, pictures without boxes, and crowd boxes."""
    used = Counter(box["category_id"] for box in boxes)
    for category in categories:
        if not used[category["id"]]:
            findings.note(
                "unused_category",
                f"category {category['name']!r} (id {category['id']}) has no box; nothing can be "
                "learned of it",
            )
    filled = Counter(box["image_id"] for box in boxes)
    for image in images:
        if not filled[image["id"]]:
            findings.note("picture_without_boxes", f"{image['file_name']} (id {image['id']})")
    names = {image["id"]: image["file_name"] for image in images}
    for box in boxes:
        if box.get("iscrowd"):
            findings.note("crowd", f"{places[box['id']]} of {names[box['image_id']]}")
