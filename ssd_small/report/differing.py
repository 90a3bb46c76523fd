"""Pictures on which an engine and its reference differ, beside the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.coco import Annotations
from ..datasets.picture_files import picture_path
from ..errors import BadFile
from ..pictures.reading import read_image
from .disagreements import picture_of_name
from .page import Picture, Pictures
from .pictures import Box, uri_from_picture

#: largest number of examples on a page; with ground truth, each consists of three pictures
MOST_EXAMPLES = 5


def examples_from_differences(
    examples: Sequence[Mapping[str, Any]], annotations: Annotations | None, folder: Path
) -> list[Pictures]:
    """Ground truth, what only the reference has and what only the engine has, side by side.

    Args:
        examples: those under ``detections`` in the JSON of parity, the gravest first.
        annotations: ground truth; None to show none.
        folder: of the pictures; unreadable ones are left out.
    """
    shown = []
    entries = {} if annotations is None else {one["file_name"]: one for one in annotations.images}
    for name in dict.fromkeys(str(one["picture"]) for one in examples):
        image = entries.get(name)
        pixels = None
        if image is not None:
            size = float(image["height"]), float(image["width"])
            pixels = picture_of_name(folder, name, size)
        elif annotations is None:
            pixels = _any_picture(folder, name)
            size = (0.0, 0.0) if pixels is None else (pixels.shape[0], pixels.shape[1])
        if pixels is None:
            continue
        of_picture = [one for one in examples if one["picture"] == name]
        pair = []
        if annotations is not None and image is not None:
            truth = [
                Box(tuple(box["bbox"]), wrong=False)
                for box in annotations.boxes
                if box["image_id"] == image["id"]
            ]
            told = f"ground truth: {len(truth)} objects"
            pair.append(Picture(uri_from_picture(pixels, size, truth), f"{name}, {told}", told))
        for side in ("reference", "engine"):
            boxes = [
                Box(tuple(one["box"]), not one["explained"], f"{one['score']:.3f}")
                for one in of_picture
                if one["side"] == side
            ]
            told = f"only in the {side}: {len(boxes)} (dashed: not by rounding)"
            pair.append(Picture(uri_from_picture(pixels, size, boxes), f"{name}, {told}", told))
        lines = [f"{one['class']}: {one['reason']}." for one in of_picture[:4]]
        shown.append(Pictures(name, pair, lines))
        if len(shown) == MOST_EXAMPLES:
            break
    return shown


def _any_picture(folder: Path, name: str) -> Any:
    path = picture_path(folder, name)
    if path is None:
        return None
    try:
        return read_image(path)
    except BadFile:
        return None
