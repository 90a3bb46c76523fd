"""A small COCO file to be written as tools write it, and what a reader should find in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssd_small.datasets.coco import Annotations, coco_from_annotations, read_annotations
from ssd_small.datasets.findings import Findings

Write = Callable[..., Path]


def writer(path: Path) -> Write:
    """Writes two pictures of 64 x 48, a cat and a dog; arguments take the place of its lists.

    None leaves a list out.
    """

    def made(**changed: Any) -> Path:
        content: dict[str, Any] = {
            "images": [picture(1), picture(2)],
            "annotations": [box(1, 1, 3), box(2, 2, 4)],
            "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
            **changed,
        }
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return path

    return made


def picture(number: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 48, **more}


def box(number: Any, image: Any, category: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [4, 5, 10, 20],
        "area": 200,
        "iscrowd": 0,
        **more,
    }


def facts(truth: Annotations) -> dict[str, Any]:
    """What a reader should have found: pictures, classes, and each object with its names."""
    images = {one["id"]: one["file_name"] for one in truth.images}
    names = {one["id"]: one["name"] for one in truth.categories}
    objects = [
        (images[b["image_id"]], names[b["category_id"]], b["bbox"], b["area"], b["iscrowd"])
        for b in truth.boxes
    ]
    return {"images": sorted(images.values()), "names": list(names.values()), "objects": objects}


PLAIN = {
    "images": ["1.jpg", "2.jpg"],
    "names": ["cat", "dog"],
    "objects": [("1.jpg", "cat", [4, 5, 10, 20], 200, 0), ("2.jpg", "dog", [4, 5, 10, 20], 200, 0)],
}


def read(path: Path, **problems: int) -> Annotations:
    """The file as train and eval read it; asserts the facts of the plain file and its problems."""
    truth = read_annotations(path)
    assert facts(truth) == PLAIN
    collected = read_annotations(path, Findings())
    assert facts(collected) == PLAIN
    assert truth.findings.counts("error", "repaired") == problems
    assert collected.findings.counts("error", "repaired") == problems
    repaired_is_clean(collected, path.with_name("fixed.json"))
    return truth


def repaired_is_clean(truth: Annotations, path: Path) -> None:
    """What a repaired file holds reads back the same, with nothing to repair."""
    path.write_text(json.dumps(coco_from_annotations(truth), allow_nan=False))
    again = read_annotations(path, Findings())
    assert again.findings.problems == []
    assert [facts(again)[key] for key in ("images", "objects")] == [
        facts(truth)[key] for key in ("images", "objects")
    ]
    assert coco_from_annotations(again) == coco_from_annotations(truth)
