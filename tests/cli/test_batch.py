"""``ssd-small batch`` in one process, as a user sees it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_disk import file_size_limit, on_small_disk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures, the fourth of them damaged."""
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(1)
    for number in range(10):
        pixels = random.integers(0, 255, (60, 80, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{number:03}.png"), pixels)
    (folder / "003.png").write_bytes(b"none")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    """What a job has written; of the summary all but the time it took."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    if "summary.json" in found:
        summary = json.loads(found["summary.json"])
        assert summary.pop("seconds") > 0
        found["summary.json"] = json.dumps(summary).encode()
    return found


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted((folder / "shards").iterdir()):
        if path.suffix == ".jsonl":
            rows += map(json.loads, path.read_text().splitlines())
        else:
            parquet = pytest.importorskip("pyarrow.parquet")
            rows += parquet.read_table(path).to_pylist()
    return rows


def _detected(call, engine, *pictures: Path, threshold: float) -> list[dict[str, Any]]:
    """The rows that ``detect --json`` comes to."""
    # a network has other last bits in a batch of another size, and shards make other batches
    words = ("--score-threshold", threshold, "--json", "--batch", 1)
    lines = call("detect", "--engine", engine, *pictures, *words).out.splitlines()
    return [
        {**{key: entry[key] for key in ("image", "width", "height")}, **found}
        for entry in map(json.loads, lines)
        for found in entry.get("detections", ())
    ]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_are_those_of_detect_above_the_engines_own_threshold(
    call, engine, many, tmp_path, form
):
    out = tmp_path / "out"
    run = ("batch", engine, many, "-o", out, "--format", form, "--shard-size", 4, "--json")
    run = (*run, "--batch", 1)
    outcome = call(*run, "--max-errors", 1).fits()
    expected = _detected(call, engine, many, threshold=0.01)
    assert _rows(out) == expected
    assert len(expected) > 20
    shards = [path.name for path in sorted((out / "shards").iterdir())]
    assert shards == [f"{index:05}.{form}" for index in range(3)]
    summary = outcome.json
    assert summary == json.loads((out / "summary.json").read_text())
    assert list(summary) == ["pictures", "detections", "errors", "seconds", "fingerprint"]
    assert (summary["pictures"], summary["errors"]) == (10, 1)
    assert summary["detections"] == len(expected)


def test_parquet_has_its_types(call, engine, pictures, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    call("batch", engine, pictures, "-o", tmp_path / "out").fits()
    schema = parquet.read_schema(tmp_path / "out" / "shards" / "00000.parquet")
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "image: string",
        "width: int32",
        "height: int32",
        "box: fixed_size_list<element: double>[4]",
        "label: int32",
        "name: string",
        "score: double",
    ]


def test_the_last_line_has_the_pace(call, engine, pictures, tmp_path):
    said = call("batch", engine, pictures, "-o", tmp_path / "out").fits().out
    assert said.startswith("2 pictures, ")
    assert "pictures/s" in said


def test_unreadable_pictures_are_lines_in_their_order(call, engine, many, tmp_path):
    out, absent = tmp_path / "out", tmp_path / "absent.png"
    outcome = call("batch", engine, absent, many, "-o", out, "--shard-size", 3)
    outcome.fails(1, "2 of 11 pictures could not be read", "--max-errors 0", "errors.jsonl")
    errors = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert [one["image"] for one in errors] == [str(absent), str(many / "003.png")]
    assert "does not exist" in errors[0]["error"]
    assert "not an image" in errors[1]["error"]
    assert {row["image"] for row in _rows(out)} == {
        str(path) for path in many.iterdir() if path.name != "003.png"
    }


def test_resuming_gives_the_same_bytes_and_does_what_is_missing_alone(call, engine, many, tmp_path):
    words = ("--shard-size", 4, "--max-errors", 1)
    one, two = tmp_path / "one", tmp_path / "two"
    call("batch", engine, many, "-o", one, *words).fits()
    call("batch", engine, many, "-o", two, *words, "--threads", 1).fits()
    assert _files(one) == _files(two)
    (two / "shards" / "00001.parquet").unlink()
    (two / "summary.json").unlink()
    kept = (two / "shards" / "00000.parquet").stat().st_mtime_ns
    (two / "shards" / ".ssd-small-0123abcd.part").write_bytes(b"of a process that was killed")
    call("batch", engine, many, "-o", two, *words).fails(2, "2 of 3 shards done", "--resume")
    said = call("batch", engine, many, "-o", two, *words, "--resume").fits().err
    assert "2 of 3 shards are done already" in said
    assert _files(one) == _files(two)
    assert (two / "shards" / "00000.parquet").stat().st_mtime_ns == kept


def test_a_folder_of_another_job_is_refused_untouched(call, engine, many, pictures, tmp_path):
    out = tmp_path / "out"
    call("batch", engine, pictures, "-o", out).fits()
    before, changed = _files(out), out.stat().st_mtime_ns
    for words in (
        (many, "--resume"),
        (many,),
        (pictures, "--resume", "--score-threshold", 0.3),
        (pictures, "--resume", "--shard-size", 1),
    ):
        call("batch", engine, *words, "-o", out).fails(2, "holds another job")
    call("batch", engine, pictures, "-o", out).fails(2, "this very job, complete", "--resume")
    assert (_files(out), out.stat().st_mtime_ns) == (before, changed)


def test_a_folder_of_something_else_is_refused_untouched(call, engine, pictures, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for words in ((), ("--resume",)):
        call("batch", engine, pictures, "-o", tmp_path, *words).fails(2, "holds mine.txt")
    call("batch", engine, pictures, "-o", pictures).fails(2, "holds a.jpg")
    assert os.listdir(tmp_path) == ["mine.txt"]
    assert sorted(os.listdir(pictures)) == ["a.jpg", "b.png"]


def test_a_complete_job_is_put_together_again_without_the_engine_at_work(
    call, engine, pictures, tmp_path
):
    out = tmp_path / "out"
    call("batch", engine, pictures, "-o", out).fits()
    before = _files(out)
    call("batch", engine, pictures, "-o", out, "--resume", "--coco").fits()
    after = _files(out)
    assert json.loads(after.pop("results.json"))
    assert after == before


def test_coco_results_have_the_ids_of_the_ground_truth(
    call, engine, pictures, truth, saved, tmp_path
):
    truth["images"][0]["id"], truth["annotations"][0]["image_id"] = 41, 41
    annotations, out = saved(truth), tmp_path / "out"
    words = ("--coco", "--annotations", annotations)
    call("batch", engine, pictures, "-o", out, *words, "--shard-size", 1).fits()
    results = json.loads((out / "results.json").read_text())
    assert {one["image_id"] for one in results} == {41, 2}
    assert {one["category_id"] for one in results} <= {7, 9}
    assert [round(one["score"], 6) for one in results] == [row["score"] for row in _rows(out)]
    evaluated = ("eval", "--annotations", annotations, "--detections", out / "results.json")
    assert "2 images" in call(*evaluated).fits().out


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_coco_results_are_those_of_eval_to_the_bit(
    threshold, call, engine, pictures, truth, saved, tmp_path
):
    """Boxes clipped to the picture score otherwise: what decode + NMS gave is what counts."""
    annotations, out, own = saved(truth), tmp_path / "out", tmp_path / "own.json"
    data = ("--annotations", annotations, "--images", pictures)
    call("eval", "--engine", engine, *data, "--save-detections", own, "--batch", 1).fits()
    expected = json.loads(own.read_text())
    width, height = truth["images"][0]["width"], truth["images"][0]["height"]
    corners = [(x + w, y + h) for x, y, w, h in (one["bbox"] for one in expected)]
    assert any(x > width or y > height for x, y in corners), "no box reaches over the border"
    words = ("--coco", "--annotations", annotations, "--batch", 1)
    if threshold is not None:
        expected = [one for one in expected if one["score"] > np.float32(threshold)]
        words = (*words, "--score-threshold", threshold)
    call("batch", engine, pictures, "-o", out, *words, "--format", "jsonl").fits()
    assert json.loads((out / "results.json").read_text()) == expected
    assert len(_rows(out)) == len(expected)


def test_coco_results_are_in_pixels_of_the_annotated_picture(
    call, engine, pictures, truth, saved, tmp_path
):
    """As ``eval`` has it, where pictures were made smaller after they were annotated."""
    words = ("batch", engine, pictures, "--format", "jsonl", "--coco")
    found = []
    for factor in (1, 2):
        sizes = {name: factor * truth["images"][0][name] for name in ("width", "height")}
        truth["images"][0] |= sizes
        out = tmp_path / str(factor)
        call(*words, "--annotations", saved(truth), "-o", out).fits()
        results = json.loads((out / "results.json").read_text())
        first = truth["images"][0]["id"]
        found.append([one["bbox"] for one in results if one["image_id"] == first])
    assert found[0]
    assert np.array_equal(2 * np.array(found[0]), found[1])


def test_a_damaged_file_of_exact_boxes_is_named(call, engine, pictures, tmp_path):
    out = tmp_path / "out"
    words = ("batch", engine, pictures, "-o", out, "--format", "jsonl", "--coco")
    call(*words).fits()
    path = out / "records" / "00000.npy"
    whole = path.read_bytes()
    for content in (b"", whole[:-4], whole[:40], b"x" + whole[1:]):
        path.write_bytes(content)
        call(*words, "--resume").fails(4, "00000.npy is damaged", "remove it and --resume")
    path.unlink()
    call(*words, "--resume").fits()
    assert path.read_bytes() == whole


def test_pictures_that_the_ground_truth_lacks_are_refused_before_any_work(
    call, engine, many, truth, saved, tmp_path
):
    words = ("--coco", "--annotations", saved(truth), "-o", tmp_path / "out")
    call("batch", engine, many, *words).fails(4, "has no picture", "000.png")
    assert not (tmp_path / "out").exists()


def test_pictures_that_coco_results_would_count_twice_are_refused(
    call, engine, pictures, truth, saved, tmp_path
):
    twice = (pictures / "a.jpg", pictures / "b.png", pictures / "a.jpg")
    out = ("-o", tmp_path / "out")
    call("batch", engine, *twice, *out, "--coco").fails(2, "a.jpg is among the pictures twice")
    (tmp_path / "copy").mkdir()
    copy = shutil.copy(pictures / "a.jpg", tmp_path / "copy")
    words = ("--coco", "--annotations", saved(truth), *out)
    call("batch", engine, pictures, copy, *words).fails(2, "copy/a.jpg", f"{pictures / 'a.jpg'}")
    assert not (tmp_path / "out").exists()
    call("batch", engine, *twice, *out).fits()


def test_a_picture_annotated_in_another_frame_has_no_coco_results(
    call, engine, pictures, truth, saved, tmp_path
):
    first = truth["images"][0]
    first["width"], first["height"] = first["height"], first["width"]
    truth["annotations"] = []
    words = ("batch", engine, pictures, "-o", tmp_path / "out")
    data = ("--annotations", saved(truth))
    call(*words, "--coco", *data).fails(4, "is 80x60 but annotated as 60x80")
    call(*words, "--resume").fits()


def test_coco_results_without_any_detection_are_a_list(call, engine, pictures, tmp_path):
    out = tmp_path / "out"
    call("batch", engine, pictures, "-o", out, "--coco", "--score-threshold", 0.999).fits()
    assert json.loads((out / "results.json").read_text()) == []
    assert _rows(out) == []


def test_addresses_are_read(call, engine, pictures, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in pictures.iterdir():
        memory.pipe(f"/batch/{path.name}", path.read_bytes())
    out = tmp_path / "out"
    absent, ones = "memory://batch/absent.png", ("--batch", 1)
    outcome = call("batch", engine, "memory://batch", absent, "-o", out, "--format", "jsonl", *ones)
    outcome.fails(1, "1 of 3")
    rows = _rows(out)
    expected = _detected(call, engine, pictures, threshold=0.01)
    names = {"a.jpg": "memory:///batch/a.jpg", "b.png": "memory:///batch/b.png"}
    for row in expected:
        row["image"] = names[Path(row["image"]).name]
    assert rows == expected
    assert absent in (out / "errors.jsonl").read_text()


def test_pictures_are_cut_into_tiles(call, engine, pictures, tmp_path):
    out = tmp_path / "out"
    words = ("--tiles", "40x40")
    call("batch", engine, pictures, "-o", out, *words).fits()
    detect = ("detect", "--engine", engine, pictures, *words, "--score-threshold", 0.01, "--json")
    found = [json.loads(line)["detections"] for line in call(*detect).out.splitlines()]
    own = [{k: row[k] for k in ("box", "label", "name", "score")} for row in _rows(out)]
    assert own == [one for each in found for one in each]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", 2), "--workers goes with --ray"),
        (("--gpus-per-worker", 1), "--gpus-per-worker goes with --ray"),
        (("--ray=here",), "expected host:port, auto"),
        (("--annotations", "x.json"), "--annotations goes with --coco"),
        (("--object-size", 3), "--object-size goes with --tiles"),
        (("--score-threshold", "cow=0.3"), "class 'cow'"),
        (("--score-threshold", "0.001"), "is below 0.01"),
    ],
)
def test_what_does_not_go_together_is_refused_and_nothing_written(
    call, engine, pictures, tmp_path, words, said
):
    call("batch", engine, pictures, "-o", tmp_path / "out", *words).fails(2, said)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_it_and_resuming_goes_on(call, engine, pictures, many, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    words = ("--shard-size", 1, "--format", "jsonl", "--max-errors", 1)
    call("batch", engine, many, "-o", whole, *words).fits()
    with file_size_limit(600):  # its first file is job.json
        call("batch", engine, many, "-o", out, *words).fails(4, "cannot write", "File too large")
    call("batch", engine, many, "-o", out, "--resume", *words).fits()
    assert _files(out) == _files(whole)


def test_a_full_disk_leaves_whole_shards_alone(engine, many, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    copy = tmp_path / "copy"
    batch = [sys.executable, "-m", "ssd_small", "batch", engine, many, "--shard-size", 1]
    words = [*map(str, batch), "--format", "jsonl", "--max-errors", "1", "-o"]
    quoted = " ".join(f"'{word}'" for word in [*words, disk / "out"])
    line = f"{quoted}; code=$?; cp -r '{disk}/out' '{copy}'; exit $code"
    # a shard and its two records take a page each at least
    done = subprocess.run(
        on_small_disk("64k", disk, "sh", "-c", line),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("ssd-small: error: ") == 1
    assert "No space left" in done.stderr
    assert not list(copy.rglob(".ssd-small*"))
    shards = sorted((copy / "shards").iterdir())
    assert 0 < len(shards) < 10
    for path in shards:
        assert all(map(json.loads, path.read_text().splitlines()))
    done = subprocess.run(
        [*words, str(copy), "--resume"],
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((copy / "summary.json").read_text())["pictures"] == 10


def _started(engine: Path, pictures: Path, out: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ssd_small", "batch", engine, pictures, "-o", out, *words]
    return subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(3000):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not come")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_job_goes_on_where_it_was(call, engine, many, tmp_path, number):
    pictures, whole, out = tmp_path / "p", tmp_path / "whole", tmp_path / "out"
    pictures.mkdir()
    for copy in range(8):
        for path in many.iterdir():
            shutil.copy(path, pictures / f"{copy:02}-{path.name}")
    words = ("--shard-size", 2, "--max-errors", 8)
    with _started(engine, pictures, out, *words) as process:
        _wait_for(out / "shards" / "00002.parquet", process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), said
    done = len(list((out / "shards").glob("*.parquet")))
    assert 3 <= done < 40
    assert not (out / "summary.json").exists()
    call("batch", engine, pictures, "-o", out, *words, "--resume").fits()
    call("batch", engine, pictures, "-o", whole, *words).fits()
    assert _files(out) == _files(whole)


def test_two_at_once_in_one_folder_are_one(call, engine, many, tmp_path):
    out = tmp_path / "out"
    words = ("--shard-size", 1, "--max-errors", 1)
    with _started(engine, many, out, *words) as process:
        _wait_for(out / "job.json", process)
        process.send_signal(signal.SIGSTOP)  # at work for as long as it takes
        try:
            code = call("batch", engine, many, "-o", out, *words, "--resume")
        finally:
            process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    code.fails(4, f"process {process.pid} is at work there")
