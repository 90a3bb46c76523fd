"""Generate mosaics for benchmarks/bench_tiles.py: large pictures of many small objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.json_files import write_json

#: cells of a side, and mosaics
GRID, COUNT = 6, 2
#: what a picture leaves free of its cell
_GREY = 114


def mosaics_of(
    source: Path, images: Path, cell: tuple[int, int], folder: Path
) -> tuple[list[np.ndarray], Annotations]:
    """Grids of the pictures of a data set, and where its objects lie in them.

    Args:
        source: annotations; each picture comes before any comes again, and again mirrored.
        images: folder of its files.
        cell: height and width of a cell, whose upper left corner a picture lies in.
        folder: takes the annotations of the mosaics.
    """
    content = json.loads(source.read_text())
    boxes: dict[int, list[dict[str, Any]]] = {}
    for one in content["annotations"]:
        boxes.setdefault(one["image_id"], []).append(one)
    chosen = _chosen(len(content["images"]), GRID * GRID * COUNT)
    height, width = cell
    pictures = [np.full((GRID * height, GRID * width, 3), _GREY, np.uint8) for _ in range(COUNT)]
    annotations = []
    for place, (index, mirrored) in enumerate(chosen):
        number, within = divmod(place, GRID * GRID)
        top, left = within // GRID * height, within % GRID * width
        image = content["images"][index]
        pixels = cv2.imread(str(images / image["file_name"]))
        rows, columns = pixels.shape[:2]
        pixels = pixels[:, ::-1] if mirrored else pixels
        pictures[number][top : top + rows, left : left + columns] = pixels
        for one in boxes.get(image["id"], []):
            x, y, w, h = one["bbox"]
            x = columns - x - w if mirrored else x
            told = {"id": len(annotations) + 1, "image_id": number + 1}
            annotations.append(one | told | {"bbox": [x + left, y + top, w, h]})
    size = {"width": GRID * width, "height": GRID * height}
    truth = {
        "images": [{"id": n + 1, "file_name": f"{n}.png", **size} for n in range(COUNT)],
        "annotations": annotations,
        "categories": content["categories"],
    }
    write_json(folder / "mosaics.json", truth)
    return pictures, read_annotations(folder / "mosaics.json")


def _chosen(count: int, number: int) -> list[tuple[int, bool]]:
    """Places of pictures, and whether they are mirrored."""
    rng = np.random.default_rng(0)
    rounds = -(-number // count)
    return [(int(i), r % 2 == 1) for r in range(rounds) for i in rng.permutation(count)][:number]
