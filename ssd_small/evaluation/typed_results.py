"""COCO result files as columns, read by msgspec if every entry is plain."""

from __future__ import annotations

import msgspec
import numpy as np

from ..datasets.coco import Annotations
from ..datasets.typed_json import typed_from_json
from .columns import ResultColumns


class Entry(msgspec.Struct, gc=False):
    """An entry of a result file; other fields are ignored."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


_DECODER = msgspec.json.Decoder(list[Entry])


def plain_columns(content: bytes, annotations: Annotations) -> ResultColumns | None:
    """The columns of a result file; None if any entry must be repaired, left out or refused."""
    entries = typed_from_json(content, _DECODER)
    if entries is None:
        return None
    try:
        found = ResultColumns(
            np.array([one.image_id for one in entries], np.int64),
            np.array([one.category_id for one in entries], np.int64),
            np.array([one.bbox for one in entries], np.float64).reshape(-1, 4),
            np.array([one.score for one in entries], np.float64),
        )
    except OverflowError:  # an id beyond 64 bits
        return None
    images = [one["id"] for one in annotations.images]
    categories = [one["id"] for one in annotations.categories]
    known = np.isin(found.image_ids, images) & np.isin(found.category_ids, categories)
    return found if known.all() else None
