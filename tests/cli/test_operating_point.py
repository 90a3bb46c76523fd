"""``ssd-small eval --save-operating-point``: what it changes, what it leaves, and what follows."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("hotcoco")
torch = pytest.importorskip("torch")

import ssd_small  # noqa: E402

MODEL = ("--model", "mobilenet_v1")


@pytest.fixture
def run(call, pictures, truth, engine, saved, tmp_path):
    """eval on the pictures, whose truth is what the engine finds best: something is right."""
    if not (tmp_path / "value.json").exists():
        with ssd_small.load(engine, threads=1) as detector:
            found = detector(pictures / "a.jpg", score_threshold=0.01)[0].to_dict()["detections"]
        best = max(found, key=lambda one: one["score"])
        x1, y1, x2, y2 = best["box"]
        key = {"cat": 7, "dog": 9}[best["name"]]
        box = {"id": 1, "image_id": 1, "category_id": key, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        truth["annotations"] = [box]
        saved(truth)

    def evaluate(*arguments):
        where = ("--annotations", tmp_path / "value.json", "--images", pictures, "--threads", 1)
        return call("eval", *arguments, *where)

    return evaluate


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_engine_keeps_its_bytes_and_its_sidecar_all_but_the_point(run, call, own_engine):
    side = own_engine.with_name(own_engine.name + ".json")
    before, engine_before = json.loads(side.read_text()), digest(own_engine)
    point = (
        run("--engine", own_engine, "--save-operating-point", "--json")
        .fits()
        .json["operating_point"]
    )
    after = json.loads(side.read_text())
    kept = after["description"].pop("operating_point")
    assert after == before
    assert digest(own_engine) == engine_before == after["engine"]["sha256"]
    names = ("score_threshold", "precision", "recall", "f1", "classes")
    assert kept == {name: point[name] for name in names}
    assert not list(own_engine.parent.glob(".*"))  # neither locks nor temporary files


def test_load_and_detect_then_start_from_it(run, call, own_engine, pictures):
    with ssd_small.load(own_engine, threads=1) as detector:
        scores = detector(pictures / "a.jpg", score_threshold=0.01)[0].scores
    middle = float(sorted(scores)[len(scores) // 2])
    run("--engine", own_engine, "--score-threshold", middle, "--save-operating-point").fits()
    with ssd_small.load(own_engine, threads=1) as detector:
        point = detector.description.operating_point
        assert point is not None
        assert point.score_threshold == middle
        picture = pictures / "a.jpg"
        (default,), (asked,) = detector(picture), detector(picture, score_threshold=middle)
        (usual,) = detector(picture, score_threshold=0.5)
        assert default.to_dict() == asked.to_dict()
        assert len(usual) != len(default)
    shown = call("detect", "--engine", own_engine, "--json", pictures / "a.jpg").fits().json
    assert len(shown["detections"]) == len(default)


@pytest.mark.slow
def test_a_checkpoint_keeps_its_tensors_and_the_hash_it_is_known_by(
    run, call, checkpoint, tmp_path
):
    own = tmp_path / "own.pth"
    shutil.copy(checkpoint, own)
    own.chmod(0o640)
    tensors = torch.load(own, weights_only=True)
    origin = call("inspect", own, "--json").fits().json["weights"]
    for arguments in (MODEL, ()):  # the second time it knows what it is of
        run(*arguments, "--weights", own, "--save-operating-point").fits()
        content = torch.load(own, weights_only=True)
        assert content["state_dict"].keys() == tensors.keys()
        assert all(torch.equal(content["state_dict"][key], tensors[key]) for key in tensors)
    assert own.stat().st_mode & 0o777 == 0o640
    told = call("inspect", own, "--json").fits().json
    assert told["weights"] == origin == f"sha256:{digest(checkpoint)}"
    assert "in use:       score > " in call("inspect", own).fits().out
    with ssd_small.load(own, threads=1) as detector:
        point = detector.description.operating_point
        assert point is not None
        assert told["operating_point"] == point.to_dict()
        assert detector.description.weights == origin
        assert detector.filter_from_threshold(None).lowest == pytest.approx(
            max(point.score_threshold, detector.params.score_threshold), abs=1e-7
        )


@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_the_engine_of_a_checkpoint_has_its_point(run, call, checkpoint, tmp_path):
    pytest.importorskip("onnxscript")
    own, onnx, engine = (tmp_path / name for name in ("own.pth", "x.onnx", "x.engine"))
    shutil.copy(checkpoint, own)
    run(*MODEL, "--weights", own, "--save-operating-point").fits()
    call("export", "--weights", own, "--output", onnx).fits()
    call("build-engine", onnx, "--target", "onnxruntime", "--output", engine).fits()
    points = [call("inspect", one, "--json").fits().json for one in (own, onnx, engine)]
    assert points[0]["operating_point"] == points[1]["operating_point"]
    assert points[0]["operating_point"] == points[2]["operating_point"]


def test_through_a_link_the_sidecar_of_the_file_is_changed(run, own_engine, tmp_path):
    link = tmp_path / "link.engine"
    link.symlink_to(own_engine)
    run("--engine", link, "--save-operating-point").fits()
    side = own_engine.with_name(own_engine.name + ".json")
    assert "operating_point" in json.loads(side.read_text())["description"]
    assert not link.with_name("link.engine.json").exists()


def test_what_cannot_take_a_point_is_refused_before_the_work(
    run, call, onnx_file, own_engine, truth, tmp_path, checkpoint
):
    save = "--save-operating-point"
    found = tmp_path / "found.json"
    found.write_text("[]")
    run("--detections", found, save).fails(2, save, "--detections")
    run("--engine", onnx_file, save).fails(2, "sidecar", "build-engine")
    run("--weights", "digits/mobilenet_v1_s1l0", save).fails(2, "belongs to the package")
    run("--engine", own_engine, save, "--score-threshold", "cat=0.5").fails(2, "of all classes")
    foreign = tmp_path / "foreign.pth"
    state = torch.load(checkpoint, weights_only=True)
    torch.save({"state_dict": state, "optimizer": {"lr": 0.1}}, foreign)
    before = digest(foreign)
    run(*MODEL, "--weights", foreign, save).fails(2, "another trainer's")
    assert digest(foreign) == before
    test_set = tmp_path / "test.json"
    test_set.write_text(json.dumps({k: v for k, v in truth.items() if k != "annotations"}))
    where = ("--annotations", test_set, "--images", tmp_path)
    call("eval", "--engine", own_engine, save, *where).fails(2, save, "test set")


def test_a_file_that_was_replaced_meanwhile_is_left_alone(own_engine):
    from ssd_small.artefacts.operating_point import OperatingPoint
    from ssd_small.artefacts.operating_point_output import target_from_engine
    from ssd_small.artefacts.sidecar import read_sidecar
    from ssd_small.errors import BadFile

    target = target_from_engine(own_engine)
    description = read_sidecar(own_engine).description
    side = own_engine.with_name(own_engine.name + ".json")
    before = side.read_bytes()
    with own_engine.open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BadFile, match="was replaced while it was evaluated"):
        target.write(OperatingPoint(0.3, 1, 1, 1), description)
    assert side.read_bytes() == before


def test_a_sidecar_that_must_not_be_written_is_told_before_the_work(run, own_engine):
    side = own_engine.with_name(own_engine.name + ".json")
    side.chmod(0o444)
    run("--engine", own_engine, "--save-operating-point").fails(
        4, "write-protected; choose another --engine"
    )


def test_where_nothing_is_right_nothing_is_saved(call, pictures, saved, truth, own_engine):
    truth["annotations"][0]["bbox"] = [0.0, 0.0, 1.5, 1.5]  # no box of the network is so small
    side = own_engine.with_name(own_engine.name + ".json")
    before = side.read_bytes()
    where = ("--annotations", saved(truth), "--images", pictures)
    outcome = call("eval", "--engine", own_engine, "--save-operating-point", *where)
    outcome.fails(1, "no detection is right")
    assert side.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score_threshold", "0.5"),
        ("score_threshold", 1e39),
        ("f1", 1.5),
        ("precision", None),
        ("classes", [0.5]),
        ("classes", {"cat": "0.5"}),
    ],
)
def test_a_damaged_point_is_refused(call, own_engine, pictures, field, value):
    side = own_engine.with_name(own_engine.name + ".json")
    content = json.loads(side.read_text())
    point = {"score_threshold": 0.5, "precision": 1, "recall": 1, "f1": 1, "classes": {"cat": None}}
    for changed, code in (({}, 0), ({field: value}, 4)):
        content["description"]["operating_point"] = point | changed
        side.write_text(json.dumps(content))
        outcome = call("detect", "--engine", own_engine, pictures / "a.jpg")
        assert outcome.code == code
    assert f"operating_point.{field}" in outcome.err
