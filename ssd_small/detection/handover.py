"""Detections in the forms that other packages use; each package is imported when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..requirements import require

if TYPE_CHECKING:
    from .picture_detections import PictureDetections


def coco_entries(
    found: PictureDetections, image_id: Any, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Entries of a COCO result file."""
    if len(category_ids) != len(found.classes):
        raise UsageError(
            f"{len(category_ids)} category_ids for {len(found.classes)} classes; expected an id "
            "per name in the detector's labels, in that order"
        )
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    columns = (
        found.class_indices.tolist(),
        np.hstack([found.boxes[:, :2], sides]).tolist(),
        found.scores.tolist(),
    )
    return [
        {"image_id": image_id, "category_id": category_ids[index], "bbox": bbox, "score": score}
        for index, bbox, score in zip(*columns, strict=True)
    ]


def torch_dict(found: PictureDetections) -> dict[str, Any]:
    """What torchvision's detectors return for a picture."""
    torch = require("torch", "to_torch()")
    return {
        "boxes": torch.from_numpy(np.array(found.boxes, np.float32)),
        "scores": torch.from_numpy(np.array(found.scores, np.float32)),
        "labels": torch.from_numpy(found.labels.astype(np.int64)),
    }


def pandas_frame(found: PictureDetections) -> Any:
    """A row per detection."""
    pandas = require("pandas", "to_pandas()")
    corners = dict(zip(("x1", "y1", "x2", "y2"), found.boxes.T, strict=True))
    columns = {"name": found.names, "label": found.labels, "score": found.scores, **corners}
    return pandas.DataFrame(columns)


def supervision_detections(found: PictureDetections) -> Any:
    """``supervision.Detections``."""
    supervision = require("supervision", "to_supervision()")
    return supervision.Detections(
        xyxy=np.array(found.boxes, np.float32),
        confidence=np.array(found.scores, np.float32),
        class_id=found.labels.astype(int),
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
