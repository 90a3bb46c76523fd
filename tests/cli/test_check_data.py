"""check-data: exit codes, the form of --json, --fix, and two sets beside each other."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome
from damaged_coco import BOXES, DAMAGES, Content, scene, write, write_good_set

cv2 = pytest.importorskip("cv2")
Call = Callable[..., Outcome]
KEYS = ["images", "boxes", "categories", "problems", "notes", "object_px"]


@pytest.fixture
def good(tmp_path: Path) -> tuple[Content, Path]:
    return write_good_set(tmp_path / "pictures", 8), tmp_path / "pictures"


def kinds(outcome: Outcome, part: str = "problems") -> dict[str, int]:
    return {one["kind"]: one["count"] for one in outcome.json[part]}


def examples(outcome: Outcome, kind: str, part: str = "problems") -> list[str]:
    (one,) = (one for one in outcome.json[part] if one["kind"] == kind)
    return list(one["examples"])


def test_a_good_set_exits_0_and_json_has_the_agreed_form(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    truth = write(content, tmp_path / "truth.json")
    outcome = call("check-data", truth, "--images", folder, "--json").fits()
    assert list(outcome.json) == KEYS
    assert outcome.json["images"] == 8
    assert outcome.json["boxes"] == 24
    assert outcome.json["categories"] == 3
    assert outcome.json["problems"] == outcome.json["notes"] == []
    assert list(outcome.json["object_px"]) == ["p10", "median", "p90"]
    assert "8 images, 24 boxes, 3 categories" in call("check-data", truth, "--images", folder).out


def test_what_is_found_exits_1_with_the_first_five_of_each_kind(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    for i in range(7):
        DAMAGES["missing"].change(content, folder, i)
    content["categories"].append({"id": 30, "name": "yak"})
    truth = write(content, tmp_path / "truth.json")
    outcome = call("check-data", truth, "--images", folder, "--json")
    outcome.fails(1, "7 (missing_picture)", "--fix")
    (one,) = outcome.json["problems"]
    assert list(one) == ["kind", "count", "examples"]
    assert (one["kind"], one["count"], len(one["examples"])) == ("missing_picture", 7, 5)
    assert kinds(outcome, "notes")["unused_category"] == 1
    text = call("check-data", truth, "--images", folder)
    assert "problem: missing_picture: 7, the first 5\n" in text.out
    assert str(folder / "0.png") in text.out


@pytest.mark.parametrize("text", ["[]", "{}", "not json", '{"images": 3}'])
def test_what_is_no_annotation_file_exits_4(call: Call, text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    call("check-data", tmp_path / "x.json", "--images", tmp_path).fails(4, "x.json")
    call("check-data", tmp_path / "none.json", "--images", tmp_path).fails(4, "none.json")


def test_a_folder_that_is_not_there_exits_4(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    truth = write(good[0], tmp_path / "truth.json")
    call("check-data", truth, "--images", tmp_path / "none").fails(4, "none is not there")
    call("check-data", truth, "--images", truth).fails(4, "is a file")


def test_options_that_are_not_enough_exit_2(call: Call, tmp_path: Path) -> None:
    call("check-data", "x.json").fails(2, "--images")
    call("check-data", "x.json", "--images", ".", "--val-images", ".").fails(2, "--val-annotations")
    call("check-data", "x.json", "--images", ".", "--val-annotations", "y").fails(2, "--val-images")


def test_an_input_is_never_written_over(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    truth = write(content, tmp_path / "truth.json")
    (tmp_path / "link.json").symlink_to(truth)
    before = truth.read_bytes()
    base = ("check-data", truth, "--images", folder)
    for target in (truth, tmp_path / "link.json"):
        call(*base, "--fix", target).fails(2, "--fix", "name another")
    val = ("--val-annotations", truth, "--val-images", folder)
    call(*base, *val, "--fix", truth).fails(2, "--fix")
    call(*base, "--fix", folder / "0.png").fails(2, "--fix")
    call(*base, "--fix", folder).fails(4, "folder")
    assert truth.read_bytes() == before


def test_fix_exits_1_where_something_was_found_and_its_file_0(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    for i, name in enumerate(["unreadable", "id_as_text", "duplicate_box", "category_again"]):
        DAMAGES[name].change(content, folder, i)
    truth, fixed = write(content, tmp_path / "truth.json"), tmp_path / "fixed.json"
    base = ("--images", folder, "--json")
    call("check-data", truth, *base, "--fix", fixed).fails(1, "problems")
    outcome = call("check-data", fixed, *base).fits()
    assert (outcome.json["images"], outcome.json["boxes"]) == (7, 21)
    clean = tmp_path / "again.json"
    call("check-data", fixed, *base, "--fix", clean).fits()
    assert json.loads(clean.read_text()) == json.loads(fixed.read_text())


def test_where_nothing_is_left_nothing_is_written(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    for i in range(8):
        DAMAGES["missing"].change(content, folder, i)
    truth, fixed = write(content, tmp_path / "truth.json"), tmp_path / "fixed.json"
    call("check-data", truth, "--images", folder, "--fix", fixed).fails(
        1, "no image", "another folder"
    )
    assert not fixed.exists()


def test_pictures_that_no_entry_names_are_a_note(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    for place in ("extra.jpg", "deep/more.png", "._0.png", ".hidden/x.png", "words.txt"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"")
    truth = write(content, tmp_path / "truth.json")
    outcome = call("check-data", truth, "--images", folder, "--json").fits()
    lines = examples(outcome, "unlisted_picture", "notes")
    assert lines == [str(folder / "extra.jpg"), str(folder / "deep/more.png")]


def test_of_a_folder_of_several_sets_only_the_listed_one_is_looked_through(
    call: Call, tmp_path: Path
) -> None:
    content = write_good_set(tmp_path / "train", 4)
    write_good_set(tmp_path / "test", 4)
    for image in content["images"]:
        image["file_name"] = f"train/{image['file_name']}"
    content["images"].pop()
    content["annotations"] = content["annotations"][:-3]
    truth = write(content, tmp_path / "truth.json")
    outcome = call("check-data", truth, "--images", tmp_path, "--json").fits()
    lines = examples(outcome, "unlisted_picture", "notes")
    assert lines == [str(tmp_path / "train" / "3.png")]


def test_what_lies_between_pictures_outside_of_the_folder_is_not_looked_through(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    """Names that lead elsewhere have a folder in common, which may be the whole disk."""
    content, folder = good
    for i, place in enumerate((tmp_path / "far", tmp_path / "wide")):
        place.mkdir()
        (folder / f"{i}.png").rename(place / f"{i}.png")
        (place / "extra.png").write_bytes(b"")
    content["images"][0]["file_name"] = str(tmp_path / "far" / "0.png")
    content["images"][1]["file_name"] = "../wide/1.png"
    truth = write(content, tmp_path / "truth.json")
    outcome = call("check-data", truth, "--images", folder, "--json").fits()
    assert "unlisted_picture" not in kinds(outcome, "notes")


def test_a_repaired_file_is_json_to_every_reader(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    content, folder = good
    content["annotations"][0] |= {"area": float("nan"), "attributes": {"blur": float("inf")}}
    truth, fixed = write(content, tmp_path / "truth.json"), tmp_path / "fixed.json"
    call("check-data", truth, "--images", folder, "--fix", fixed).fails(1, "1 (bad_area)")
    (one, *_) = json.loads(fixed.read_text())["annotations"]
    assert one["attributes"] == {"blur": None}
    assert one["area"] == one["bbox"][2] * one["bbox"][3]


def test_sets_of_a_published_layout_are_checked_and_joined(call: Call, tmp_path: Path) -> None:
    for split in ("train", "val"):
        content = write_good_set(tmp_path / f"{split}2017", 4)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        if split == "val":
            DAMAGES["id_as_text"].change(content, tmp_path, 0)
            for i in range(4):
                cv2.imwrite(str(tmp_path / "val2017" / f"{i}.png"), scene(20 + i))
        write(content, tmp_path / "annotations" / f"instances_{split}2017.json")
    fixed = tmp_path / "fixed.json"
    base = ("check-data", tmp_path, "--json", "--sets")
    call(*base, "2017:train").fits()
    outcome = call(*base, "2017:train,2017:val", "--fix", fixed)
    outcome.fails(1, "id_as_text")
    assert kinds(outcome) == {"id_as_text": 1}
    assert (outcome.json["images"], outcome.json["boxes"]) == (8, 24)
    assert examples(outcome, "id_as_text")[0].startswith("instances_val2017.json: annotations[0]")
    call(*base, "2017:train,2017:val", "--fix", fixed).fails(1, "id_as_text")
    repaired = call("check-data", fixed, "--images", tmp_path, "--json").fits()
    assert (repaired.json["images"], repaired.json["boxes"]) == (8, 24)
    call("check-data", tmp_path, "--images", tmp_path).fails(4, "--sets")
    own = tmp_path / "annotations" / "instances_val2017.json"
    call(*base, "2017:val", "--fix", own).fails(2, "--fix")


# --- two sets


@pytest.fixture
def pair(good: tuple[Content, Path], tmp_path: Path) -> tuple[tuple[object, ...], Content, Path]:
    """Arguments for two sets that share nothing, and the content and folder of the second."""
    content, folder = good
    truth = write(content, tmp_path / "truth.json")
    val = write_good_set(tmp_path / "val", 8)
    for i in range(8):
        cv2.imwrite(str(tmp_path / "val" / f"{i}.png"), scene(50 + i))
    path = write(val, tmp_path / "val.json")
    arguments = (
        *("check-data", truth, "--images", folder),
        *("--val-annotations", path, "--val-images", tmp_path / "val", "--json"),
    )
    return arguments, val, tmp_path / "val"


Pair = tuple[tuple[object, ...], Content, Path]


def _plant_copies(folder: Path) -> None:
    """Of pictures of the other set: the same bytes, half the size, quality 50, both."""
    pictures = [folder.parent / "pictures" / f"{i}.png" for i in range(4)]
    (folder / "0.png").write_bytes(pictures[0].read_bytes())
    half = [
        cv2.resize(cv2.imread(str(p)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for p in pictures
    ]
    cv2.imwrite(str(folder / "1.png"), half[1])
    quality = [cv2.IMWRITE_JPEG_QUALITY, 50]
    for i, image in ((2, cv2.imread(str(pictures[2]))), (3, half[3])):
        _, encoded = cv2.imencode(".jpg", image, quality)
        (folder / f"{i}.png").write_bytes(encoded.tobytes())


def test_pictures_in_both_sets_are_found_by_content(call: Call, pair: Pair) -> None:
    pytest.importorskip("imagehash")
    arguments, _, folder = pair
    assert call(*arguments).fits().json["notes"] == []
    _plant_copies(folder)
    outcome = call(*arguments)
    outcome.fails(1, "4 (picture_in_both)")
    assert kinds(outcome) == {"picture_in_both": 4}
    lines = examples(outcome, "picture_in_both")
    for i, (line, how) in enumerate(zip(lines, ("same bytes", *["looks"] * 3), strict=True)):
        assert line.startswith(f"{i}.png of val.json is {i}.png of truth.json")
        assert how in line


def test_without_the_hash_bytes_are_compared_and_that_is_said(
    call: Call, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, _, folder = pair
    _plant_copies(folder)
    monkeypatch.setitem(sys.modules, "imagehash", None)
    outcome = call(*arguments)
    assert kinds(outcome) == {"picture_in_both": 1}
    assert ".[check]" in examples(outcome, "copies_not_looked_for", "notes")[0]


def test_copies_within_a_set_are_a_note(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    pytest.importorskip("imagehash")
    content, folder = good
    (folder / "5.png").write_bytes((folder / "1.png").read_bytes())
    half = cv2.resize(cv2.imread(str(folder / "2.png")), None, fx=0.5, fy=0.5)
    cv2.imwrite(str(folder / "6.png"), half)
    truth = write(content, tmp_path / "truth.json")
    outcome = call("check-data", truth, "--images", folder, "--json").fits()
    lines = examples(outcome, "near_duplicate", "notes")
    assert lines == [
        "5.png is 1.png again (the same bytes)",
        "6.png is 2.png again (looks the same)",
    ]


def test_a_class_that_one_set_lacks(call: Call, pair: Pair) -> None:
    arguments, val, folder = pair
    val["categories"][0]["name"] = "yak"
    val["categories"][1]["name"] = "Dog"
    val["categories"].append({"id": 9, "name": "empty"})
    write(val, folder.parent / "val.json")
    outcome = call(*arguments)
    assert kinds(outcome) == {"class_not_learned": 2}
    assert examples(outcome, "class_not_learned") == [
        "category 'Dog' of val.json is not in truth.json (did you mean 'dog'?); 8 boxes are of it",
        "category 'yak' of val.json is not in truth.json; 8 boxes are of it",
    ]
    notes = kinds(outcome, "notes")
    assert (notes["class_not_learned"], notes["class_not_evaluated"]) == (1, 2)


def test_faults_of_the_second_set_are_found_and_name_it(call: Call, pair: Pair) -> None:
    arguments, val, folder = pair
    DAMAGES["missing"].change(val, folder, 3)
    outcome = call(*arguments)
    assert kinds(outcome) == {"missing_picture": 1}
    assert examples(outcome, "missing_picture")[0].startswith("val.json: images[3] (id 4)")


# --- the other commands take the repaired file


def _damaged_without_loss(content: Content, folder: Path) -> None:
    """Faults that can all be mended so that the values are those of the good file."""
    names = ("id_as_text", "duplicate_box", "category_again", "blanks", "null_flag", "swapped")
    for i, name in enumerate((*names, "picture_again")):
        DAMAGES[name].change(content, folder, i)


def test_eval_gives_the_numbers_of_the_good_file(
    call: Call, good: tuple[Content, Path], tmp_path: Path
) -> None:
    pytest.importorskip("hotcoco")
    content, folder = good
    results = [
        {"image_id": b["image_id"], "category_id": b["category_id"], "score": 0.5 + i / 100,
         "bbox": [b["bbox"][0] + i, *b["bbox"][1:]]}
        for i, b in enumerate(content["annotations"])
    ]  # fmt: skip
    detections = tmp_path / "results.json"
    detections.write_text(json.dumps(results))
    truth = write(copy.deepcopy(content), tmp_path / "good.json")
    _damaged_without_loss(content, folder)
    damaged, fixed = write(content, tmp_path / "damaged.json"), tmp_path / "fixed.json"
    call("check-data", damaged, "--images", folder, "--fix", fixed).fails(1)

    def metrics(path: Path) -> Any:
        scored = call("eval", "--detections", detections, "--annotations", path, "--json").fits()
        return scored.json["metrics"]

    assert metrics(fixed) == metrics(truth)
    assert 0 < metrics(truth)["AP"] < 1


@pytest.mark.slow
def test_train_and_eval_accept_the_repaired_file(call: Call, tmp_path: Path) -> None:
    """Every damage at once: training ends well and scores its network on the same file."""
    pytest.importorskip("torchvision")
    folder = tmp_path / "pictures"
    content = write_good_set(folder, len(DAMAGES) + 8)
    for i, damage in enumerate(DAMAGES.values()):
        damage.change(content, folder, i)
    damaged, fixed = write(content, tmp_path / "damaged.json"), tmp_path / "fixed.json"
    call("check-data", damaged, "--images", folder, "--fix", fixed).fails(1)
    outcome = call(
        *("train", "--model", "mobilenet_v1", "--width", 0.1, "--batch", 2, "--iterations", 1),
        *("--workers", 0, "--threads", 1, "--device", "cpu", "--annotations", fixed),
        *("--images", folder, "--val-annotations", fixed, "--val-images", folder),
        *("--output", tmp_path / "run", "--json"),
    ).fits()
    kept = json.loads(fixed.read_text())
    assert outcome.json["dataset"]["images"] == len(kept["images"])
    assert outcome.json["dataset"]["boxes"] == len(kept["annotations"])
    assert len(kept["annotations"]) > len(BOXES) * (len(content["images"]) - 8)
