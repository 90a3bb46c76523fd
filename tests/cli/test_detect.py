"""detect: what it prints and when, thresholds, options and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from detection_models import LABELS, MODEL, OWN, write_foreign, write_variant  # noqa: E402

import ssd_small  # noqa: E402


@pytest.fixture(scope="module")
def own(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file with a threshold inside that lies between the network's scores."""
    path = tmp_path_factory.mktemp("own") / "own.onnx"
    write_variant(onnx_file, path, OWN)
    return path


def entries_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def scores_of(text: str) -> list[float]:
    return [one["score"] for entry in entries_of(text) for one in entry["detections"]]


def test_a_line_of_json_is_what_the_result_says_in_python(call, engine, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    for arguments in (("a.jpg", "b.png"), (pictures,), (pictures / "b.png",)):
        lines = call("detect", "--engine", engine, *arguments, "--json").fits().out
        with ssd_small.load(engine) as detector:
            paths = arguments if arguments[0] != pictures else sorted(pictures.iterdir())
            assert entries_of(lines) == [one.to_dict() for one in detector(paths)]


def test_text_has_a_line_per_picture_and_per_detection(call, engine, pictures):
    text = call("detect", "--engine", engine, pictures).fits().out
    entries = entries_of(call("detect", "--engine", engine, pictures, "--json").fits().out)
    lines = iter(text.splitlines())
    for entry in entries:
        found = entry["detections"]
        plural = "" if len(found) == 1 else "s"
        assert next(lines) == f"{entry['image']} (80x60): {len(found)} detection{plural}"
        for one in found:
            score, name, *box = next(lines).split()
            assert (float(score), name) == (pytest.approx(one["score"], abs=5e-4), one["name"])
            assert [float(v) for v in box] == pytest.approx(one["box"], abs=0.051)
    assert next(lines, None) is None
    assert entries[0]["detections"]


def test_a_class_name_cannot_break_the_line(call, own_engine, pictures):
    """No annotations give such a name, but a sidecar can be edited."""
    sidecar = Path(f"{own_engine}.json")
    sidecar.write_text(sidecar.read_text().replace('"cat"', '"c\\u001b[31mt\\nx"'))
    told = call("detect", "--engine", own_engine, pictures / "a.jpg", "--score-threshold", 0.01)
    assert "\x1b" not in told.fails(4, r"'c\x1b[31mt\nx' is not printable")


def test_nothing_found_is_a_line_too(call, engine, pictures):
    run = ("detect", "--engine", engine, pictures / "a.jpg", "--json")
    with ssd_small.load(engine) as detector:
        (found,) = detector(pictures / "a.jpg", score_threshold=detector.params.score_threshold)
    best = float(found.scores.max())
    (entry,) = entries_of(call(*run, "--score-threshold", "1").fits().out)
    assert (entry["detections"], entry["best_score"]) == ([], best)
    text = call(*run[:-1], "--score-threshold", "1").fits().out
    assert text == f"{pictures / 'a.jpg'} (80x60): 0 detections (best score {best:.3f})\n"
    (entry,) = entries_of(call(*run, "--score-threshold", best / 2).fits().out)
    assert entry["detections"]
    assert "best_score" not in entry


def test_what_keep_topk_may_have_cut_off_is_said(call, engine, pictures):
    run = ("detect", "--engine", engine, pictures / "a.jpg")
    full = call(*run, "--score-threshold", 0.01, "--json").fits()
    assert "(keep_topk 200)" in full.err
    (entry,) = entries_of(full.out)
    assert len(entry["detections"]) == 200
    # one class hidden: of the others just as many may be missing
    hidden = entry["detections"][0]["name"]
    told = call(*run, "--score-threshold", 0.01, "--score-threshold", f"{hidden}=1").fits()
    assert "(keep_topk 200)" in told.err
    # nothing under the score asked for is missed
    last = entry["detections"][-1]["score"] + 1e-5
    assert call(*run, "--score-threshold", last).fits().err == ""


def test_the_default_threshold_is_that_of_python(call, own, engine, pictures):
    for source, default in ((own, OWN), (engine, 0.5)):
        found = scores_of(call("detect", "--engine", source, pictures, "--json").fits().out)
        with ssd_small.load(source) as detector:
            results = detector(sorted(pictures.iterdir()))
        assert len(found) == sum(map(len, results)) > 0
        assert min(found) > default


def test_a_higher_threshold_filters_what_a_lower_one_gives(call, own, pictures):
    run = ("detect", "--engine", own, pictures, "--json")
    everything = entries_of(call(*run, "--score-threshold", OWN).fits().out)
    for threshold in (0.95, 0.99):
        higher = entries_of(call(*run, "--score-threshold", threshold).fits().out)
        for all_of, some_of in zip(everything, higher, strict=True):
            # scores are printed with six digits
            by_hand = [one for one in all_of["detections"] if one["score"] > threshold + 1e-6]
            assert some_of["detections"] == by_hand
    assert scores_of(call(*run).fits().out) == scores_of(
        call(*run, "--score-threshold", OWN).fits().out
    )


@pytest.mark.parametrize("threshold", ["0.3", "dog=0.3", "0.8999"])
def test_less_than_the_engine_s_own_is_refused(threshold, call, own, pictures):
    asked = threshold.rpartition("=")[2]
    outcome = call("detect", "--engine", own, pictures, "--score-threshold", threshold)
    outcome.fails(2, f"{asked} is below {OWN}", f"ask for {OWN} or more")
    assert outcome.out == ""


def test_a_class_has_its_own_threshold_and_the_others_keep_theirs(call, engine, pictures):
    run = ("detect", "--engine", engine, pictures, "--json")

    def scores(*thresholds: str) -> dict[str, list[float]]:
        options = [word for given in thresholds for word in ("--score-threshold", given)]
        entries = entries_of(call(*run, *options).fits().out)
        found = [one for entry in entries for one in entry["detections"]]
        return {name: [o["score"] for o in found if o["name"] == name] for name in LABELS}

    base = scores()
    # between two scores, so that a few and not all of them pass
    middle = {name: (min(found) + max(found)) / 2 for name, found in base.items()}
    fewer = {name: [v for v in found if v > middle[name]] for name, found in base.items()}
    assert all(0 < len(fewer[name]) < len(base[name]) for name in LABELS)
    assert scores(f"dog={middle['dog']}") == base | {"dog": fewer["dog"]}
    assert scores("0.5", f"cat={middle['cat']}") == base | {"cat": fewer["cat"]}
    assert scores("1", f"cat={middle['cat']}") == {"cat": fewer["cat"], "dog": []}
    # the last of several for the same counts, as for any option
    assert scores("dog=1", "dog=0.5") == base


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ("bird=0.7", "names class 'bird', which this network does not have"),
        ("=0.7", "names class ''"),
        ("cat=dog=0.7", "names class 'cat=dog'"),
        ("nan", "nan is not a finite number"),
        ("cat=nan", "nan is not a finite number"),
        ("2", "not in the range"),
        ("-0.1", "not in the range"),
        ("cat", "not a valid"),
        ("cat=", "not a valid"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(threshold, words, call, engine, pictures):
    outcome = call("detect", "--engine", engine, pictures, f"--score-threshold={threshold}")
    outcome.fails(2, words)
    assert outcome.out == ""


def test_a_network_takes_any_threshold(call, checkpoint, pictures):
    network = ("--model", MODEL, "--weights", checkpoint)
    counts = [
        len(scores_of(call("detect", *network, pictures, "--json", *options).fits().out))
        for options in ((), ("--score-threshold", "0.97"), ("--score-threshold", "0.3"))
    ]
    assert counts[1] < counts[0] <= counts[2]


@pytest.mark.parametrize(
    "options",
    [
        ("--batch", 1),
        ("--batch", 64),
        ("--workers", 1, "--threads", 1),
        ("--instances", 2, "--batch", 1),
    ],
)
def test_batches_and_threads_change_nothing_but_the_time(options, call, onnx_file, pictures):
    run = ("detect", "--engine", onnx_file, pictures, "--json")
    plain, other = (entries_of(call(*run, *more).fits().out) for more in ((), options))
    assert [entry["image"] for entry in other] == [entry["image"] for entry in plain]
    for one, same in zip(plain, other, strict=True):
        # another batch rounds in another way
        assert [d["score"] for d in same["detections"][:20]] == pytest.approx(
            [d["score"] for d in one["detections"][:20]], abs=1e-4
        )


@pytest.mark.parametrize(
    "option", [("--batch", 0), ("--workers", 0), ("--workers", 17), ("--instances", 0)]
)
def test_a_number_out_of_range_is_refused(option, call, engine, pictures):
    call("detect", "--engine", engine, pictures, *option).fails(2, option[0], "not in the range")


def test_instances_go_with_engines_and_whole_pictures(call, engine, checkpoint, pictures):
    several = ("detect", pictures, "--instances", 2)
    labelled = ("--weights", checkpoint, "--model", MODEL)
    call(*several, *labelled).fails(2, "--instances 2 goes with --engine")
    call(*several, "--engine", engine, "--tiles", "40x40").fails(2, "2 instances of the engine")


def test_which_network_must_be_said_once(call, engine, checkpoint, pictures):
    for network in ((), ("--engine", engine, "--model", MODEL)):
        call("detect", pictures, *network).fails(2, "pass either --engine, or --weights")
    call("detect", pictures, "--weights", checkpoint).fails(2, "m.pth", "pass --model NAME")
    call("detect", pictures, "--engine", engine, "--width", "0.1").fails(2, "--width")
    call("detect", "--engine", engine).fails(2, "Missing argument 'IMAGES...'")


def test_files_that_hold_no_detector(call, own_engine, pictures, tmp_path):
    foreign = tmp_path / "foreign.onnx"
    write_foreign(foreign)
    for engine, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.onnx", "no.onnx"),
        (foreign, "was not written by 'ssd-small export'"),
    ):
        call("detect", "--engine", engine, pictures).fails(4, words)
    own_engine.write_bytes(own_engine.read_bytes()[:-1])
    call("detect", "--engine", own_engine, pictures).fails(4, "SHA-256")
    call("detect", "--weights", "bccd/mobilenet_v1_s1l0", "--model", "vgg16", pictures).fails(2)


def test_pictures_with_boxes_are_named_in_the_output(call, engine, pictures, tmp_path):
    pytest.importorskip("PIL")
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(pictures / "b.png", again)
    run = ("detect", "--engine", engine, pictures, again, "--output", tmp_path / "out")
    drawn = [tmp_path / "out" / name for name in ("a.jpg", "b.png", "b-2.png")]
    entries = entries_of(call(*run, "--json").fits().out)
    assert [entry["picture"] for entry in entries] == list(map(str, drawn))
    assert sorted((tmp_path / "out").iterdir()) == sorted(drawn)
    for path in drawn:
        path.unlink()
    assert f"(80x60): {len(entries[0]['detections'])} detections -> {drawn[0]}" in call(*run).out
    assert sorted((tmp_path / "out").iterdir()) == sorted(drawn)
    same = call("detect", "--engine", engine, pictures, "--output", pictures)
    same.fails(2, "would overwrite")


@pytest.mark.slow
def test_a_file_name_that_is_no_text_is_printed_all_the_same(spawn, engine, pictures, tmp_path):
    shutil.copy(os.fsencode(pictures / "b.png"), os.fsencode(tmp_path) + b"/\xff.png")
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    printed = spawn("detect", "--engine", engine, tmp_path, env=strict).fits().out
    assert printed.startswith(f"{tmp_path}/\ufffd.png (80x60): ")
    (entry,) = entries_of(spawn("detect", "--engine", engine, tmp_path, "--json").fits().out)
    assert os.fsencode(entry["image"]).endswith(b"/\xff.png")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["read", "broken", "reader gone"])
