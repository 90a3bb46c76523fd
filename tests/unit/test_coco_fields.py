"""Single fields of COCO annotations: put right where their meaning is plain, else refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coco_as_written import PLAIN, Write, box, facts, picture, read, repaired_is_clean, writer

from ssd_small.datasets.classes import match_classes
from ssd_small.datasets.coco import coco_from_annotations, read_annotations
from ssd_small.datasets.findings import Findings
from ssd_small.errors import BadFile


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path / "gt.json")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        *(({field: value}, "null_field") for field in ("area", "iscrowd") for value in (None, "")),
        ({"difficult": None}, "null_field"),
        ({"area": "200"}, "number_as_text"),
        ({"area": "nan"}, "number_as_text"),
        ({"area": -1}, "bad_area"),
        ({"area": 0}, "bad_area"),
        ({"area": float("inf")}, "bad_area"),
        ({"iscrowd": False}, "flag_as_truth_value"),
        ({"iscrowd": "0"}, "number_as_text"),
        ({"bbox": ["4", "5.0", 10, 20]}, "number_as_text"),
        ({"bbox": "[4, 5, 10, 20]"}, "bbox_as_text"),
        ({"bbox": {"x": 4, "y": 5, "width": 10, "height": 20}}, "bbox_as_object"),
        ({"bbox": {"xmin": 4, "ymin": "5", "xmax": 14, "ymax": 25}}, "bbox_as_object"),
        ({"image_id": "1"}, "id_as_text"),
        ({"image_id": 1.0}, "id_as_fraction"),
        ({"category_id": " 3.0 "}, "id_as_text"),
        ({"category_id": None, "category_name": "cat"}, "id_by_name"),
        ({"category_id": "cat"}, "id_by_name"),
        ({"image_id": "1.jpg"}, "id_by_name"),
        ({"id": None}, "annotation_without_id"),
        ({"id": "1"}, "id_as_text"),
        ({"id": 2}, "repeated_annotation_id"),
        ({"id": "a"}, "id_not_a_number"),
        ({"id": [1]}, "bad_annotation_id"),
    ],
)
def test_a_field_whose_meaning_is_plain_is_put_right(
    write: Write, change: dict[str, Any], kind: str
) -> None:
    problems = {kind: 1} | ({"bad_area": 1} if change.get("area") == "nan" else {})
    truth = read(write(annotations=[box(1, 1, 3, **change), box(2, 2, 4)]), **problems)
    place = truth.findings.problems[0]["examples"][0]
    assert place.startswith("annotations[1]" if change.get("id") == 2 else "annotations[0]")


def test_a_number_as_text_is_never_a_name(write: Write) -> None:
    """0 of ids that count from 1 would else be the class named 0, and 1 the id of that class."""
    path = write(
        categories=[{"id": 1, "name": "0"}, {"id": 2, "name": "1"}],
        annotations=[box(1, 1, "0"), box(2, 2, "1")],
    )
    with pytest.raises(BadFile, match="category_id '0' is not the id"):
        read_annotations(path)


def test_fields_that_are_absent_need_no_repair(write: Write) -> None:
    bare = [{"id": i, "image_id": i, "category_id": i + 2, "bbox": [4, 5, 10, 20]} for i in (1, 2)]
    read(write(annotations=bare))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"bbox": []}, "null_box"),
        ({"bbox": [1, None, 3, 4]}, "null_box"),
        ({"bbox": [1, 2, 0, 4]}, "box_without_area"),
        ({"bbox": [1, 2, -3, -4]}, "box_without_area"),
        ({"bbox": [1, 2, "nan", 4]}, "box_not_finite"),
        ({"bbox": [1, 2, float("inf"), 4]}, "box_not_finite"),
    ],
)
def test_an_annotation_that_is_no_box_is_left_out_and_found(
    write: Write, change: dict[str, Any], kind: str
) -> None:
    path = write(annotations=[box(1, 1, 3), box(2, 2, 4), box(3, 1, 4, **change)])
    truth = read_annotations(path)
    assert facts(truth) == PLAIN
    assert truth.findings.counts("repaired")[kind] == 1
    assert truth.dropped == (kind != "null_box")
    repaired_is_clean(truth, path.with_name("fixed.json"))


@pytest.mark.parametrize("given", [{}, {"bbox": None}, {"bbox": []}])
def test_an_outline_without_a_box_has_the_box_around_it(
    write: Write, given: dict[str, Any]
) -> None:
    outline = [[4, 5, 14, 5, 9, 25], ["4.0", 6, 6, 7]]
    entry = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": outline, "area": 200}
    read(write(annotations=[entry | given, box(2, 2, 4)]), bbox_from_outline=1)
    for none in ({"counts": "x", "size": [1, 1]}, [], [[]], [[1, 2, 3]], [[1, None]], [[1, "a"]]):
        path = write(annotations=[entry | {"segmentation": none}, box(2, 2, 4)])
        assert read_annotations(path).findings.counts("repaired") == {"null_box": 1}


def test_boxes_that_are_all_left_out_are_an_error(write: Write) -> None:
    captions = [{"id": i, "image_id": i, "caption": "a cat"} for i in (1, 2)]
    with pytest.raises(BadFile, match="none of 2 annotations has a bbox and category_id"):
        read_annotations(write(annotations=captions))


def test_ids_that_are_no_numbers_are_numbered_in_their_order(write: Write) -> None:
    path = write(
        images=[picture("img_b"), picture(1), picture("img_a")],
        categories=[{"id": "cat", "name": "cat"}, {"id": 2**70, "name": "dog"}],
        annotations=[box("x", "img_a", str(2**70)), box("y", 1, "cat"), box("z", "img_b", "cat")],
    )
    truth = read_annotations(path)
    assert [image["id"] for image in truth.images] == [2, 1, 3]  # 1 is taken
    assert facts(truth)["objects"] == [
        ("img_a.jpg", "dog", [4, 5, 10, 20], 200, 0),
        ("1.jpg", "cat", [4, 5, 10, 20], 200, 0),
        ("img_b.jpg", "cat", [4, 5, 10, 20], 200, 0),
    ]
    assert [truth.image_id(v) for v in ("img_b", "1", "img_a", "no", 3, None)] == [
        *(2, 1, 3, None, 3, None)
    ]
    assert (truth.category_id(2**70), truth.category_id("cat")) == (2, 1)
    result = {"image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}
    other = {**result, "image_id": 1}
    assert truth.results_as_in_file([result, other]) == [
        {**result, "image_id": "img_a", "category_id": 2**70},
        {**result, "image_id": 1, "category_id": 2**70},
    ]
    assert truth.findings.counts("repaired") == {
        "id_not_a_number": 2 + 1 + 3 + 4,
        "id_too_large": 2,
    }
    repaired_is_clean(truth, path.with_name("fixed.json"))


def test_categories_may_be_named_in_the_annotations_only(write: Write) -> None:
    named = [box(1, 1, 3, category_name="cat"), box(2, 2, 4, category_name="dog")]
    read(write(categories=None, annotations=named), no_categories_list=2)
    for one in named:
        del one["category_id"]
    truth = read_annotations(write(categories=None, annotations=named))
    assert facts(truth) == PLAIN
    with pytest.raises(BadFile, match="there are no categories"):
        read_annotations(write(categories=None))


@pytest.mark.parametrize(
    "name",
    ["\u0633\u06cc\u200c\u0627", "a\u00a0b", "\U0001f468\u200d\U0001f33e", "x, y: 'z'", "\ue000"],
)
def test_names_may_hold_anything_printable(write: Write, name: str) -> None:
    categories = [{"id": 3, "name": name}, {"id": 4, "name": f" {name}2\u00a0"}]
    truth = read_annotations(write(categories=categories))
    assert [category["name"] for category in truth.categories] == [name, f"{name}2"]
    assert truth.findings.counts("repaired") == {"blanks_around_name": 1}


def test_two_categories_whose_names_differ_in_unicode_form_alone_are_of_one_name(
    write: Write,
) -> None:
    """People see one name; a network's label can be but one of them."""
    pair = [{"id": 3, "name": "caf\u00e9"}, {"id": 4, "name": "cafe\u0301"}]
    truth = read_annotations(write(categories=pair))
    assert [category["name"] for category in truth.categories] == ["caf\u00e9"] * 2
    assert truth.findings.counts("fixable") == {"repeated_category_name": 1}
    assert truth.findings.counts("note") == {"decomposed_name": 1}
    with pytest.raises(BadFile, match=r"occurs twice \(ids 3 and 4\)"):
        match_classes(truth, ("caf\u00e9",))
    named = write(categories=pair[1:], annotations=[box(1, 1, "caf\u00e9")])
    assert facts(read_annotations(named))["objects"][0][1] == "caf\u00e9"


