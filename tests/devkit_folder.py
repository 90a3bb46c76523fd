"""A Pascal VOC devkit of a few pictures, and the same in the COCO layout, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from voc_folder import VocFolder, xml

DIFFICULT = "<difficult>1</difficult>"


def write_devkit(folder: Path) -> None:
    """VOC2007 (trainval: a, b; test: c, d) and VOC2012 (trainval: a, e); pictures of 80 x 60.

    Names are of the published twenty. One object, the dog of 2007's b, is difficult.
    """
    old, new = VocFolder(folder / "VOC2007"), VocFolder(folder / "VOC2012")
    old.add("a", xml([("cat", (5, 5, 30, 30)), ("dog", (40, 20, 70, 50))]))
    old.add("b", xml([("dog", (11, 11, 40, 50))], more=DIFFICULT))
    old.add("c", xml([("cat", (1, 1, 40, 40))]))
    old.add("d", xml([("dog", (21, 11, 60, 50))]))
    old.split("trainval", "a\nb\n")
    old.split("test", "c\nd\n")
    old.split("cat_test", "c 1\nd -1\n")
    new.add("a", xml([("cat", (31, 11, 70, 50))]))
    new.add("e", xml([("dog", (6, 6, 45, 45))]))
    new.split("trainval", "a\ne\n")


def write_coco_set(
    folder: Path,
    name: str,
    ids: list[int],
    *,
    categories: tuple[str, ...] = ("cat", "dog"),
    under: str = "images",
) -> dict[str, Any]:
    """``annotations/instances_NAME.json`` with a box in each picture, and the pictures."""
    import cv2
    import numpy as np

    pictures = folder / under / name
    for path in (pictures, folder / "annotations"):
        path.mkdir(parents=True, exist_ok=True)
    for key in ids:
        assert cv2.imwrite(str(pictures / f"{key:04}.png"), np.full((60, 80, 3), 90, np.uint8))
    content = {
        "images": [
            {"id": key, "file_name": f"{key:04}.png", "width": 80, "height": 60} for key in ids
        ],
        "annotations": [
            {"id": i, "image_id": key, "category_id": 4, "bbox": [i, 5, 20, 20]}
            for i, key in enumerate(ids, 1)
        ],
        "categories": [{"id": i, "name": text} for i, text in enumerate(categories, 4)],
    }
    path = folder / "annotations" / f"instances_{name}.json"
    path.write_text(json.dumps(content))
    return content
