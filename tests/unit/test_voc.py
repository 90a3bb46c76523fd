"""Pascal VOC annotations as COCO: by hand, there and back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cv2", reason="needs OpenCV")

from voc_folder import VocFolder, xml

from ssd_small.datasets.coco import read_annotations
from ssd_small.datasets.voc import coco_from_voc
from ssd_small.errors import BadFile


@pytest.fixture
def voc(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path / "VOC2007")


def boxes(made) -> list[list[float]]:
    return [entry["bbox"] for entry in made.content["annotations"]]


def test_a_conversion_by_hand(voc: VocFolder) -> None:
    voc.add("b", xml([("dog", (1, 1, 80, 60)), ("cat", (11, 21, 11, 21))]))
    voc.add("a", xml([("cat", (5.5, 6, 10.25, 20))]), ".png")
    made = coco_from_voc(voc.path)
    assert made.labels == ("cat", "dog")
    assert made.images == voc.path / "JPEGImages"
    assert made.content["images"] == [
        {"id": 1, "file_name": "a.png", "width": 80, "height": 60},
        {"id": 2, "file_name": "b.jpg", "width": 80, "height": 60},
    ]
    assert made.content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    # the whole picture is the whole picture, one pixel is one pixel
    assert boxes(made) == [[4.5, 5, 5.75, 15], [0, 0, 80, 60], [10, 20, 1, 1]]
    entries = made.content["annotations"]
    assert [entry["category_id"] for entry in entries] == [1, 2, 1]
    assert [entry["image_id"] for entry in entries] == [1, 2, 2]
    assert [entry["area"] for entry in entries] == [5.75 * 15, 4800, 1]
    assert (made.counts, made.other) == ({}, {})


corner = st.tuples(st.integers(1, 60), st.integers(1, 40), st.integers(0, 20), st.integers(0, 20))


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), corner), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_every_object_comes_back_where_it_was(tmp_path_factory, drawn) -> None:
    voc = VocFolder(tmp_path_factory.mktemp("voc") / "VOC")
    objects = [(name, (x, y, x + w, y + h)) for name, (x, y, w, h) in drawn]
    voc.add("one", xml(objects))
    made = coco_from_voc(voc.path)
    path = voc.path / "gt.json"
    path.write_text(json.dumps(made.content))
    truth = read_annotations(path)
    assert truth.dropped == 0
    found = []
    for entry in truth.boxes:
        x, y, w, h = entry["bbox"]
        found.append((made.labels[entry["category_id"] - 1], (x + 1, y + 1, x + w, y + h)))
    assert found == objects


def test_tools_that_count_from_zero(voc: VocFolder) -> None:
    voc.add("a", xml([("cat", (0, 0, 80, 60)), ("cat", (10, 10, 10, 20))]))
    made = coco_from_voc(voc.path)
    assert made.counts["from_zero"] == 1
    assert boxes(made)[0] == [-1, -1, 81, 61]
    made = coco_from_voc(voc.path, zero_based=True)
    assert boxes(made) == [[0, 0, 80, 60]]
    assert made.counts == {"without_area": 1}


def test_difficult_objects_are_passed_over_unless_they_are_to_be_kept(voc: VocFolder) -> None:
    voc.add("a", xml([("cat", (5, 5, 10, 10))], more="<difficult>1</difficult>"))
    voc.add("b", xml([("cat", (5, 5, 10, 10))], more="<difficult>0</difficult>"))
    voc.add("c", xml([("cat", (5, 5, 10, 10))], more="<difficult></difficult>"))
    for keep, crowds in ((False, [1, 0, 0]), (True, [0, 0, 0])):
        made = coco_from_voc(voc.path, keep_difficult=keep)
        assert [entry["iscrowd"] for entry in made.content["annotations"]] == crowds
        assert [entry["difficult"] for entry in made.content["annotations"]] == [1, 0, 0]
        assert made.counts["difficult"] == 1


def test_a_split_keeps_its_order_and_the_labels_of_the_folder(voc: VocFolder) -> None:
    for name, label in (("a", "ant"), ("b", "bee"), ("c", "cow")):
        voc.add(name, xml([(label, (5, 5, 10, 10))]))
    voc.split("train", "c\n\na\n")
    voc.split("bee_train", "a -1\nb  1\nc  0\n")
    made = coco_from_voc(voc.path, "train")
    assert made.labels == ("ant", "bee", "cow")
    assert [image["file_name"] for image in made.content["images"]] == ["c.jpg", "a.jpg"]
    assert [entry["category_id"] for entry in made.content["annotations"]] == [3, 1]
    made = coco_from_voc(voc.path, "bee_train")
    assert [image["file_name"] for image in made.content["images"]] == ["b.jpg", "c.jpg"]


def test_labels_choose_and_order_the_classes(voc: VocFolder) -> None:
    voc.add("a", xml([("ant", (5, 5, 10, 10)), ("bee", (6, 6, 9, 9)), ("ant", (1, 1, 2, 2))]))
    made = coco_from_voc(voc.path, labels=["cow", "bee"])
    assert made.content["categories"] == [{"id": 1, "name": "cow"}, {"id": 2, "name": "bee"}]
    assert boxes(made) == [[5, 5, 4, 4]]
    assert made.other == {"ant": 2}
    with pytest.raises(BadFile, match=r"no object of the labels cow .*other classes: ant, bee"):
        coco_from_voc(voc.path, labels=["cow"])


def test_parts_of_an_object_are_not_objects(voc: VocFolder) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    voc.add("a", xml([("man", (5, 5, 10, 10))], more=part))
    made = coco_from_voc(voc.path)
    assert made.labels == ("man",)
    assert boxes(made) == [[4, 4, 6, 6]]


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_a_size_that_is_not_written_is_read_off_the_picture(voc: VocFolder, size) -> None:
    voc.add("a", xml([("cat", (5, 5, 10, 10))], size=size))
    (image,) = coco_from_voc(voc.path).content["images"]
    assert (image["width"], image["height"]) == (80, 60)


def test_a_picture_may_have_the_name_in_the_annotation(voc: VocFolder) -> None:
    voc.add("a", xml([("cat", (5, 5, 10, 10))]))
    (voc.path / "JPEGImages" / "a.jpg").rename(voc.path / "JPEGImages" / "x.jpg")
    (image,) = coco_from_voc(voc.path).content["images"]
    assert image["file_name"] == "x.jpg"


SOUND = xml([("cat", (5, 5, 10, 10))])
BOMB = (
    '<!DOCTYPE a [<!ENTITY x0 "ha">'
    + "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 10))
    + "]><annotation><object><name>&x9;</name></object></annotation>"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not XML"),
        ("<annotation>", "is not XML"),
        ("{}", "is not XML"),
        (BOMB, "declares entities"),
        ("<html/>", "the root is <html>"),
        (SOUND.replace("cat", ""), "without <name>"),
        (SOUND.replace("bndbox", "box"), "without <bndbox>"),
        (SOUND.replace("<xmin>5</xmin>", ""), "<xmin> of <bndbox> is ''"),
        (SOUND.replace("<ymax>10<", "<ymax>ten<"), "<ymax> of <bndbox> is 'ten'"),
        (SOUND.replace("<ymax>10<", "<ymax>nan<"), "<ymax> of <bndbox> is 'nan'"),
        (SOUND.replace("<width>80<", "<width>inf<"), "<width> of <size> is 'inf'"),
    ],
)
def test_an_annotation_that_is_wrong_is_named(voc: VocFolder, text: str, words: str) -> None:
    voc.add("a", SOUND)
    voc.add("bad", text)
    with pytest.raises(BadFile) as caught:
        coco_from_voc(voc.path)
    assert words in str(caught.value)
    assert "bad.xml" in str(caught.value)


def test_folders_and_splits_that_are_not_there(voc: VocFolder, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no folder Annotations"):
        coco_from_voc(tmp_path)
    with pytest.raises(BadFile, match="holds no XML"):
        coco_from_voc(voc.path)
    voc.add("a", SOUND)
    with pytest.raises(BadFile, match="leave out split"):
        coco_from_voc(voc.path, "train")
    voc.split("val", "a\n")
    with pytest.raises(BadFile, match="choose from val"):
        coco_from_voc(voc.path, "train")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "lists no image"), ("a -1\n", "lists no image"), ("a\na\n", "a occurs twice")],
)
def test_a_split_that_is_wrong(voc: VocFolder, text: str, words: str) -> None:
    voc.add("a", SOUND)
    voc.split("train", text)
    with pytest.raises(BadFile, match=words):
        coco_from_voc(voc.path, "train")


def test_what_a_split_names_must_be_there(voc: VocFolder) -> None:
    voc.add("a", SOUND)
    voc.split("train", "a\nb\n")
    with pytest.raises(BadFile, match=r"no b\.xml"):
        coco_from_voc(voc.path, "train")
    voc.add("b", SOUND)
    (voc.path / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(BadFile, match=r"1 of 2 images .* the first is b;"):
        coco_from_voc(voc.path, "train")
