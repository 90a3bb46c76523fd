"""Every fault of a data set is found and counted, and the repaired file has none."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from damaged_coco import (
    BOXES,
    DAMAGES,
    HEIGHT,
    WIDTH,
    Content,
    check,
    copy_of,
    counts,
    fixed,
    problems,
    scene,
    write,
    write_good_set,
)

from ssd_small.datasets.check import content_from_check
from ssd_small.errors import CheckFailed

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write(write_good_set(folder, len(DAMAGES) + 8), folder / "truth.json")
    return folder


@pytest.fixture
def good(pictures: Path, tmp_path: Path) -> tuple[Content, Path]:
    """Content of the file, and a folder of its pictures that may be damaged."""
    return copy_of(pictures, tmp_path / "pictures")


def test_a_good_set_is_clean_and_stays_as_it_is(good: tuple[Content, Path]) -> None:
    content, folder = good
    found = check(content, folder)
    assert found.findings.problems == []
    assert found.findings.notes == []
    report = found.to_dict()
    assert (report["images"], report["boxes"], report["categories"]) == (
        len(content["images"]),
        len(content["annotations"]),
        3,
    )
    # by hand: sqrt(w * h * 300 / 160 * 300 / 120) of each of the three boxes, a third of all each
    sides = sorted((w * h * 300 / WIDTH * 300 / HEIGHT) ** 0.5 for _, _, w, h in BOXES)
    assert list(report["object_px"].values()) == pytest.approx(sides, abs=0.006)
    assert fixed(content, folder) == content


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_alone(name: str, good: tuple[Content, Path]) -> None:
    content, folder = good
    damage = DAMAGES[name]
    damage.change(content, folder, 2)
    assert problems(content, folder) == {damage.kind: damage.count}
    assert problems(fixed(content, folder), folder) == {}


def test_every_damage_at_once_is_counted_by_kind(good: tuple[Content, Path]) -> None:
    content, folder = good
    expected: Counter[str] = Counter()
    for i, damage in enumerate(DAMAGES.values()):
        damage.change(content, folder, i)
        expected[damage.kind] += damage.count
    found = check(content, folder)
    assert counts(found.findings.problems) == expected
    assert problems(fixed(content, folder), folder) == {}


def test_what_can_be_mended_without_loss_is_what_it_was(good: tuple[Content, Path]) -> None:
    content, folder = good
    original = copy.deepcopy(content)
    names = (
        *("swapped", "wrong_size", "no_size", "size_as_text", "id_as_text", "duplicate_box"),
        *("picture_again", "category_again", "category_of_same_name", "blanks", "null_flag"),
    )
    for i, name in enumerate(names):
        DAMAGES[name].change(content, folder, i)
    repaired = fixed(content, folder)
    for entries in ("images", "annotations", "categories"):
        by_id = {one["id"]: one for one in repaired[entries]}
        assert by_id == {one["id"]: one for one in original[entries]}
    assert repaired["info"] == original["info"]


def test_messages_name_list_index_id_and_the_full_path(good: tuple[Content, Path]) -> None:
    content, folder = good
    content["images"][4]["file_name"] = "deep/none.png"
    content["annotations"][10]["image_id"] = 999
    found = {one["kind"]: one["examples"] for one in check(content, folder).findings.problems}
    (missing,) = found["missing_picture"]
    assert missing.startswith("images[4] (id 5)")
    assert str(folder / "deep/none.png") in missing
    (unknown,) = found["unknown_image"]
    assert unknown.startswith("annotations[10] (id 11)")
    assert "image_id 999" in unknown


def test_messages_place_entries_as_the_file_has_them(good: tuple[Content, Path]) -> None:
    """Whatever ids they go on with, and whatever stands before them."""
    content, folder = good
    for box in content["annotations"]:
        box["id"] = 0
    content["annotations"] = [{"id": 0}, *content["annotations"], content["annotations"][7]]
    content["images"][0] |= {"id": "img_a", "file_name": "gone.jpg"}
    content["images"].insert(0, None)
    found = {one["kind"]: one["examples"] for one in check(content, folder).findings.problems}
    assert found["missing_picture"][0].startswith("images[1] (id 'img_a'): no file")
    copy_at = len(content["annotations"]) - 1
    assert found["duplicate_box"][0].startswith(f"annotations[{copy_at}] of ")
    assert found["duplicate_box"][0].endswith("is that of annotations[8] again")


def test_of_many_the_first_five_are_shown(good: tuple[Content, Path]) -> None:
    content, folder = good
    for i in range(7):
        (folder / f"{i}.png").unlink()
    (one,) = check(content, folder).findings.problems
    assert one["count"] == 7
    assert len(one["examples"]) == 5


# --- names


def test_names_of_another_system_are_a_note(good: tuple[Content, Path]) -> None:
    content, folder = good
    (folder / "deep").mkdir()
    (folder / "0.png").rename(folder / "deep" / "0.png")
    content["images"][0]["file_name"] = "deep\\0.png"
    found = check(content, folder)
    assert found.findings.problems == []
    assert counts(found.findings.notes) == {"respelled_name": 1}


def test_two_names_that_would_be_one_file_are_left_out(good: tuple[Content, Path]) -> None:
    """One of them is another picture, and which one it is nobody knows."""
    content, folder = good
    content["images"][3]["file_name"] = "C:\\pictures\\2.png"
    assert problems(content, folder) == {"names_of_one_file": 1}
    repaired = fixed(content, folder)
    assert [image["id"] for image in repaired["images"]][:4] == [1, 2, 3, 5]
    assert problems(repaired, folder) == {}


# --- fractions


def test_boxes_as_fractions_are_found_and_fixed_into_pixels(good: tuple[Content, Path]) -> None:
    content, folder = good
    original = copy.deepcopy(content)
    for box in content["annotations"]:
        x, y, w, h = box["bbox"]
        box["bbox"] = [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]
        box["area"] = w / WIDTH * h / HEIGHT
        box["segmentation"] = [[x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT, 0, 0]]
    assert set(problems(content, folder)) == {"boxes_as_fractions"}
    repaired = fixed(content, folder)
    assert problems(repaired, folder) == {}
    boxes = np.array([box["bbox"] for box in repaired["annotations"]])
    assert boxes == pytest.approx(np.array([box["bbox"] for box in original["annotations"]]))
    x, y, w, h = BOXES[0]
    outline = repaired["annotations"][0]["segmentation"]
    assert outline == [pytest.approx([x, y, x + w, y + h, 0, 0])]
    areas = [box["area"] for box in repaired["annotations"]]
    assert areas == pytest.approx([box["area"] for box in original["annotations"]])


def test_one_box_in_pixels_makes_the_others_no_fractions(good: tuple[Content, Path]) -> None:
    content, folder = good
    for box in content["annotations"][1:]:
        box["bbox"] = [0.25, 0.25, 0.5, 0.5]
    found = problems(content, folder)
    assert "boxes_as_fractions" not in found


# --- sizes


def _turned(folder: Path, name: str, orientation: int = 6) -> None:
    """A picture whose EXIF orientation turns it; stored WIDTH x HEIGHT."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene(1)).save(folder / name, exif=exif)


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (HEIGHT, WIDTH)])
def test_a_turned_picture_fits_in_both_frames(
    size: tuple[int, int], good: tuple[Content, Path]
) -> None:
    content, folder = good
    _turned(folder, "turned.jpg")
    content["images"][0] |= {"file_name": "turned.jpg", "width": size[0], "height": size[1]}
    content["annotations"][2]["bbox"] = [10, 10, 20, 20]
    (folder / "0.png").unlink()
    assert problems(content, folder) == {}


