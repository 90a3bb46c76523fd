"""Three boxes on two pictures, which tests write in the formats of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ssd_small.datasets.coco import read_annotations
from ssd_small.datasets.coco_writer import Conversion
from ssd_small.datasets.picture_files import image_paths

#: width, height and objects (x1, y1, x2, y2 in pixels from 0) by picture; one name has a blank
DATA: dict[str, tuple[int, int, list[tuple[str, int, int, int, int]]]] = {
    "a b": (120, 90, [("cat", 10, 20, 50, 60), ("dog", 0, 0, 30, 40)]),
    "c": (80, 100, [("cat", 5, 5, 70, 90)]),
}
NAMES = ("cat", "dog")


def picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    import cv2

    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def assert_the_same(made: Conversion, folder: Path, *, more: int = 0) -> None:
    """The boxes of DATA, in a file that the other commands take."""
    path = folder / "converted.json"
    path.write_text(json.dumps(made.content))
    truth = read_annotations(path)
    assert truth.findings.problems == []
    files = image_paths(truth, made.images)
    names = {image["id"]: file.stem for image, file in zip(truth.images, files, strict=True)}
    sizes = {names[one["id"]]: (one["width"], one["height"]) for one in truth.images}
    assert {name: sizes[name] for name in DATA} == {name: one[:2] for name, one in DATA.items()}
    assert len(sizes) == len(DATA) + more
    classes = {one["id"]: one["name"] for one in truth.categories}
    found = sorted(
        (names[one["image_id"]], classes[one["category_id"]], *one["bbox"]) for one in truth.boxes
    )
    expected = sorted(
        (name, label, x1, y1, x2 - x1, y2 - y1)
        for name, (_, _, objects) in DATA.items()
        for label, x1, y1, x2, y2 in objects
    )
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    # six decimals of a fraction: 5e-7 of centre and size, of 120 pixels
    numbers = ([one[2:] for one in found], [one[2:] for one in expected])
    assert np.abs(np.subtract(*numbers)).max() <= 2 * 5e-7 * 120 + 1e-9
