"""Detections in the formats of other packages, each of which is imported only when needed."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..requirements import require

if TYPE_CHECKING:
    from .picture_detections import PictureDetections


def coco_entries(
    found: PictureDetections, image_id: Any, category_ids: Sequence[int] | Mapping[str, int]
) -> list[dict[str, Any]]:
    """Entries of a COCO result file."""
    if isinstance(category_ids, Mapping):
        missing = [name for name in found.classes if name not in category_ids]
        if missing:
            raise UsageError(
                f"category_ids has no id of class {missing[0]!r}; expected an id for each of "
                f"{', '.join(found.classes[:20])}"
            )
        category_ids = [category_ids[name] for name in found.classes]
    if len(category_ids) != len(found.classes):
        raise UsageError(
            f"{len(category_ids)} category_ids for {len(found.classes)} classes; expected an id "
            "per name in the detector's labels, in that order"
        )
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    ids = [_plain_id(category_id) for category_id in category_ids]
    columns = (
        [ids[index] for index in found.class_indices.tolist()],
        np.hstack([found.boxes[:, :2], sides]).tolist(),
        found.scores.tolist(),
    )
    return [
        {"image_id": _plain_id(image_id), "category_id": category_id, "bbox": bbox, "score": score}
        for category_id, bbox, score in zip(*columns, strict=True)
    ]


def _plain_id(number: Any) -> Any:
    """An id that ``json`` can write, which numpy's and torch's integers are not."""
    try:
        return operator.index(number)
    except TypeError:
        return number  # a string, for example


def torch_dict(found: PictureDetections) -> dict[str, Any]:
    """The dictionary that torchvision's detectors return for a picture."""
    torch = require("torch", "to_torch()")
    return {
        "boxes": torch.from_numpy(np.array(found.boxes, np.float32)),
        "scores": torch.from_numpy(np.array(found.scores, np.float32)),
        "labels": torch.from_numpy(found.labels.astype(np.int64)),
    }


def pandas_frame(found: PictureDetections) -> Any:
    """A row per detection."""
    pandas = require("pandas", "to_pandas()")
    # an explicit dtype, since pandas makes an object column of an empty list
    names = pandas.Series(found.names, dtype="str")
    corners = dict(zip(("x1", "y1", "x2", "y2"), found.boxes.T, strict=True))
    columns = {"name": names, "label": found.labels, "score": found.scores, **corners}
    return pandas.DataFrame(columns)


def supervision_detections(found: PictureDetections) -> Any:
    """``supervision.Detections``."""
    supervision = require("supervision", "to_supervision()")
    return supervision.Detections(
        xyxy=np.array(found.boxes, np.float32),
        confidence=np.array(found.scores, np.float32),
        # the background is not counted, as in supervision's own class lists
        class_id=found.class_indices,
        data={"class_name": np.array(found.names, dtype=str)},
    )


def fiftyone_detections(found: PictureDetections) -> Any:
    """``fiftyone.Detections``."""
    fiftyone = require("fiftyone", "to_fiftyone()")
    scale = np.array([found.width, found.height] * 2, np.float64)
    low, high = np.split(found.boxes / scale, 2, axis=1)
    boxes = np.hstack([low, high - low]).tolist()
    return fiftyone.Detections(
        detections=[
            fiftyone.Detection(label=name, bounding_box=box, confidence=score)
            for name, box, score in zip(found.names, boxes, found.scores.tolist(), strict=True)
        ]
    )
