"""VOC folders as tools and file systems leave them: which picture is whose, which list is meant."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from voc_folder import xml  # noqa: E402

from ssd_small.datasets.coco_writer import Conversion  # noqa: E402
from ssd_small.datasets.voc import coco_from_voc  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))


def add(
    folder: Path,
    annotation: str,
    picture: str | None = None,
    *,
    more: str = "",
    file_name: str = "x.jpg",
    label: str = "cat",
) -> Path:
    """An annotation of a box of 40 x 50 pixels, and its picture of 80 x 60."""
    if picture is not None:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / picture), np.full((60, 80, 3), 90, np.uint8))
    path = folder / annotation
    path.parent.mkdir(parents=True, exist_ok=True)
    text = xml([(label, (11, 6, 50, 55))], more=more)
    path.write_text(text.replace("x.jpg", file_name))
    return path


def assert_pictures(made: Conversion, *names: str) -> None:
    """These, each with the one box that all have."""
    assert sorted(image["file_name"] for image in made.content["images"]) == sorted(names)
    boxes = [(one["image_id"], one["bbox"]) for one in made.content["annotations"]]
    assert boxes == [(i, [10, 5, 40, 50]) for i in range(1, len(names) + 1)]
    assert all((made.images / name).is_file() for name in names)


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [("images/{}/a.xml", "images/{}/a.jpg"), ("{}/Annotations/a.xml", "{}/JPEGImages/a.jpg")],
)
def test_pictures_of_one_name_belong_to_the_annotations_near_them(
    tmp_path: Path, annotations: str, pictures: str
) -> None:
    for part in ("train", "test"):
        add(tmp_path, annotations.format(part), pictures.format(part))
    made = coco_from_voc(tmp_path)
    assert_pictures(made, pictures.format("train"), pictures.format("test"))


def test_one_picture_is_not_taken_for_two_annotations(tmp_path: Path) -> None:
    add(tmp_path, "Annotations/a.xml", file_name="b.jpg")
    add(tmp_path, "Annotations/b.xml", "JPEGImages/b.jpg", file_name="b.jpg")
    with pytest.raises(BadFile, match=r"a\.xml and .*b\.xml would both be of .*b\.jpg"):
        coco_from_voc(tmp_path)


def test_annotations_spelled_alike_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "Annotations/a.xml", "JPEGImages/a.jpg")
    if add(tmp_path, "Annotations/a.XML").samefile(tmp_path / "Annotations/a.xml"):
        pytest.skip("the file system knows no case")
    with pytest.raises(BadFile, match=r"a\.XML and .*a\.xml are spelled alike"):
        coco_from_voc(tmp_path)


@pytest.mark.parametrize("forms", [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_of_other_unicode_forms_are_the_same(tmp_path: Path, forms: tuple[str, str]) -> None:
    add(tmp_path, f"Annotations/{forms[0]}.xml", f"JPEGImages/{forms[1]}.jpg", file_name="")
    (tmp_path / "train.txt").write_text(f"{forms[1]}\n", encoding="utf-8")
    made = coco_from_voc(tmp_path, "train")
    assert_pictures(made, f"{forms[1]}.jpg")
    assert made.counts == {}


@pytest.mark.parametrize(
    "place", ["ImageSets/Main/train.txt", "imagesets/main/Train.txt", "ImageSets/train.txt"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_is_found_where_tools_put_it(tmp_path: Path, place: str, encoding: str) -> None:
    for name in ("a", "b"):
        add(tmp_path, f"Annotations/{name}.xml", f"JPEGImages/{name}.jpg")
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes("./JPEGImages/b.jpg ./Annotations/b.xml\r\n".encode(encoding))
    assert_pictures(coco_from_voc(tmp_path, "train"), "b.jpg")


def test_linked_folders_are_followed_but_not_round(tmp_path: Path) -> None:
    add(tmp_path / "real", "xml/a.xml", "jpg/a.jpg")
    folder = tmp_path / "voc"
    for name, target in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (folder / name).mkdir(parents=True)
        os.symlink(tmp_path / "real" / target, folder / name / "cam1")
        os.symlink(folder, folder / name / "back")
    assert_pictures(coco_from_voc(folder), "cam1/a.jpg")


def test_pictures_without_annotation_are_counted_but_not_masks(tmp_path: Path) -> None:
    add(tmp_path, "a.xml", "a.jpg", file_name="a.jpg")
    for name in ("a.png", "z.jpg", "y.jpg"):
        assert cv2.imwrite(str(tmp_path / name), np.full((60, 80, 3), 90, np.uint8))
    made = coco_from_voc(tmp_path)
    assert_pictures(made, "a.jpg")
    (line,) = made.lines()
    assert line.startswith("2 pictures have no annotation and were left out, the first is ")
    assert line.endswith("y.jpg")


@pytest.mark.parametrize("declared", ["utf-16", "ascii", "UTF-32"])
def test_utf_8_that_is_declared_as_another_encoding_is_said(tmp_path: Path, declared: str) -> None:
    path = add(tmp_path, "a.xml", "a.jpg", label="Kätzchen")
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{path.read_text()}'
    path.write_text(text, encoding="utf-8")
    made = coco_from_voc(tmp_path)
    assert_pictures(made, "a.jpg")
    assert (made.labels, made.counts) == (("Kätzchen",), {"misdeclared": 1})


def test_a_flag_that_is_no_number_is_no(tmp_path: Path) -> None:
    add(tmp_path, "a.xml", "a.jpg", more="<difficult>nan</difficult>")
    made = coco_from_voc(tmp_path)
    assert (made.content["annotations"][0]["iscrowd"], made.counts) == (0, {"unclear_flags": 1})


@pytest.mark.parametrize("word", ["None", "", "0", "unknown"])
def test_a_size_that_is_none_is_that_of_the_picture(tmp_path: Path, word: str) -> None:
    path = add(tmp_path, "a.xml", "a.jpg")
    path.write_text(path.read_text().replace("<width>80<", f"<width>{word}<"))
    (image,) = coco_from_voc(tmp_path).content["images"]
    assert (image["width"], image["height"]) == (80, 60)
