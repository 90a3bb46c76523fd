"""Sets of the published layouts: read, joined, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from devkit_folder import write_coco_set, write_devkit
from voc_folder import VocFolder, xml

from ssd_small.configs.class_names import VOC_NAMES
from ssd_small.datasets.coco import Annotations
from ssd_small.datasets.findings import Findings
from ssd_small.datasets.picture_files import image_paths
from ssd_small.datasets.sets import (
    checked_sets,
    read_ground_truth,
    sets_from_text,
    sha256_of_truth,
    text_from_sets,
)
from ssd_small.errors import BadFile, UsageError

BOTH = (("2007", "trainval"), ("2012", "trainval"))


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    write_devkit(tmp_path / "kit")
    return tmp_path / "kit"


def objects(truth: Annotations) -> list[tuple[str, str, list[float], int]]:
    """(file, class, box, iscrowd)."""
    files = {image["id"]: image["file_name"] for image in truth.images}
    names = {category["id"]: category["name"] for category in truth.categories}
    return [
        (files[box["image_id"]], names[box["category_id"]], box["bbox"], box["iscrowd"])
        for box in truth.boxes
    ]


def test_two_years_are_one_ground_truth(devkit: Path) -> None:
    truth = read_ground_truth(devkit, BOTH)
    assert [image["id"] for image in truth.images] == [1, 2, 3, 4]
    assert objects(truth) == [
        ("VOC2007/JPEGImages/a.jpg", "cat", [4, 4, 26, 26], 0),
        ("VOC2007/JPEGImages/a.jpg", "dog", [39, 19, 31, 31], 0),
        ("VOC2007/JPEGImages/b.jpg", "dog", [10, 10, 30, 40], 1),
        ("VOC2012/JPEGImages/a.jpg", "cat", [30, 10, 40, 40], 0),
        ("VOC2012/JPEGImages/e.jpg", "dog", [5, 5, 40, 40], 0),
    ]
    assert [box["difficult"] for box in truth.boxes] == [0, 0, 1, 0, 0]
    assert len(image_paths(truth, devkit)) == 4
    kept = read_ground_truth(devkit, BOTH, keep_difficult=True)
    assert [box["iscrowd"] for box in kept.boxes] == [0] * 5
    assert [box["difficult"] for box in kept.boxes] == [0, 0, 1, 0, 0]


def test_the_order_of_the_sets_is_kept(devkit: Path) -> None:
    truth = read_ground_truth(devkit, [("2012", "trainval"), ("2007", "cat_test")])
    files = [image["file_name"] for image in truth.images]
    assert files == [
        *("VOC2012/JPEGImages/a.jpg", "VOC2012/JPEGImages/e.jpg", "VOC2007/JPEGImages/c.jpg"),
    ]


def test_the_twenty_classes_have_their_published_numbers(devkit: Path) -> None:
    truth = read_ground_truth(devkit, [("2007", "test")])
    assert [category["name"] for category in truth.categories] == list(VOC_NAMES)
    assert [category["id"] for category in truth.categories] == list(range(1, 21))
    assert list(VOC_NAMES) == sorted(VOC_NAMES)
    assert [box["category_id"] for box in truth.boxes] == [8, 12]


def test_other_classes_are_sorted_and_all_sets_agree(devkit: Path) -> None:
    more = VocFolder(devkit / "VOC2020")
    more.add("z", xml([("zebra", (5, 5, 30, 30))]))
    more.split("train", "z\n")
    for sets in ([("2007", "test")], [("2020", "train")], [*BOTH, ("2020", "train")]):
        truth = read_ground_truth(devkit, sets)
        assert [category["name"] for category in truth.categories] == ["cat", "dog", "zebra"]


def test_the_hash_is_of_the_content_and_of_nothing_else(devkit: Path, tmp_path: Path) -> None:
    before = sha256_of_truth(read_ground_truth(devkit, BOTH))
    moved = tmp_path / "elsewhere"
    shutil.copytree(devkit, moved)
    assert sha256_of_truth(read_ground_truth(moved, BOTH)) == before
    assert sha256_of_truth(read_ground_truth(devkit, BOTH[:1])) != before
    assert sha256_of_truth(read_ground_truth(devkit, BOTH, keep_difficult=True)) != before
    annotation = moved / "VOC2012" / "Annotations" / "e.xml"
    annotation.write_text(annotation.read_text().replace("<xmax>45<", "<xmax>46<"))
    assert sha256_of_truth(read_ground_truth(moved, BOTH)) != before


@pytest.mark.parametrize("under", ["images", "."])
def test_a_set_in_the_layout_of_coco(tmp_path: Path, under: str) -> None:
    write_coco_set(tmp_path, "val2017", [7, 9], under=under)
    truth = read_ground_truth(tmp_path, [("2017", "val")])
    place = "images/val2017" if under == "images" else "val2017"
    assert [image["file_name"] for image in truth.images] == [f"{place}/{n}.png" for n in (
        "0007", "0009")]  # fmt: skip
    assert [image["id"] for image in truth.images] == [7, 9]
    assert [category["id"] for category in truth.categories] == [4, 5]
    assert len(image_paths(truth, tmp_path)) == 2


def test_pictures_may_have_the_longer_name(tmp_path: Path) -> None:
    write_coco_set(tmp_path, "val2017", [7, 9])
    for path in (tmp_path / "images" / "val2017").iterdir():
        path.rename(path.with_name(f"COCO_val2017_{path.name}"))
    truth = read_ground_truth(tmp_path, [("2017", "val")])
    assert truth.images[1]["file_name"] == "images/val2017/COCO_val2017_0009.png"
    assert len(image_paths(truth, tmp_path)) == 2


@pytest.mark.parametrize(
    ("second", "ids"), [([1, 2], [7, 9, 1, 2]), ([9, 10], [1, 2, 3, 4])], ids=["own", "shared"]
)
def test_joined_coco_sets_have_an_id_per_picture(tmp_path: Path, second, ids) -> None:
    write_coco_set(tmp_path, "train2014", [7, 9])
    write_coco_set(tmp_path, "val2014", second)
    truth = read_ground_truth(tmp_path, [("2014", "train"), ("2014", "val")])
    assert [image["id"] for image in truth.images] == ids
    assert [box["image_id"] for box in truth.boxes] == ids
    assert [box["id"] for box in truth.boxes] == [1, 2, 3, 4]
    assert [box["bbox"][0] for box in truth.boxes] == [1, 2, 1, 2]
    assert len(image_paths(truth, tmp_path)) == 4


def test_what_is_not_there_is_said_with_what_is(devkit: Path, tmp_path: Path) -> None:
    for sets in ([("2007", "val")], [("2008", "test")], [*BOTH, ("2012", "test")]):
        with pytest.raises(BadFile) as caught:
            read_ground_truth(devkit, sets)
        line = str(caught.value)
        assert f"no set {':'.join(sets[-1])}" in line
        assert "there is 2007:test, 2007:trainval, 2012:trainval" in line
    with pytest.raises(BadFile, match=r"there is none$"):
        read_ground_truth(tmp_path, BOTH)
    with pytest.raises(BadFile, match="Is a directory; expected COCO annotations"):
        read_ground_truth(tmp_path)
    with pytest.raises(BadFile, match=r"none is not there; expected the folder .* 2007:trainval"):
        read_ground_truth(tmp_path / "none", BOTH)
    with pytest.raises(BadFile, match=r"a\.xml is a file; expected the folder"):
        read_ground_truth(devkit / "VOC2007" / "Annotations" / "a.xml", BOTH)
    with pytest.raises(BadFile, match=r"is a folder of sets; expected COCO.* of 2007:test, "):
        read_ground_truth(devkit)
    with pytest.raises(BadFile, match=rf"lies in a devkit: pass {devkit}"):
        read_ground_truth(devkit / "VOC2007", BOTH)
    (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_bytes(b"\xff\xe9")
    with pytest.raises(BadFile, match=r"test\.txt is not UTF-8"):
        read_ground_truth(devkit, [("2007", "test")])
    (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_text("c\nd\n")
    (devkit / "VOC2012" / "Annotations" / "e.xml").write_text("<annotation>")
    with pytest.raises(BadFile, match=r"e\.xml is not XML"):
        read_ground_truth(devkit, BOTH)
    (devkit / "VOC2012" / "Annotations" / "e.xml").unlink()
    with pytest.raises(BadFile, match=r"no e\.xml"):
        read_ground_truth(devkit, BOTH)
    (devkit / "VOC2007" / "JPEGImages" / "d.jpg").unlink()
    with pytest.raises(BadFile, match=r"1 of 2 images .* the first is d;"):
        read_ground_truth(devkit, [("2007", "test")])


def test_coco_sets_that_are_damaged(tmp_path: Path) -> None:
    write_coco_set(tmp_path, "train2014", [7, 9])
    write_coco_set(tmp_path, "val2014", [8], categories=("dog", "cat"))
    with pytest.raises(BadFile, match="other categories"):
        read_ground_truth(tmp_path, [("2014", "train"), ("2014", "val")])
    with pytest.raises(BadFile, match=r"there is 2014:train, 2014:val$"):
        read_ground_truth(tmp_path, [("2017", "val")])
    shutil.rmtree(tmp_path / "images" / "val2014")
    with pytest.raises(BadFile, match="neither of the folders images/val2014 and val2014"):
        read_ground_truth(tmp_path, [("2014", "val")])
    (tmp_path / "annotations" / "instances_train2014.json").write_text("[")
    with pytest.raises(BadFile, match="is not JSON"):
        read_ground_truth(tmp_path, [("2014", "train")])


def test_layouts_are_not_mixed(devkit: Path) -> None:
    write_coco_set(devkit, "val2017", [7])
    with pytest.raises(BadFile, match="VOC and COCO sets"):
        read_ground_truth(devkit, [("2007", "test"), ("2017", "val")])


def test_a_picture_is_learned_once(devkit: Path) -> None:
    (devkit / "VOC2007" / "ImageSets" / "Main" / "all.txt").write_text("a\nc\n")
    with pytest.raises(BadFile, match=r"VOC2007/JPEGImages/c\.jpg is in more than one of"):
        read_ground_truth(devkit, [("2007", "test"), ("2007", "all")])


def test_a_difficult_that_is_no_number(tmp_path: Path) -> None:
    content = write_coco_set(tmp_path, "val2017", [7])
    path = tmp_path / "annotations" / "instances_val2017.json"
    for value, fits in ((None, True), (1, True), ("often", False), ([1], False)):
        content["annotations"][0]["difficult"] = value
        path.write_text(json.dumps(content))
        if fits:
            (box,) = read_ground_truth(path).boxes
            assert box["difficult"] == (value or 0)
        else:
            with pytest.raises(BadFile, match=r"annotations\[0\].*difficult is .*expected 0 or 1"):
                read_ground_truth(path)


def test_sets_are_written_as_year_and_split() -> None:
    assert sets_from_text("2007:trainval, 2012:trainval") == BOTH
    assert sets_from_text(text_from_sets(BOTH)) == BOTH
    assert checked_sets([["2007", "test"]]) == (("2007", "test"),)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2007", "2007:", ":test", "2007:test,", "2007:../test", "2007:a/b", "../x:test"),
        *("2007:test:val", "2007:te st", "2007:te\nst", "2007:.test", "2007:te\0st", "\u0662:test"),
        "2007:test,2007:test",
    ],
)
def test_odd_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected YEAR:SPLIT"):
        sets_from_text(text)


def test_findings_of_joined_sets_say_which_file(tmp_path: Path) -> None:
    paths = [
        tmp_path / "annotations" / f"instances_{name}.json" for name in ("train2017", "val2017")
    ]
    for path, first in zip(paths, (7, 17), strict=True):
        content = write_coco_set(tmp_path, path.stem.removeprefix("instances_"), [first])
        content["annotations"][0]["image_id"] = str(first)
        path.write_text(json.dumps(content))
    sets = [("2017", "train"), ("2017", "val")]
    truth = read_ground_truth(tmp_path, sets)
    (kind,) = truth.findings.problems
    assert (kind["kind"], kind["count"]) == ("id_as_text", 2)
    assert [where.split()[0] for where in kind["examples"]] == [f"{path.name}:" for path in paths]
    content["annotations"][0]["image_id"] = 99
    paths[1].write_text(json.dumps(content))
    with pytest.raises(BadFile, match=r"instances_val2017\.json: annotations\[0\].*image_id 99"):
        read_ground_truth(tmp_path, sets)
    findings = Findings()
    collected = read_ground_truth(tmp_path, sets, findings=findings)
    assert findings is collected.findings
    assert findings.counts("error") == {"unknown_image": 1}
    assert len(collected.boxes) == len(truth.boxes) - 1


def test_a_set_without_annotations_is_a_test_set(tmp_path: Path) -> None:
    content = write_coco_set(tmp_path, "test2017", [7])
    del content["annotations"]
    (tmp_path / "annotations" / "instances_test2017.json").write_text(json.dumps(content))
    truth = read_ground_truth(tmp_path, [("2017", "test")])
    assert (truth.annotated, truth.boxes) == (False, ())
    assert truth.images[0]["file_name"].startswith("images/test2017/")


def test_results_of_sets_have_the_ids_of_their_files(tmp_path: Path) -> None:
    for name, keys in (("test2017", [7]), ("more2017", [8, 9])):
        content = write_coco_set(tmp_path, name, keys)
        del content["annotations"]
        for image in content["images"]:
            image["id"] = f"{name}-{image['id']}"
        for category in content["categories"]:
            category["id"] = str(category["id"])
        path = tmp_path / "annotations" / f"instances_{name}.json"
        path.write_text(json.dumps(content))
    one = read_ground_truth(tmp_path, [("2017", "test")])
    (found,) = one.results_as_in_file([{"image_id": one.images[0]["id"], "category_id": 4}])
    assert found == {"image_id": "test2017-7", "category_id": "4"}
    both = read_ground_truth(tmp_path, [("2017", "test"), ("2017", "more")])
    assert [image["id"] for image in both.images] == [1, 2, 3]
    assert both.image_spelling == {}
