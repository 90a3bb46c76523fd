"""Ground truth and results as arrays with one row per box, the input of the metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ResultColumns:
    """COCO result entries as columns.

    Attributes:
        image_ids, category_ids: ``[D]``, as in the annotations.
        boxes_xywh: ``[D, 4]`` in pixels.
        scores: ``[D]``.
    """

    image_ids: Numbers
    category_ids: Numbers
    boxes_xywh: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)


#: result entries, as a list or as columns
Found = Sequence[dict[str, Any]] | ResultColumns


def columns_from_results(results: Found) -> ResultColumns:
    """Convert result entries to columns; columns are returned unchanged."""
    if isinstance(results, ResultColumns):
        return results
    return ResultColumns(
        np.array([one["image_id"] for one in results], np.int64),
        np.array([one["category_id"] for one in results], np.int64),
        np.array([one["bbox"] for one in results], np.float64).reshape(-1, 4),
        np.array([one["score"] for one in results], np.float64),
    )


def joined_columns(parts: Sequence[ResultColumns]) -> ResultColumns:
    """The rows of several tables, concatenated."""
    none = columns_from_results([])
    names = [field.name for field in fields(ResultColumns)]
    return ResultColumns(
        *(np.concatenate([getattr(one, name) for one in (none, *parts)]) for name in names)
    )


def results_from_columns(results: Found) -> Sequence[dict[str, Any]]:
    """Convert columns to entries; entries are returned unchanged."""
    if not isinstance(results, ResultColumns):
        return results
    columns = (results.image_ids, results.category_ids, results.boxes_xywh, results.scores)
    names = ("image_id", "category_id", "bbox", "score")
    rows = zip(*(one.tolist() for one in columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


@dataclass(frozen=True, eq=False)
class TruthColumns:
    """Ground truth, with images and categories as indices into their ascending ids.

    Attributes:
        images, categories: ``[B]``, index for each box.
        boxes_xywh: ``[B, 4]`` in pixels.
        areas: ``[B]`` annotated area of each object in square pixels.
        crowds: ``[B]`` bool.
        image_ids: ``[I]``, ascending.
        category_ids: ``[C]``, ascending.
        image_sizes: ``[I, 2]``, height and width in pixels.
    """

    images: Numbers
    categories: Numbers
    boxes_xywh: Floats
    areas: Floats
    crowds: npt.NDArray[np.bool_]
    image_ids: Numbers
    category_ids: Numbers
    image_sizes: Floats


def columns_from_annotations(annotations: Annotations) -> TruthColumns:
    """Convert ground truth to columns, in the order of its boxes."""
    boxes = annotations.boxes
    images = sorted(annotations.images, key=lambda one: one["id"])
    image_ids = np.array([one["id"] for one in images], np.int64)
    category_ids = np.array(sorted(one["id"] for one in annotations.categories), np.int64)
    return TruthColumns(
        np.searchsorted(image_ids, np.array([one["image_id"] for one in boxes], np.int64)),
        np.searchsorted(category_ids, np.array([one["category_id"] for one in boxes], np.int64)),
        np.array([one["bbox"] for one in boxes], np.float64).reshape(-1, 4),
        np.array([one["area"] for one in boxes], np.float64),
        np.array([bool(one["iscrowd"]) for one in boxes], bool),
        image_ids,
        category_ids,
        np.array([(one["height"], one["width"]) for one in images], np.float64).reshape(-1, 2),
    )
