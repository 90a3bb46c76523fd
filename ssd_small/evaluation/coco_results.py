"""COCO result entries made from detections, and the files that hold them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..datasets.coco import Annotations
from ..datasets.ids import key_from_id, shown
from ..errors import BadFile, quoted
from ..files import atomic_output
from ..json_files import json_bytes, read_json, read_json_bytes, value_from_json
from ..postprocess.detections import Detections
from ..requirements import require
from .columns import Floats, ResultColumns, columns_from_results, results_from_columns

_EXPECTED = "COCO detection results"


def results_from_detections(
    detections: Detections,
    image: dict[str, Any],
    description: Description,
    ids: Sequence[int | None],
    *,
    inclusive: bool = False,
) -> list[dict[str, Any]]:
    """Like :func:`columns_from_detections`, but as a list of entries."""
    columns = columns_from_detections(detections, image, description, ids, inclusive=inclusive)
    return list(results_from_columns(columns))


def columns_from_detections(
    detections: Detections,
    image: dict[str, Any],
    description: Description,
    ids: Sequence[int | None],
    *,
    inclusive: bool = False,
) -> ResultColumns:
    """COCO result entries of one image.

    Args:
        detections: boxes in the unit square.
        image: the image's entry, for its id and its width and height in pixels.
        description: maps labels to positions in ``ids``.
        ids: category id per detectable label; detections of a label with None give no entry.
        inclusive: boxes were learned with x2 = x + w - 1, so that a width is x2 - x1 + 1.
    """
    background = description.postprocess.background_label
    labels = detections.labels.astype(np.int64)
    places = labels - ((background >= 0) & (labels > background))
    known = np.array([one is not None for one in ids], bool)[places]
    categories = np.array([one or 0 for one in ids], np.int64)[places[known]]
    sizes = np.array([image["width"], image["height"]], np.float64)
    return ResultColumns(
        np.full(len(categories), image["id"], np.int64),
        categories,
        boxes_xywh_from_unit(detections.boxes[known], sizes, inclusive=inclusive),
        detections.scores[known].astype(np.float64),
    )


def boxes_xywh_from_unit(
    boxes_xyxy: npt.NDArray[np.float32], sizes: Floats, *, inclusive: bool = False
) -> Floats:
    """Convert unit-square boxes ``[D, 4]`` to COCO ``bbox`` in pixels, without clipping.

    ``sizes`` are width and height of the picture, ``[2]``, or ``[D, 2]`` for each box;
    ``inclusive`` is as for :func:`columns_from_detections`.
    """
    corners = boxes_xyxy.astype(np.float64).reshape(-1, 2, 2)
    # networks may produce non-finite values, which are refused when results are written
    with np.errstate(over="ignore", invalid="ignore"):
        corners *= sizes.reshape(-1, 1, 2)
        extents = corners[:, 1] - corners[:, 0] + (1.0 if inclusive else 0.0)
    return np.hstack([corners[:, 0], extents])


class Results(NamedTuple):
    """Entries of a COCO result file.

    Attributes:
        entries: those that can be scored, with ids as in the annotations.
        left_out: entries of categories that the annotations lack, by category as in the file.
    """

    entries: list[dict[str, Any]]
    left_out: dict[str, int]


def read_results(path: str | Path, annotations: Annotations) -> Results:
    """Read a COCO result file and check that it belongs to the annotations.

    As in pycocotools, entries of unknown categories are left out, and unknown images are refused.

    Raises:
        BadFile: not a result file, or an entry is invalid; says which and why.
    """
    path = Path(path)
    return _results_from_content(read_json(path, _EXPECTED), path, annotations)


class ReadColumns(NamedTuple):
    """Like :class:`Results`, with the entries as columns."""

    columns: ResultColumns
    left_out: dict[str, int]


def read_columns(path: str | Path, annotations: Annotations) -> ReadColumns:
    """Like :func:`read_results`, for a metric; ten times as fast if every entry is plain.

    Raises:
        BadFile: as for :func:`read_results`.
        MissingRequirement: msgspec is missing.
    """
    path = Path(path)
    require("msgspec", "scoring")
    from .typed_results import plain_columns

    content = read_json_bytes(path, _EXPECTED)
    if (columns := plain_columns(content, annotations)) is not None:
        return ReadColumns(columns, {})
    value = value_from_json(content, path, _EXPECTED)
    results = _results_from_content(value, path, annotations)
    return ReadColumns(columns_from_results(results.entries), results.left_out)


def _results_from_content(content: object, path: Path, annotations: Annotations) -> Results:
    if not isinstance(content, list):
        what = ""
        if isinstance(content, dict):
            what = f", got an object of {quoted(list(content)[:5])}"
        raise BadFile(f"{path} is not a COCO result file: expected a list of detections{what}")
    entries: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for index, entry in enumerate(content):
        fault = _fault(entry, annotations)
        if fault is not None:
            raise BadFile(
                f"{path}: entry [{index}] {fault}; expected entries with image_id, category_id, "
                "bbox [x, y, w, h], score"
            )
        category = annotations.category_id(entry["category_id"])
        if category is None:
            left_out[quoted(entry["category_id"])] += 1
            continue
        image = annotations.image_id(entry["image_id"])
        entries.append({**entry, "image_id": image, "category_id": category})
    return Results(entries, dict(left_out))


def write_results(path: Path, results: Sequence[dict[str, Any]], annotations: Annotations) -> None:
    """Write a COCO result file, with ids spelt as in the annotations, and read it back.

    Raises:
        BadFile: an entry could not be scored again (a box that is not finite); the older file
            stays.
        OutputError: it cannot be written.
    """
    with atomic_output(path) as temporary:
        temporary.write_bytes(json_bytes(annotations.results_as_in_file(results)))
        read_results(temporary, annotations)


def _fault(entry: object, annotations: Annotations) -> str | None:
    """What is wrong with an entry of a result file; None if nothing is."""
    if not isinstance(entry, dict):
        return f"is {shown(entry)}, not an object"
    for name in ("image_id", "category_id", "bbox", "score"):
        if name not in entry:
            return f"has no {name}"
    if annotations.image_id(entry["image_id"]) is None:
        return (
            f"has image_id {shown(entry['image_id'])}, which is not the id of an image of "
            f"{annotations.path}"
        )
    if key_from_id(entry["category_id"]) is None:
        return f"has category_id {shown(entry['category_id'])}, which is not an id"
    box = entry["bbox"]
    if not isinstance(box, list) or len(box) != 4:
        return f"has bbox {shown(box)}, which is not a list of four numbers"
    for name, value in (*(("bbox", one) for one in box), ("score", entry["score"])):
        if type(value) not in (int, float):
            return f"has {shown(value)} in {name}, which is not a number"
        if not _is_finite(value):
            return f"has {shown(value)} in {name}, which is not finite"
    return None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
