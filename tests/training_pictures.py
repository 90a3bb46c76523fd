"""A data set that is learned in a minute, and the command line of short runs on it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np


def write_pictures(folder: Path) -> None:
    """Eight pictures of 160 x 120 on noise: red squares, class 3, and green discs, class 8."""
    import cv2

    rng = np.random.default_rng(0)
    images, boxes = [], []
    for number in range(8):
        picture = rng.integers(90, 140, (120, 160, 3), np.uint8)
        for slot in rng.permutation(6)[:3].tolist():
            side = int(rng.integers(24, 40))
            x = int(50 * (slot % 3) + rng.integers(0, 12))
            y = int(55 * (slot // 3) + rng.integers(0, 20))
            category = 3 if rng.random() < 0.5 else 8
            if category == 3:
                cv2.rectangle(picture, (x, y), (x + side - 1, y + side - 1), (0, 0, 255), -1)
            else:
                centre = (x + side // 2, y + side // 2)
                cv2.circle(picture, centre, side // 2, (0, 255, 0), -1)
            boxes.append({"image_id": number, "category_id": category, "bbox": [x, y, side, side]})
        assert cv2.imwrite(str(folder / f"{number}.png"), picture)
        entry = {"id": number, "file_name": f"{number}.png", "width": 160, "height": 120}
        images.append(entry)
    numbered = [box | {"id": i + 1} for i, box in enumerate(boxes)]
    categories = [{"id": 3, "name": "square"}, {"id": 8, "name": "disc"}]
    content = {"images": images, "annotations": numbered, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))


def copy_with_a_damaged_picture(data: Path, folder: Path) -> None:
    """The pictures of ``data``, ``5.png`` cut off."""
    folder.mkdir()
    for file in data.glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "5.png").write_bytes((data / "5.png").read_bytes()[:60])


def train_arguments(
    data: Path, output: Path, *more: object, model: str = "mobilenet_v1"
) -> tuple[object, ...]:
    """The arguments of a short run of a small network."""
    return (
        *("train", "--model", model, "--annotations", data / "truth.json", "--images", data),
        *("--output", output, "--width", 0.1, "--batch", 4, "--lr", 0.01, "--workers", 0),
        *("--threads", 1, "--device", "cpu", "--epochs", 3, "--log-every", 1, *more),
    )


def short_run(data: Path, output: Path, *more: object, **changes: object) -> tuple[object, ...]:
    """The arguments of a run of two updates; an option that is None is left out."""
    options = {
        "annotations": data / "truth.json",
        "images": data,
        "output": output,
        "model": "mobilenet_v1",
        "width": 0.1,
        "batch": 4,
        "lr": 0.01,
        "iterations": 2,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
        "log-every": 1,
    }
    given = [(f"--{k}", v) for k, v in (options | changes).items() if v is not None]
    return ("train", *(part for pair in given for part in pair), *more)


def history_of(output: Path) -> list[dict[str, str]]:
    with (output / "history.csv").open() as file:
        return list(csv.DictReader(file))
