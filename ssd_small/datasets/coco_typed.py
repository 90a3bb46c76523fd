"""COCO annotations as a metric needs them: boxes without outlines, ten times as fast.

Only of files whose annotations are as COCO has them: whole numbers as ids, each once, boxes with an
area. Of all others nothing is read here, and :mod:`.coco` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from .coco_boxes import Boxes
from .coco_lists import Listed
from .findings import Findings
from .typed_json import typed_from_json

_LARGEST_ID = 2**63


class Box(msgspec.Struct, gc=False):
    """An annotation; what is absent follows from the rest."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | msgspec.UnsetType = msgspec.UNSET
    iscrowd: int = 0
    difficult: int | msgspec.UnsetType = msgspec.UNSET


class File(msgspec.Struct):
    """The three lists; pictures and categories are few, and read as ever."""

    images: msgspec.Raw
    categories: msgspec.Raw
    annotations: list[Box]


class NotPlain(Exception):
    """The file is to be read by the reader of all files."""


_DECODER = msgspec.json.Decoder(File)


def file_from_json(content: bytes) -> File:
    """The lists of a file; NotPlain where its annotations have other fields or types."""
    file = typed_from_json(content, _DECODER)
    if file is None:
        raise NotPlain
    return file


def typed_boxes(
    entries: Sequence[Box], images: Listed, categories: Listed, findings: Findings
) -> Boxes:
    """As :func:`.coco_boxes.read_boxes`, which would find nothing; NotPlain where it might."""
    ids = {box.id for box in entries}
    if len(ids) < len(entries) or not 0 < min(ids, default=1) <= max(ids, default=1) < _LARGEST_ID:
        raise NotPlain
    known = images.entries, categories.entries
    if not all(box.image_id in known[0] and box.category_id in known[1] for box in entries):
        raise NotPlain
    _check_numbers(entries)
    return Boxes(tuple(map(_entry, entries)), tuple(range(len(entries))), False, 0)


def _check_numbers(entries: Sequence[Box]) -> None:
    """NotPlain where a box has no area, or a field holds what it must not."""
    x, y, width, height = np.array([box.bbox for box in entries], np.float64).reshape(-1, 4).T
    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(x + y + width * height) & (width > 0) & (height > 0)
    if not sound.all():
        raise NotPlain
    for box in entries:
        if not (
            box.iscrowd in (0, 1)
            and (box.area is msgspec.UNSET or 0 < box.area < math.inf)
            and (box.difficult is msgspec.UNSET or box.difficult in (0, 1))
        ):
            raise NotPlain


def _entry(box: Box) -> dict[str, object]:
    bbox = list(box.bbox)
    entry = {
        "id": box.id,
        "image_id": box.image_id,
        "category_id": box.category_id,
        "bbox": bbox,
        "area": bbox[2] * bbox[3] if box.area is msgspec.UNSET else box.area,
        "iscrowd": box.iscrowd,
    }
    if box.difficult is not msgspec.UNSET:
        entry["difficult"] = box.difficult
    return entry