def test_a_line_is_written_before_the_next_picture_is_read(ending, engine, pictures):
    # reading the second picture waits until somebody writes it
    reading, writing = os.pipe()
    pipe = Path(f"/dev/fd/{reading}")
    command = ("detect", "--engine", engine, pictures / "a.jpg", pipe, "--batch", 1, "--json")
    with subprocess.Popen(
        [sys.executable, "-m", "ssd_small", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[reading],
    ) as process:
        os.close(reading)
        assert process.stdout
        assert process.stderr
        limit = threading.Timer(100, process.kill)
        limit.start()
        first = json.loads(process.stdout.readline())
        assert first["image"] == str(pictures / "a.jpg")
        assert process.poll() is None
        if ending == "reader gone":
            process.stdout.close()
        content = (pictures / "b.png").read_bytes()
        with os.fdopen(writing, "wb") as stream:
            stream.write(b"no picture" if ending == "broken" else content)
        printed = "" if ending == "reader gone" else process.stdout.read()
        errors = process.stderr.read()
        limit.cancel()
    assert process.returncode == (4 if ending == "broken" else 0)
    assert (str(pipe) in errors) == (ending == "broken")
    assert "Traceback" not in errors
    for second in entries_of(printed):
        assert second["image"] == str(pipe)
        assert ("error" in second) == (ending == "broken")
    assert len(printed.splitlines()) == (ending != "reader gone")


def test_pictures_that_cannot_be_read_are_lines_in_their_place(call, engine, pictures, tmp_path):
    few = tmp_path / "few.png"
    assert cv2.imwrite(str(few), np.full((4, 4), 1000, np.uint16))
    outcome = call("detect", "--engine", engine, few, pictures, few, "--json")
    outcome.fails(4, "2 of 4 images could not be read")
    entries = entries_of(outcome.out)
    assert [("error" in entry) for entry in entries] == [True, False, False, True]
    assert entries[0]["image"] == str(few)
    assert "few.png: uint16 picture with values up to 1000" in entries[0]["error"]
    alone = call("detect", "--engine", engine, few)
    alone.fails(4, "few.png: uint16 picture")
    assert alone.out == ""
