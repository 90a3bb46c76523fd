"""What ``ssd-small parity`` says and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

Call = Callable[..., Outcome]
KEYS = {"verdict", "protocol", "reference", "engine", "images", "map", "detections", "heads"}
KEYS |= {"attribution", "first_layer", "self_consistency"}


@pytest.fixture
def parity(call: Call, engine: Path, checkpoint: Path, pictures: Path) -> Call:
    """parity of the engine, against its checkpoint unless said otherwise."""

    def run(*arguments: object, against: object = checkpoint) -> Outcome:
        where = () if against is None else ("--against", against)
        return call("parity", engine, "--images", pictures, *where, *arguments, "--threads", "1")

    return run


@pytest.mark.slow
def test_an_engine_is_equal_to_the_checkpoint_that_does_not_say_what_it_is_of(
    parity: Call, truth: Any, saved: Callable[[object], Path]
) -> None:
    annotations = saved(truth)
    report = parity("--annotations", annotations, "--json").fits().json
    assert set(report) >= KEYS
    assert report["verdict"] == "equal"
    assert report["images"] == 2
    assert report["protocol"]["score_threshold"] == 0.01
    assert set(report["map"]) >= {"reference", "engine", "difference", "interval", "classes"}
    assert set(report["map"]["small"]) == {"reference", "engine", "difference", "interval"}
    assert [one["name"] for one in report["map"]["classes"]] == ["cat", "dog"]
    assert report["detections"]["unexplained"] == 0
    assert [row["level"] for row in report["heads"]] == list(range(6))
    assert len(report["attribution"]) == 11
    assert {one["map_cost"] for one in report["attribution"]} == {0}
    assert {one["detections_changed"] for one in report["attribution"]} == {0}
    assert report["first_layer"] is None
    text = parity("--annotations", annotations).fits().out
    assert text.startswith("equal: ")
    assert "protocol deploy: score > 0.01" in text
    assert "repeats: identical (50 pairs)" in text


def test_without_annotations_detections_alone_are_compared(parity: Call) -> None:
    report = parity("--json").fits().json
    assert report["map"] is None
    assert report["verdict"] == "equal"
    assert report["detections"]["matched"] > 50


def test_a_reference_that_nobody_knows_is_asked_for(parity: Call) -> None:
    parity(against=None).fails(2, "pass --against CHECKPOINT")


def test_a_result_file_needs_annotations_and_is_compared_with_them(
    call: Call,
    parity: Call,
    engine: Path,
    pictures: Path,
    truth: Any,
    saved: Callable[[object], Path],
    tmp_path: Path,
) -> None:
    annotations, found = saved(truth), tmp_path / "found.json"
    parity(against=found).fails(2, "--annotations")
    given = ("--annotations", annotations, "--images", pictures, "--save-detections", found)
    call("eval", "--engine", engine, *given).fits()
    report = parity("--annotations", annotations, "--json", against=found).fits().json
    assert report["verdict"] == "equal"
    assert (report["heads"], report["attribution"]) == (None, None)
    found.write_text(json.dumps(json.loads(found.read_text())[1:]))
    parity("--annotations", annotations, against=found).fails(1, "the engine is different")


def test_a_picture_without_entries_in_the_result_file_has_lost_its_detections(
    call: Call,
    parity: Call,
    engine: Path,
    pictures: Path,
    truth: Any,
    saved: Callable[[object], Path],
    tmp_path: Path,
) -> None:
    annotations, found = saved(truth), tmp_path / "found.json"
    given = ("--annotations", annotations, "--images", pictures, "--save-detections", found)
    call("eval", "--engine", engine, *given).fits()
    entries = json.loads(found.read_text())
    first = [one for one in entries if one["image_id"] == entries[0]["image_id"]]
    for kept in (first, []):
        found.write_text(json.dumps(kept))
        outcome = parity("--annotations", annotations, "--json", against=found)
        outcome.fails(1, "the engine is different")
        counts = outcome.json["detections"]
        assert counts["matched"] == len(kept)
        assert counts["explained"] + counts["unexplained"] == len(entries) - len(kept)


@pytest.mark.slow
def test_a_picture_that_cannot_be_read_is_left_out_and_told(
    call: Call, engine: Path, checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    run = ("parity", engine, "--against", checkpoint, "--images", tmp_path, "--json")
    outcome = call(*run)
    outcome.fails(4, "1 of 2 images could not be read", "b.jpg")
    assert outcome.json["verdict"] == "equal"
    (tmp_path / "a.jpg").unlink()
    call(*run).fails(4, "none of the 1 images could be read")


def test_another_protocol_than_the_one_inside_is_refused(parity: Call) -> None:
    parity("--protocol", "coco").fails(2, "decode + NMS inside")


@pytest.mark.slow
def test_the_reference_is_found_and_a_convolution_five_percent_off_is_told(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained network on real pixels; what is off costs next to nothing in AP."""
    pytest.importorskip("skimage")
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    call("digits", "d", "--train-images", "0", "--val-images", "10").fits()
    call("export", "--weights", "digits/mobilenet_v1", "-o", "a.onnx").fits()
    given = ("--images", "d/val", "--annotations", "d/val.json", "--json")
    report = call("parity", "a.onnx", *given).fits().json
    assert report["reference"]["path"] == "digits/mobilenet_v1"
    assert report["verdict"] == "equal"
    assert report["detections"]["unexplained"] == 0
    # 100 detections and more whose scores are far apart: float32 changes none of them
    assert report["map"]["difference"] == pytest.approx(0, abs=1e-6)
    model = onnx.load("a.onnx")
    convolution = [node for node in model.graph.node if node.op_type == "Conv"][5]
    kernel = convolution.input[1]
    for tensor in model.graph.initializer:
        if tensor.name == kernel:
            scaled = onnx.numpy_helper.to_array(tensor) * np.float32(1.05)
            tensor.CopyFrom(onnx.numpy_helper.from_array(scaled, kernel))
    onnx.save(model, "b.onnx")
    outcome = call("parity", "b.onnx", *given)
    outcome.fails(1, "more than rounding explains")
    assert outcome.json["verdict"] == "different"
    assert outcome.json["detections"]["unexplained"] > 0
    assert max(row["conf_max"] for row in outcome.json["heads"]) > 1e-3
    assert outcome.json["attribution"][0]["stage"] == "network"
    assert outcome.json["first_layer"]["name"] == convolution.name
