"""YOLO's labels as people's tools write them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from three_boxes import DATA, NAMES, assert_the_same, picture

from ssd_small.datasets.yolo import coco_from_yolo
from ssd_small.errors import BadFile


def yolo(
    folder: Path,
    images: str = "images",
    labels: str = "labels",
    *,
    config: str | None = "path: .\ntrain: images\nval: images\nnc: 2\nnames: ['cat', 'dog']\n",
    outline: bool = False,
) -> Path:
    """DATA as text labels, six decimals."""
    for name, (width, height, objects) in DATA.items():
        picture(folder / images / f"{name}.jpg", width, height)
        lines = []
        for label, x1, y1, x2, y2 in objects:
            x = [x1 / width, x2 / width]
            y = [y1 / height, y2 / height]
            values = (
                [x[0], y[0], x[1], y[0], x[1], y[1], x[0], y[1]]
                if outline
                else [sum(x) / 2, sum(y) / 2, x[1] - x[0], y[1] - y[0]]
            )
            lines.append(" ".join([str(NAMES.index(label)), *(f"{one:.6f}" for one in values)]))
        path = folder / labels / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    if config is not None:
        (folder / "data.yaml").write_text(config)
    return folder


def test_yolo_by_its_folder_and_by_its_data_yaml(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo")
    assert_the_same(coco_from_yolo(folder), tmp_path)
    assert_the_same(coco_from_yolo(folder / "data.yaml", "train"), tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        "train: ./images\nnames:\n  1: dog\n  0: cat\n",
        "path: /datasets/elsewhere\ntrain: images\nnames: [cat, dog]\n",
        "train: ../images\nval: ../valid/images\ntest: ../test/images\nnames: ['cat', 'dog']\n",
        "train: /home/x/data/images\nnames: ['cat', 'dog']\n",
        "train: [images]\nval: []\nnames: ['cat', 'dog']\n",
        "names: ['cat', 'dog']\n",
    ],
)
def test_paths_of_a_data_yaml_are_often_of_where_it_once_lay(tmp_path: Path, config: str) -> None:
    assert_the_same(coco_from_yolo(yolo(tmp_path / "yolo", config=config)), tmp_path)


@pytest.mark.parametrize("names", ["classes.txt", "obj.names"])
def test_labels_beside_the_pictures(tmp_path: Path, names: str) -> None:
    folder = yolo(tmp_path / "yolo", "", "", config=None)
    with pytest.raises(BadFile, match=r"does not name its classes .*pass labels FILE"):
        coco_from_yolo(folder)
    assert_the_same(coco_from_yolo(folder, labels=NAMES), tmp_path)
    (folder / names).write_text("cat\r\ndog\r\n")
    assert_the_same(coco_from_yolo(folder), tmp_path)


def test_splits_of_folders(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", "images/train", "labels/train", config="names: [cat, dog]\n")
    assert_the_same(coco_from_yolo(folder, "train"), tmp_path)
    with pytest.raises(BadFile, match="has no split 'val'"):
        coco_from_yolo(folder, "val")


def test_a_list_of_pictures(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", config="train: train.txt\nnames: [cat, dog]\n")
    (folder / "train.txt").write_text("./images/a b.jpg\nimages/c.jpg\n")
    assert_the_same(coco_from_yolo(folder, "train"), tmp_path)
    (folder / "train.txt").write_text("./images/no.jpg\n")
    with pytest.raises(BadFile, match=r"picture './images/no\.jpg' is not there"):
        coco_from_yolo(folder, "train")


def test_outlines_and_pictures_without_labels_are_counted(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", outline=True)
    picture(folder / "images" / "d.jpg", 30, 20)
    (folder / "labels" / "e.txt").write_text("\n")
    picture(folder / "images" / "e.jpg", 30, 20)
    made = coco_from_yolo(folder)
    assert_the_same(made, tmp_path, more=2)
    assert made.counts == {"outlines": 3}
    assert made.lines()[-1] == "1 of 4 pictures have no label file: no objects"


def test_a_picture_on_its_side_is_labelled_as_people_see_it(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="needs Pillow")
    exif = pil.Exif()
    exif[0x0112] = 6
    folder = yolo(tmp_path / "yolo")
    pil.new("RGB", (60, 40)).save(folder / "images" / "c.jpg", exif=exif)
    (folder / "labels" / "c.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    content = coco_from_yolo(folder).content
    (image,) = [one for one in content["images"] if one["file_name"] == "images/c.jpg"]
    assert (image["width"], image["height"]) == (40, 60)
    (box,) = [one["bbox"] for one in content["annotations"] if one["image_id"] == image["id"]]
    assert box == [10, 15, 20, 30]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("7 0.5 0.5 0.1 0.1", "class 7 is not one of the 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 is not"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is not"),
        ("0 40 50 60 70", "70 is no fraction of the picture"),
        ("0 0.5 0.5 0.1", r"4 numbers \(too few\)"),
        ("0 0.5 0.5 0.1 0.1 0.9", "a detection with its score"),
        ("cat 0.5 0.5 0.1 0.1", "is not a label"),
        ("0 nan 0.5 0.1 0.1", "is not a label"),
        ("nan 0.5 0.5 0.1 0.1", "is not a label"),
    ],
)
def test_a_line_that_is_no_label_is_named(tmp_path: Path, line: str, word: str) -> None:
    folder = yolo(tmp_path / "yolo")
    (folder / "labels" / "c.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(BadFile, match=rf"c\.txt, line 2: .*{word}"):
        coco_from_yolo(folder)


@pytest.mark.parametrize("names", ["names: 5\n", "names: {0: cat, 2: dog}\n", "nc: 2\n"])
def test_a_data_yaml_without_names_is_refused(tmp_path: Path, names: str) -> None:
    folder = yolo(tmp_path / "yolo", config=f"train: images\n{names}")
    with pytest.raises(BadFile, match="names"):
        coco_from_yolo(folder)
