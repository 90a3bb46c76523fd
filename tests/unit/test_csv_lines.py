"""CSV files of boxes: where their pictures are, and what columns are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.datasets.coco_writer import Conversion  # noqa: E402
from ssd_small.datasets.csv_boxes import coco_from_csv  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A CSV file yet to be written; its picture, 80 x 60, lies in a folder beside it."""
    (tmp_path / "pictures").mkdir()
    assert cv2.imwrite(str(tmp_path / "pictures" / "a.jpg"), np.full((60, 80, 3), 90, np.uint8))
    (tmp_path / "lists").mkdir()
    return tmp_path / "lists" / "boxes.csv"


def assert_the_box(made: Conversion, name: str) -> None:
    (image,), (box,) = made.content["images"], made.content["annotations"]
    assert (image["file_name"], image["width"], image["height"]) == (name, 80, 60)
    assert (made.images / name).is_file()
    assert (box["bbox"], made.labels) == ([10, 20, 30, 35], ("cat",))


@pytest.mark.parametrize("name", ["../pictures/a.jpg", "{}/pictures/a.jpg"])
def test_pictures_of_paths_are_relative_to_their_folder(
    source: Path, tmp_path: Path, name: str
) -> None:
    source.write_text(f"{name.format(tmp_path)},10,20,40,55,cat\n")
    assert_the_box(coco_from_csv(source), "a.jpg")


def test_names_may_lack_their_ending(source: Path, tmp_path: Path) -> None:
    source.write_text("image_id,xmin,ymin,xmax,ymax,label\na,10,20,40,55,cat\n")
    assert_the_box(coco_from_csv(source, images=tmp_path / "pictures"), "a.jpg")
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    with pytest.raises(BadFile, match=r"line 2: picture 'a' could be .*a\.jpg or .*a\.png"):
        coco_from_csv(source, images=tmp_path / "pictures")


@pytest.mark.usefixtures("source")
def test_the_folder_that_would_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("a.jpg,10,20,40,55,cat\n")
    with pytest.raises(BadFile, match=r"line 1: picture 'a\.jpg' .*pictures would fit"):
        coco_from_csv(path)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (
            "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height",
            "cat,10,20,30,35,a.jpg,80,60",
        ),
        ("filename,bbox.left,bbox.top,bbox.right,bbox.bottom,class_id", "a.jpg,10,20,40,55,cat"),
        ("class;ymax;ymin;xmax;xmin;path", '"cat";55;20.0;4e1;10;"a.jpg"'),
    ],
)
def test_names_of_columns(source: Path, tmp_path: Path, header: str, line: str) -> None:
    source.write_text(f"{header}\n{line}\n")
    assert_the_box(coco_from_csv(source, images=tmp_path / "pictures"), "a.jpg")


def test_a_class_name_of_two_lines_is_refused(source: Path, tmp_path: Path) -> None:
    source.write_text('a.jpg,10,20,40,55,"cat\ndog"\n')
    with pytest.raises(BadFile, match=r"class name .* is not printable"):
        coco_from_csv(source, images=tmp_path / "pictures")


@pytest.mark.parametrize("line", ["b.jpg,,,,,", "b.jpg", "b.jpg,nan,NaN,nan,nan,nan", "b.jpg,,"])
def test_a_name_alone_is_a_picture_without_objects(source: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "pictures" / "b.jpg").write_bytes((tmp_path / "pictures/a.jpg").read_bytes())
    source.write_text(f"a.jpg,10,20,40,55,cat\n{line}\n")
    made = coco_from_csv(source, images=tmp_path / "pictures")
    assert [one["file_name"] for one in made.content["images"]] == ["a.jpg", "b.jpg"]
    assert [one["image_id"] for one in made.content["annotations"]] == [1]
    assert made.labels == ("cat",)


@pytest.mark.parametrize("header", ["", "image,x1,y1,x2,y2,label\n"])
def test_a_line_of_more_cells_is_refused(source: Path, tmp_path: Path, header: str) -> None:
    """A name with a comma and without quotation marks."""
    source.write_text(f"{header}a.jpg,10,20,40,55,cat\na.jpg,10,20,40,55,cat, big\n")
    with pytest.raises(BadFile, match=r"line \d: 7 columns, expected 6; .* quotation marks"):
        coco_from_csv(source, images=tmp_path / "pictures")
    source.write_text(f"{header}a.jpg,10,20,40,55,cat\na.jpg,10,20,40,55,cat,\n")
    assert len(coco_from_csv(source, images=tmp_path / "pictures").content["annotations"]) == 2
