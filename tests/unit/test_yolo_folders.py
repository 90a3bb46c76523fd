"""YOLO data sets as tools and people leave them: descriptions, lists, class names, whose labels."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.datasets.coco_writer import Conversion  # noqa: E402
from ssd_small.datasets.yolo import coco_from_yolo  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402

#: of a picture of 80 x 64, binary fractions: the box 10, 8, 40, 32 exactly
BOX = "0.375 0.375 0.5 0.5"


def add(folder: Path, picture: str | None, labels: str | None, lines: str = f"0 {BOX}\n") -> None:
    for name in (picture, labels):
        if name is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if picture is not None:
        assert cv2.imwrite(str(folder / picture), np.full((64, 80, 3), 90, np.uint8))
    if labels is not None:
        (folder / labels).write_text(lines)


def write(folder: Path, **texts: str) -> None:
    """Files by name, ``_`` standing for the dot."""
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text)


def assert_pictures(made: Conversion, *names: str) -> None:
    """These, each with the one box that all have, a cat."""
    assert sorted(image["file_name"] for image in made.content["images"]) == sorted(names)
    classes = {one["id"]: one["name"] for one in made.content["categories"]}
    boxes = [
        (one["image_id"], classes[one["category_id"]], one["bbox"])
        for one in made.content["annotations"]
    ]
    assert boxes == [(i, "cat", [10, 8, 40, 32]) for i in range(1, len(names) + 1)]
    assert all((made.images / name).is_file() for name in names)


@pytest.fixture
def darknet(tmp_path: Path) -> Path:
    """As CVAT exports it."""
    folder = tmp_path / "task 1"
    add(folder, "obj_train_data/a.jpg", "obj_train_data/a.txt")
    write(
        folder,
        obj_names="cat\n",
        train_txt="data/obj_train_data/a.jpg\n",
        obj_data="classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
    )
    return folder


def test_darknet_of_cvat(darknet: Path) -> None:
    for source, split in ((darknet, None), (darknet, "train"), (darknet / "obj.data", "train")):
        assert_pictures(coco_from_yolo(source, split), "obj_train_data/a.jpg")
    with pytest.raises(BadFile, match=r"obj\.data has no 'val'; choose from train"):
        coco_from_yolo(darknet, "val")


def test_labels_without_their_pictures_find_them_elsewhere(darknet: Path, tmp_path: Path) -> None:
    images = tmp_path / "pictures"
    add(images, "b.jpg", None)
    (darknet / "obj_train_data" / "a.jpg").rename(images / "a.jpg")
    made = coco_from_yolo(darknet, images=images)
    assert [one["file_name"] for one in made.content["images"]] == ["a.jpg", "b.jpg"]
    assert len(made.content["annotations"]) == 1
    assert_pictures(coco_from_yolo(darknet, "train", images=images), "a.jpg")
    with pytest.raises(BadFile, match=r"train\.txt: picture .* pass images"):
        coco_from_yolo(darknet)


def test_a_list_without_description_is_a_split(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt")
    add(tmp_path, "images/b.jpg", "labels/b.txt")
    write(tmp_path, classes_txt="cat\n", train_txt=f"{tmp_path}/images/b.jpg\n")
    assert_pictures(coco_from_yolo(tmp_path, "train"), "images/b.jpg")
    (tmp_path / "train.txt").write_bytes("images\\b.jpg\r\n".encode("utf-16"))
    assert_pictures(coco_from_yolo(tmp_path, "train"), "images/b.jpg")


@pytest.mark.parametrize("name", ["train/_darknet.labels", "labels/train/classes.txt"])
def test_class_names_may_lie_with_a_split(tmp_path: Path, name: str) -> None:
    add(tmp_path, "train/a.jpg", "train/a.txt")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("cat\n")
    assert_pictures(coco_from_yolo(tmp_path, "train"), "train/a.jpg")
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "classes.txt").write_text("dog\n")
    with pytest.raises(BadFile, match="name other classes"):
        coco_from_yolo(tmp_path, "train")


@pytest.mark.parametrize("beside", ["docker-compose.yaml", ".hidden.yaml", "._data.yaml"])
def test_other_yaml_files_are_passed_over(tmp_path: Path, beside: str) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / beside).write_text("version: 3\n")
    write(tmp_path, classes_txt="cat\n")
    assert_pictures(coco_from_yolo(tmp_path), "images/a.jpg")
    (tmp_path / "my.yaml").write_text("train: images\nnames: [cat]\n")
    assert_pictures(coco_from_yolo(tmp_path, "train"), "images/a.jpg")


def test_labels_order_the_classes_of_the_source_by_name(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt", f"1 {BOX}\n2 {BOX}\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [dog, cat, cow]\n")
    made = coco_from_yolo(tmp_path, labels=("cat", "dog"))
    assert_pictures(made, "images/a.jpg")
    assert (made.labels, made.other) == (("cat", "dog"), {"cow": 1})


def test_labels_name_the_classes_by_number_where_nothing_does(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt", f"1 {BOX}\n")
    (tmp_path / "data.yaml").write_text("train: images\nnc: 2\n")
    assert_pictures(coco_from_yolo(tmp_path, labels=("dog", "cat")), "images/a.jpg")


@pytest.mark.parametrize(
    ("names", "word"),
    [
        ("nc: 3\nnames: [cat, dog]", "nc is 3 but names has 2"),
        ("names: [cat, cat]", "'cat' occurs twice"),
        ("names: [cat, no]", "quotation marks"),
        ("names: [cat, null]", "quotation marks"),
        ('names: [cat, "\\u0007"]', "not printable"),
        ("names: {0: cat, x: dog}", "numbers from 0"),
        ("names: no/such.names", "is no file"),
        ("names: [cat]\nkpt_shape: 17", "kpt_shape is 17"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, names: str, word: str) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "data.yaml").write_text(f"train: images\n{names}\n")
    with pytest.raises(BadFile, match=rf"data\.yaml.*{word}"):
        coco_from_yolo(tmp_path)


def test_an_empty_line_does_not_shift_class_names(tmp_path: Path) -> None:
    add(tmp_path, "a.jpg", "a.txt")
    (tmp_path / "classes.txt").write_text("dog\n\ncat\n")
    with pytest.raises(BadFile, match=r"classes\.txt: name '' of class 1 is empty"):
        coco_from_yolo(tmp_path)


def test_places_that_are_not_there_are_said(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "data.yaml").write_text("train: images\nval: ../valid/images\nnames: [cat]\n")
    made = coco_from_yolo(tmp_path)
    assert_pictures(made, "images/a.jpg")
    (line,) = made.lines()
    assert line.endswith("val is '../valid/images', which is not there: left out")
    with pytest.raises(BadFile, match=r"val is '\.\./valid/images', .*; correct it"):
        coco_from_yolo(tmp_path, "val")


def test_labels_without_picture_are_counted_but_not_other_texts(tmp_path: Path) -> None:
    add(tmp_path, "a.jpg", "a.txt")
    add(tmp_path, None, "b.txt")
    write(tmp_path, classes_txt="cat\n", README_txt="Exported at noon.\n", train_txt="a.jpg\n")
    (line,) = coco_from_yolo(tmp_path).lines()
    assert line == f"1 label files have no picture, the first is {tmp_path / 'b.txt'}"
    assert coco_from_yolo(tmp_path, "train").lines() == []


def test_labels_are_of_one_picture(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt")
    add(tmp_path, "images/a.png", None)
    write(tmp_path, classes_txt="cat\n")
    with pytest.raises(BadFile, match=r"a\.txt could be of .*a\.jpg or .*a\.png"):
        coco_from_yolo(tmp_path)


def test_folders_in_capitals_links_and_unicode_forms(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    add(tmp_path / "real", f"i/{one}.jpg", f"l/{other}.txt")
    folder = tmp_path / "yolo"
    for name, target in (("Images", "i"), ("Labels", "l")):
        (folder / name).mkdir(parents=True)
        os.symlink(tmp_path / "real" / target, folder / name / "train")
    write(folder, classes_txt="cat\n")
    assert_pictures(coco_from_yolo(folder), f"Images/train/{one}.jpg")
    assert_pictures(coco_from_yolo(folder, "train"), f"Images/train/{one}.jpg")


def test_key_points_are_left_out_where_the_description_says_how_many(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt", f"0 {BOX} 0.1 0.1 2 0.5 0.5 1\n")
    (tmp_path / "data.yaml").write_text("train: images\nkpt_shape: [2, 3]\nnames: [cat]\n")
    made = coco_from_yolo(tmp_path)
    assert_pictures(made, "images/a.jpg")
    assert made.counts == {"keypoints": 1}
    (tmp_path / "data.yaml").write_text("train: images\nkpt_shape: [3, 3]\nnames: [cat]\n")
    with pytest.raises(BadFile, match=r"a\.txt, line 1: 11 numbers"):
        coco_from_yolo(tmp_path)


def test_half_an_outline_is_no_box(tmp_path: Path) -> None:
    add(tmp_path, "images/a.jpg", "labels/a.txt", "0 .1 .1 .2 .1 .2 .2 .1\n")
    write(tmp_path, classes_txt="cat\n")
    with pytest.raises(BadFile, match=r"a\.txt, line 1: 8 numbers \(no box, and no outline"):
        coco_from_yolo(tmp_path)


def test_a_name_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Of a file in Latin-1."""
    name = os.fsdecode(b"\xe9")
    add(tmp_path, "z.jpg", None)
    write(tmp_path, classes_txt="cat\n")
    try:
        (tmp_path / "z.jpg").rename(tmp_path / f"{name}.jpg")
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    (tmp_path / f"{name}.txt").write_text(f"0 {BOX}\n")
    with pytest.raises(BadFile, match=r"picture '\\udce9\.jpg' is not UTF-8.*; rename"):
        coco_from_yolo(tmp_path)


def test_images_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "a.jpg", "a.txt")
    write(tmp_path, classes_txt="cat\n")
    with pytest.raises(BadFile, match=r"no is no folder; .* correct images"):
        coco_from_yolo(tmp_path, images=tmp_path / "no")
