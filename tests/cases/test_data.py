"""Annotations and pictures as people's tools write them (shared cases of data)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

pytestmark = pytest.mark.slow
Call = Callable[..., Outcome]
#: network that the annotated pictures of the cases were made for
NETWORK = ("--model", "mobilenet_v1_s1l0", "--weights", "digits/mobilenet_v1_s1l0")

#: of the network on the cases' four pictures, by PyTorch and the published protocol; as
#: the cases state it, four digits each
AP = {"AP": 0.5157, "AP50": 0.7568, "AP_small": 0.4859, "AP_medium": 0.8147}


def evaluated(call: Call, annotations: Path, images: Path) -> dict[str, Any]:
    data = ("--annotations", annotations, "--images", images)
    done = call("eval", *NETWORK, "--protocol", "coco", *data, "--json")
    assert done.code == 0, done.err
    report: dict[str, Any] = done.json
    return report


def assert_right(metrics: dict[str, float]) -> None:
    # half a unit of the fourth digit
    assert {key: metrics[key] for key in AP} == pytest.approx(AP, abs=5e-5)


def converted(call: Call, tmp_path: Path, folder: Path, *options: object) -> dict[str, Any]:
    """COCO content that ``convert`` and ``convert-voc`` make of a VOC folder, which is the same."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    old = call("convert-voc", "--folder", folder, *options, "-o", first)
    new = call("convert", "--from", "voc", folder, *options, "-o", second)
    assert (old.code, new.code) == (0, 0), old.err + new.err
    content: dict[str, Any] = json.loads(first.read_text())
    assert content == json.loads(second.read_text())
    return content


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("eval_exif_stored_frame", "tagged"),
        ("eval_exif_stored_frame", "plain"),
        ("labelstudio_windows_paths", "data"),
        ("via_repeated_categories_text_ids", "plain"),
    ],
)
def test_a_tools_file_scores_as_the_plain_one(
    call: Call, shared_cases: Path, name: str, images: str
) -> None:
    folder = shared_cases / "data" / name
    assert_right(evaluated(call, folder / "gt.json", folder / images)["metrics"])


def test_training_learns_and_scores_in_the_annotated_frame(
    call: Call, shared_cases: Path, tmp_path: Path
) -> None:
    folder = shared_cases / "data" / "eval_exif_stored_frame"
    recipe = ("--width", 0.25, "--init-scope", "all", "--lr", 1e-7, "--batch", 4, "--workers", 0)

    def score(images: str) -> float:
        data = ("--annotations", folder / "gt.json", "--images", folder / images)
        scored = ("--val-annotations", folder / "gt.json", "--val-images", folder / images)
        run = ("train", *NETWORK, *recipe, "--iterations", 1, *data, *scored)
        done = call(*run, "-o", tmp_path / images, "--json").fits()
        result: float = done.json["metrics"]["AP"]
        return result

    # the weights hardly move, but batch norms take a tenth of these four pictures' statistics
    assert score("tagged") == score("plain") == pytest.approx(AP["AP"], abs=0.02)


def test_a_category_of_another_name_is_named_with_its_near_match(
    call: Call, shared_cases: Path
) -> None:
    folder = shared_cases / "data" / "eval_one_name_differs"
    done = call("eval", *NETWORK, "--annotations", folder / "gt.json", "--images", folder / "plain")
    names = {str(c["name"]) for c in json.loads((folder / "gt.json").read_text())["categories"]}
    (stranger,) = names - set("0123456789")
    assert done.code == 4
    assert stranger in done.err


@pytest.mark.parametrize("command", ["eval", "train"])
def test_boxes_as_fractions_are_refused(
    call: Call, shared_cases: Path, tmp_path: Path, command: str
) -> None:
    folder = shared_cases / "data" / "boxes_as_fractions"
    data = ("--annotations", folder / "gt.json", "--images", folder / "plain")
    if command == "eval":
        done = call("eval", *NETWORK, *data)
    else:
        recipe = ("--model", "mobilenet_v1", "--width", 0.25, "--batch", 2, "--iterations", 2)
        done = call("train", *recipe, *data, "-o", tmp_path / "run")
    assert done.code == 4
    assert "fractions" in done.err


