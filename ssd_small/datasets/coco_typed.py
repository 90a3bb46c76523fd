"""Read COCO annotations for a metric: boxes without outlines, ten times as fast.

Only files whose annotations are exactly as COCO writes them are read here: unique whole numbers as
ids, boxes with an area. All others are left to :mod:`.coco`.
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
    """An annotation; absent fields follow from the rest."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | msgspec.UnsetType = msgspec.UNSET
    iscrowd: int = 0
    difficult: int | msgspec.UnsetType = msgspec.UNSET


class File(msgspec.Struct):
    """The three lists; images and categories are few, so the ordinary reader takes them."""

    images: msgspec.Raw
    categories: msgspec.Raw
    annotations: list[Box]


class NotPlain(Exception):
    """The file must be read by the general reader."""


_DECODER = msgspec.json.Decoder(File)


def file_from_json(content: bytes) -> File:
    """The lists of a file; raises NotPlain if its annotations have unexpected types."""
    file = typed_from_json(content, _DECODER)
    if file is None:
        raise NotPlain
    return file


def typed_boxes(
    entries: Sequence[Box], images: Listed, categories: Listed, findings: Findings
) -> Boxes:
    """As :func:`.coco_boxes.read_boxes`; raises NotPlain where that might report a finding."""
    ids = {box.id for box in entries}
    if len(ids) < len(entries) or not 0 < min(ids, default=1) <= max(ids, default=1) < _LARGEST_ID:
        raise NotPlain
    known = images.entries, categories.entries
    if not all(box.image_id in known[0] and box.category_id in known[1] for box in entries):
        raise NotPlain
    _check_numbers(entries)
    return Boxes(tuple(map(_entry, entries)), tuple(range(len(entries))), False, 0)


def _check_numbers(entries: Sequence[Box]) -> None:
    """Raise NotPlain if a box has no area or a field holds an invalid value."""
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