@pytest.mark.parametrize(
    ("other", "told"),
    [((WIDTH, HEIGHT), "1 others are annotated as stored"), (None, "no other picture tells"),
     ((HEIGHT, WIDTH), None)],
)  # fmt: skip
def test_a_half_turn_is_told_by_the_other_pictures_of_a_set_alone(
    other: tuple[int, int] | None, told: str | None, good: tuple[Content, Path]
) -> None:
    content, folder = good
    for image, orientation in zip(content["images"], (3, 6), strict=False):
        if orientation == 3 or other is not None:
            _turned(folder, f"{orientation}.jpg", orientation)
            (folder / image["file_name"]).unlink()
            image["file_name"] = f"{orientation}.jpg"
    if other is not None:
        content["images"][1] |= {"width": other[0], "height": other[1]}
        for box in content["annotations"]:
            if box["image_id"] == content["images"][1]["id"]:
                box["bbox"] = [10, 10, 20, 20 + box["id"]]
    findings = check(content, folder).findings
    notes = [one for one in findings.notes if one["kind"] == "untold_orientation"]
    assert [one["count"] for one in notes] == ([] if told is None else [1])
    assert all(told in text for one in notes for text in one["examples"])
    assert findings.problems == []


def test_a_turned_picture_without_size_has_the_frame_of_its_boxes(
    good: tuple[Content, Path],
) -> None:
    content, folder = good
    _turned(folder, "turned.jpg")
    content["images"][0] |= {"file_name": "turned.jpg", "width": None, "height": None}
    repaired = fixed(content, folder)
    assert (repaired["images"][0]["width"], repaired["images"][0]["height"]) == (WIDTH, HEIGHT)
    content["annotations"][2]["bbox"] = [60, 110, 45, 45]
    repaired = fixed(content, folder)
    assert (repaired["images"][0]["width"], repaired["images"][0]["height"]) == (HEIGHT, WIDTH)