def test_a_root_category_is_known_by_any_form_of_its_name(write: Write) -> None:
    root = {"id": 0, "name": "cafe\u0301"}
    below = [{"id": key, "name": str(key), "supercategory": "cafe\u0301"} for key in (3, 4)]
    assert read_annotations(write(categories=[root, *below])).root_categories == {0}


def test_a_number_for_a_name_is_taken_as_text(write: Write) -> None:
    truth = read_annotations(write(categories=[{"id": 3, "name": 7}, {"id": 4, "name": "8"}]))
    assert [category["name"] for category in truth.categories] == ["7", "8"]


def test_categories_of_one_name_are_found_and_are_one_in_a_repaired_file(write: Write) -> None:
    path = write(categories=[{"id": 3, "name": "cat"}, {"id": 4, "name": "cat "}])
    truth = read_annotations(path)
    assert [category["id"] for category in truth.categories] == [3, 4]
    with pytest.raises(BadFile, match="category_id 'cat' is not the id"):
        read_annotations(write(categories=truth.categories, annotations=[box(1, 1, "cat")]))
    assert truth.findings.counts("fixable") == {"repeated_category_name": 1}
    fixed = coco_from_annotations(truth)
    assert fixed["categories"] == [{"id": 3, "name": "cat"}]
    assert [one["category_id"] for one in fixed["annotations"]] == [3, 3]