def test_an_attribute_that_is_null_is_left_at_its_default(call: Call, shared_cases: Path) -> None:
    folder = shared_cases / "data" / "iscrowd_null"
    done = call(
        "eval", "--detections", folder / "det.json", "--annotations", folder / "gt.json", "--json"
    )
    assert (done.code, done.json["metrics"]["AP"]) == (0, 1.0)


def test_every_picture_of_a_folder_is_taken(call: Call, shared_cases: Path) -> None:
    folder = shared_cases / "data" / "detect_folder_skips_silently" / "pictures"
    done = call("detect", *NETWORK, folder, "--json")
    names = [Path(json.loads(line)["image"]).name for line in done.out.splitlines()]
    assert (done.code, names) == (0, sorted(path.name for path in folder.iterdir()))


def test_a_jpeg_without_its_end_is_read_and_a_float_picture_named(
    call: Call, shared_cases: Path
) -> None:
    folder = shared_cases / "data" / "jpeg_without_end_marker" / "pictures"
    done = call("detect", *NETWORK, folder, "--json")
    entries = {Path(e["image"]).name: e for e in map(json.loads, done.out.splitlines())}
    assert done.code == 4
    assert "error" not in entries["no_end.jpg"]
    assert "float" in entries["float.tif"]["error"]


def test_the_whole_name_of_a_missing_picture_is_shown(call: Call, shared_cases: Path) -> None:
    folder = shared_cases / "data" / "message_hides_subfolder"
    annotations, images = folder / "gt.json", folder / "data/val"
    done = call("eval", *NETWORK, "--annotations", annotations, "--images", images)
    assert done.code == 0 or (done.code == 4 and "val/000001.jpg" in done.err)
    assert_right(evaluated(call, annotations, folder / "data")["metrics"])


def test_small_shared_memory_does_not_stop_a_training(shared_cases: Path, tmp_path: Path) -> None:
    folder = shared_cases / "data" / "train_hangs_in_small_shm"
    mount = "mount -t tmpfs -o size=4m tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("not executed here: no private mount is permitted, as in a GPU container")
    command = (
        f'{mount} && exec "{sys.executable}" -m ssd_small train --model mobilenet_v1 --width 0.25 '
        f'--batch 4 --iterations 2 --workers 2 --annotations "{folder}/gt.json" '
        f'--images "{folder}/plain" -o "{tmp_path}/run"'
    )
    started = time.monotonic()
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command], stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        _, stderr = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail(f"still waiting after {time.monotonic() - started:.0f} s")
    assert "Traceback" not in stderr
    assert process.returncode == 0 or (
        process.returncode == 3 and "--workers 0" in stderr and "--shm-size" in stderr
    )


@pytest.mark.parametrize(
    ("name", "folder", "options", "files"),
    [
        ("voc_appledouble", "voc", (), {"a.jpg": 1}),
        ("voc_cvat_subfolders", "voc", (), {"cam1/a.jpg": 1, "cam2/a.jpg": 1}),
        ("voc_cvat_subfolders", "voc", ("--split", "default"), {"cam1/a.jpg": 1, "cam2/a.jpg": 1}),
        ("voc_cvat_subfolders", "voc-mixed", (), {"a.jpg": 1, "cam2/b.jpg": 1}),
        ("voc_flat_folder", "voc", (), {"a.jpg": 1}),
        ("voc_flat_folder", "voc-kaggle", (), {"a.png": 1}),
        ("voc_difficult_unspecified", "voc", (), {"a.jpg": 1}),
        ("voc_same_stem_other_ending", "voc", (), {"a.jpg": 1, "b.jpg": 1}),
    ],
)
def test_voc_as_tools_write_it(
    call: Call,
    shared_cases: Path,
    tmp_path: Path,
    name: str,
    folder: str,
    options: tuple[str, ...],
    files: dict[str, int],
) -> None:
    content = converted(call, tmp_path, shared_cases / "data" / name / folder, *options)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    counts = dict.fromkeys(names.values(), 0)
    for box in content["annotations"]:
        counts[names[box["image_id"]]] += 1
    assert counts == files


def test_an_unspecified_flag_is_none(call: Call, shared_cases: Path, tmp_path: Path) -> None:
    folder = shared_cases / "data" / "voc_difficult_unspecified" / "voc"
    (box,) = converted(call, tmp_path, folder)["annotations"]
    assert (box["iscrowd"], box["bbox"]) == (0, [9, 19, 41, 41])