def test_pictures_that_were_scaled_as_a_whole_are_left_out(good: tuple[Content, Path]) -> None:
    """All stretched to a square, the boxes as before: what fits by chance proves nothing."""
    content, folder = good
    for file in folder.glob("*.png"):
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), (140, 140)))
    found = check(content, folder)
    assert counts(found.findings.problems)["size_mismatch"] == len(content["images"])
    assert found.images == []
    with pytest.raises(CheckFailed, match="no image"):
        content_from_check(found)


def test_a_picture_of_another_scale_is_a_note(good: tuple[Content, Path]) -> None:
    content, folder = good
    half = cv2.resize(cv2.imread(str(folder / "3.png")), (WIDTH // 2, HEIGHT // 2))
    cv2.imwrite(str(folder / "3.png"), half)
    found = check(content, folder)
    assert found.findings.problems == []
    assert counts(found.findings.notes) == {"scaled_picture": 1}
    assert fixed(content, folder) == content


# --- notes


def test_what_is_only_worth_knowing_is_a_note(good: tuple[Content, Path]) -> None:
    content, folder = good
    content["annotations"][0] |= {"bbox": [-5, 10, 40, 30], "iscrowd": 1}
    content["annotations"][3] |= {"bbox": [10, 10, 3, 2]}
    content["annotations"] = [b for b in content["annotations"] if b["image_id"] != 5]
    content["categories"].append({"id": 8, "name": "Cat"})
    found = check(content, folder)
    assert found.findings.problems == []
    assert counts(found.findings.notes) == {
        "clipped_box": 1,
        "crowd": 1,
        "tiny_objects": 1,
        "picture_without_boxes": 1,
        "unused_category": 1,
        "similar_categories": 1,
    }
    (tiny,) = (one for one in found.findings.notes if one["kind"] == "tiny_objects")
    assert "px at 300x300" in tiny["examples"][0]
    assert fixed(content, folder) == content


def test_a_test_set_without_annotations_has_no_problem(good: tuple[Content, Path]) -> None:
    content, folder = good
    del content["annotations"]
    found = check(content, folder)
    assert found.findings.problems == []
    assert "no_annotations" in counts(found.findings.notes)
    assert fixed(content, folder) == content


def test_a_set_that_holds_nothing_to_learn_is_a_problem(good: tuple[Content, Path]) -> None:
    content, folder = good
    content["annotations"] = []
    assert problems(content, folder) == {"no_objects": 1}