def test_an_equal_picture_entry_that_is_repeated_is_one(write: Write) -> None:
    path = write(images=[picture(1), picture(2), picture("1")], annotations=[box(1, 1, 3)] * 2)
    truth = read_annotations(path)
    assert len(truth.images) == 2
    assert truth.findings.counts("repaired")["repeated_image_id"] == 1


def test_an_id_of_two_pictures_is_refused_and_means_neither(write: Write) -> None:
    path = write(images=[picture(1), picture(2), picture(2, file_name="3.jpg")])
    with pytest.raises(BadFile, match=r"images\[2\] \(id 2\): id occurs twice, .* file_name"):
        read_annotations(path)
    truth = read_annotations(path, Findings())
    assert facts(truth)["images"] == ["1.jpg"]
    assert truth.findings.counts("error") == {"repeated_image_id": 1, "reference_to_error": 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_files_in_other_encodings_of_unicode(write: Write, encoding: str) -> None:
    path = write(categories=[{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}])
    path.write_bytes(path.read_text().encode(encoding))
    read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}]', "of results"),
        (b"[]", "got a list"),
        (b"null", "got null"),
        (b'{"images": [], "annotations": []}', "categories is absent"),
        (b'{"images": {}, "annotations": [], "categories": []}', "images is {}"),
        (b'{"shapes": [], "imagePath": "a.jpg"}', "LabelMe"),
        (b'{"_via_img_metadata": {}}', "VIA project"),
        (b'{"a": 1}\n{"a": 2}\n', "JSON Lines"),
        (b"\x1f\x8b\x08\0", "gunzip"),
        (b"PK\x03\x04", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b" \n", "it is empty"),
        ('{"images": "é"}'.encode("latin-1"), "byte 12 is not UTF-8 text"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "gt.json").write_bytes(content)
    for findings in (None, Findings()):
        with pytest.raises(BadFile, match=words) as caught:
            read_annotations(tmp_path / "gt.json", findings)
        assert "\n" not in str(caught.value)


def test_a_picture_without_a_size_is_found_once(write: Write) -> None:
    images = [picture(1), {"id": 2, "file_name": "2.jpg", "width": None}]
    (error,) = read_annotations(write(images=images), Findings()).findings.errors
    assert error == {
        "kind": "image_without_size",
        "count": 1,
        "examples": [
            "images[1] (id 2): width is null and height is absent; the picture has no size: "
            "expected its width and height in pixels"
        ],
    }


def test_errors_are_collected_and_their_entries_left_out(write: Write) -> None:
    path = write(
        images=[
            picture(1),
            picture(2),
            3,
            picture(None),
            picture(5, file_name=None),
            picture(6, width=0),
        ],
        categories=[{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}, {"id": 5}, None],
        annotations=[
            *(box(1, 1, 3), box(2, 2, 4), box(3, 77, 3), box(4, 1, 88), box(5, 5, 3), box(6, 6, 3)),
            *(box(7, 1, 5), box(8, 1, 3, bbox=[1, 2]), box(9, 1, 3, iscrowd=7), "x"),
        ],
    )
    with pytest.raises(BadFile, match=r"gt\.json: images\[2\] is 3; expected an object"):
        read_annotations(path)
    truth = read_annotations(path, Findings())
    assert truth.findings.counts("error") == {
        "bad_entry": 3,
        "bad_id": 1,
        "missing_file_name": 1,
        "image_without_size": 1,
        "bad_name": 1,
        "unknown_image": 1,
        "unknown_category": 1,
        "reference_to_error": 2,
        "bad_box": 1,
        "bad_flag": 1,
    }
    examples = {one["kind"]: one["examples"] for one in truth.findings.errors}
    assert examples["unknown_image"] == [
        "annotations[2] (id 3): image_id 77 is not the id of an entry in images"
    ]
    assert examples["image_without_size"][0].startswith("images[5] (id 6): width is 0; the picture")
    # a size can be read from the picture, so the entry stays; a repaired file lacks it
    assert [(image["id"], image["width"]) for image in truth.images] == [(1, 64), (2, 64), (6, 0)]
    assert [b["id"] for b in truth.boxes] == [1, 2, 6]
    fixed = coco_from_annotations(truth)
    assert [image["id"] for image in fixed["images"]] == [1, 2]
    assert [b["id"] for b in fixed["annotations"]] == [1, 2]
