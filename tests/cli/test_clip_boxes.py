"""``--clip-boxes``: from export to what is found by every form of file, and what files say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason=f"needs {module}")

Call = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("traced_once")


@pytest.fixture
def export(call: Call, checkpoint: Path, tmp_path: Path) -> Call:
    """Function: name, and more options; exports the small network as NAME.onnx."""
    given = ("--model", "mobilenet_v1", "--weights", checkpoint, "--score-threshold", "0.3")
    return lambda name, *more: call("export", *given, *more, "-o", tmp_path / f"{name}.onnx")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Coarse noise of the size of two tiles beside each other, in a folder of its own."""
    coarse = np.random.default_rng(0).integers(0, 256, (10, 18, 3)).astype(np.uint8)
    path = tmp_path / "pictures" / "a.png"
    path.parent.mkdir()
    assert cv2.imwrite(str(path), cv2.resize(coarse, (540, 300)))
    return path


def detections(call: Call, file: Path, picture: Path, *more: str) -> list[dict]:
    told = call("detect", "--engine", file, picture, "--json", "--threads", 1, *more).fits()
    return json.loads(told.out.splitlines()[0])["detections"]


def test_what_is_exported_without_it_says_nothing_of_it(export: Call) -> None:
    told = export("m", "--json").fits().json["description"]
    assert "clip_boxes" not in told["postprocess"]
    assert told["format"] == 1
    assert export("m", "--no-clip-boxes", "--json").fits().json["description"] == told
    clipped = export("m", "--clip-boxes", "--json").fits().json["description"]
    assert clipped == told | {
        "format": 5,
        "postprocess": told["postprocess"] | {"clip_boxes": True},
    }


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [(), ("--tiles", "2x1")], ids=["whole", "tiles"])
def test_every_form_of_file_finds_the_same(
    tiles: tuple[str, ...], export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    """Decode + NMS inside by standard operators, inlined, and outside by the native library."""
    found = {}
    for name, more in (
        ("inside", ("--clip-boxes",)),
        ("inlined", ("--clip-boxes", "--inline")),
        ("outside", ("--clip-boxes", "--heads")),
        ("unclipped", ("--heads",)),
    ):
        export(name, *more, *tiles).fits()
        engine = tmp_path / f"{name}.engine"
        call("build-engine", tmp_path / f"{name}.onnx", "--target", "onnxruntime", "-o", engine)
        for file in (tmp_path / f"{name}.onnx", engine):
            told = call("inspect", file, "--json").fits().json
            assert told["postprocess"].get("clip_boxes", False) == (name != "unclipped")
            said = "boxes cut to the picture" in call("inspect", file).fits().out
            assert said == (name != "unclipped")
            found[file.name] = detections(call, file, picture)
    other = found.pop("unclipped.onnx"), found.pop("unclipped.engine")
    first = found["outside.onnx"]
    assert len(first) > 10
    for one in found.values():
        # boxes and scores are told to 1e-4 and 1e-6; none lies so near a threshold
        assert len(one) == len(first)
        for a, b in zip(one, first, strict=True):
            assert a["name"] == b["name"]
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)
            assert a["box"] == pytest.approx(b["box"], abs=0.02)
    # of a network that has learned nothing many boxes reach over the edges
    assert all(one != first for one in other)


@pytest.mark.slow
def test_an_engine_is_compared_with_its_checkpoint_by_its_own_rule(
    export: Call, call: Call, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    export("m", "--clip-boxes").fits()
    command = ("parity", tmp_path / "m.onnx", "--against", checkpoint, "--threads", 1, "--json")
    found = call(*command, "--images", picture.parent).fits().json
    assert found["verdict"] == "equal"
    assert found["detections"]["matched"] == found["detections"]["reference"] > 0
    assert found["protocol"]["clip_boxes"] is True
    tiled = call(*command, "--images", picture.parent, "--tiles", "300x300").fits().json
    assert tiled["verdict"] == "equal"


def test_a_plan_in_cut_tiles_is_cut_at_the_picture(
    export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    """One tile is the picture as it is; of two, boxes over the seam stay whole."""
    export("m", "--clip-boxes", "--heads").fits()
    whole = cv2.imread(str(picture))[:, :300]
    one = picture.with_name("one.png")
    assert cv2.imwrite(str(one), whole)
    engine = tmp_path / "m.onnx"
    assert detections(call, engine, one, "--tiles", "300x300") == detections(call, engine, one)
    across = detections(call, engine, picture, "--tiles", "300x300")
    seams = [b["box"] for b in across if b["box"][0] < 240 and sum(b["box"][0:3:2]) > 300]
    assert seams
