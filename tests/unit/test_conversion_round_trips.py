"""COCO boxes written as VOC, YOLO and CSV, as their tools do, come back where they were."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from data_folders import write_picture, write_text
from hypothesis import given, settings
from hypothesis import strategies as st
from voc_folder import xml

from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.datasets.coco_writer import Conversion
from ssd_small.datasets.csv_boxes import coco_from_csv
from ssd_small.datasets.picture_files import image_paths
from ssd_small.datasets.voc import coco_from_voc
from ssd_small.datasets.yolo import coco_from_yolo

#: a sum and a difference of numbers below 1024, each rounded by 2**-44
ROUNDED = 2 * 2**-44

Box = tuple[str, list[float]]
Picture = tuple[str, int, int, list[Box]]


def pictures_from_truth(truth: Annotations) -> list[Picture]:
    names = {one["id"]: one["name"] for one in truth.categories}
    return [
        (
            *(one["file_name"], one["width"], one["height"]),
            [
                (names[box["category_id"]], box["bbox"])
                for box in truth.boxes
                if box["image_id"] == one["id"]
            ],
        )
        for one in truth.images
    ]


def read_back(made: Conversion, folder: Path) -> list[Picture]:
    """What the commands read of a conversion, whose pictures they must find."""
    path = write_text(folder / "made.json", json.dumps(made.content))
    truth = read_annotations(path)
    assert truth.dropped == 0
    image_paths(truth, made.images)
    return pictures_from_truth(truth)


def as_voc(folder: Path, pictures: list[Picture]) -> Conversion:
    for name, width, height, found in pictures:
        objects = [(label, (x + 1, y + 1, x + w, y + h)) for label, (x, y, w, h) in found]
        text = xml(objects, (width, height)).replace("x.jpg", name)
        write_text(folder / "Annotations" / Path(name).with_suffix(".xml"), text)
        write_picture(folder / "JPEGImages" / name, (width, height))
    return coco_from_voc(folder)


def as_yolo(folder: Path, pictures: list[Picture]) -> Conversion:
    names = sorted({label for *_, found in pictures for label, _ in found})
    for name, width, height, found in pictures:
        rows = [
            f"{names.index(label)} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} "
            f"{w / width:.6f} {h / height:.6f}\n"
            for label, (x, y, w, h) in found
        ]
        write_text(folder / "labels" / Path(name).with_suffix(".txt"), "".join(rows))
        write_picture(folder / "images" / name, (width, height))
    quoted = ", ".join(f"'{name}'" for name in names)
    write_text(folder / "data.yaml", f"names: [{quoted}]\ntrain: images\n")
    return coco_from_yolo(folder)


def as_csv(folder: Path, pictures: list[Picture]) -> Conversion:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "boxes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        for name, width, height, found in pictures:
            write_picture(folder / name, (width, height))
            for label, (x, y, w, h) in found:
                writer.writerow([name, x, y, x + w, y + h, label])
            if not found:
                writer.writerow([name, "", "", "", "", ""])
    return coco_from_csv(folder / "boxes.csv")


def tolerance(writer: Any, width: int, height: int) -> float:
    """Of a fraction's six decimals: 5e-7 of the centre, and a half of that of half the side.

    And two corners that are rounded to nine decimals of a pixel.
    """
    return 0.75e-6 * max(width, height) + 1e-9 if writer is as_yolo else ROUNDED


def assert_same(back: list[Picture], pictures: list[Picture], writer: Any) -> None:
    ordered = {Path(name).name: rest for name, *rest in back}
    assert sorted(ordered) == sorted(name for name, *_ in pictures)
    for name, width, height, found in pictures:
        assert ordered[name][:2] == [width, height]
        assert [label for label, _ in ordered[name][2]] == [label for label, _ in found]
        for (_, got), (_, expected) in zip(ordered[name][2], found, strict=True):
            assert got == pytest.approx(expected, abs=tolerance(writer, width, height))


@st.composite
def pictures(draw: st.DrawFn) -> list[Picture]:
    made: list[Picture] = []
    for number in range(draw(st.integers(1, 3))):
        width, height = draw(st.integers(8, 200)), draw(st.integers(8, 200))
        found: list[Box] = []
        for _ in range(draw(st.integers(0 if number else 1, 3))):
            # at least two pixels: the least that six decimals still order is far below
            x, y = draw(st.floats(0, width - 2)), draw(st.floats(0, height - 2))
            w, h = draw(st.floats(2, width - x)), draw(st.floats(2, height - y))
            found.append((draw(st.sampled_from(["cat", "hot dog", "猫"])), [x, y, w, h]))
        made.append((f"{number}.png", width, height, found))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("writer", [as_voc, as_yolo, as_csv])
@given(pictures())
@settings(max_examples=25, deadline=None)
def test_every_box_comes_back_where_it_was(tmp_path_factory, writer, drawn) -> None:
    folder = tmp_path_factory.mktemp("set")
    assert_same(read_back(writer(folder, drawn), folder), drawn, writer)


@pytest.mark.parametrize("writer", [as_voc, as_yolo, as_csv])
def test_the_digits_come_back(tmp_path: Path, writer) -> None:
    for module in ("sklearn", "skimage"):
        pytest.importorskip(module, reason=f"needs {module}")
    from ssd_small.datasets.digits import make_digits

    dataset = make_digits(tmp_path / "digits", train_images=0, val_images=6)
    digits = pictures_from_truth(read_annotations(dataset.val_annotations))
    assert sum(len(found) for *_, found in digits) > 10
    back = read_back(writer(tmp_path / "set", digits), tmp_path)
    assert_same(back, digits, writer)
