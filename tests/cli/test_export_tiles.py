"""``export --tiles COLUMNSxROWS``: each command takes a network that cuts tiles by itself."""

from __future__ import annotations

import json
import re
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
    """Function: export the small network, with more options; writes m.onnx."""
    given = ("--model", "mobilenet_v1", "--weights", checkpoint, "-o", tmp_path / "m.onnx")
    return lambda *more: call("export", *given, *more)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Coarse noise of the size of two tiles beside each other, in a folder of its own."""
    coarse = np.random.default_rng(0).integers(0, 256, (10, 18, 3)).astype(np.uint8)
    path = tmp_path / "pictures" / "a.png"
    path.parent.mkdir()
    assert cv2.imwrite(str(path), cv2.resize(coarse, (540, 300)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("heads", [(), ("--heads",)], ids=["decode_nms", "heads"])
def test_every_command_takes_it(
    heads: tuple[str, ...], export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    told = export("--tiles", "2x1", "--overlap", "0.2", "--json", *heads).fits()
    tiles = {"columns": 2, "rows": 1, "width": 300, "height": 300, "overlap": 0.2}
    assert told.json["description"]["tiles"] == tiles
    assert told.json["description"]["preprocessing"]["width"] == 540
    cuts = {"pre_nms_topk": 800, "keep_topk_per_class": 200, "keep_topk": 400}
    assert cuts.items() <= told.json["description"]["postprocess"].items()
    onnx_file, engine = tmp_path / "m.onnx", tmp_path / "m.engine"
    call("build-engine", onnx_file, "--target", "onnxruntime", "-o", engine).fits()
    for file in (onnx_file, engine):
        told = call("inspect", file, "--json").fits().json
        assert told["tiles"] == tiles
        (images,) = (one for one in told["tensors"] if one["mode"] == "input")
        assert images["shape"][1:] == [3, 300, 540]
        assert "2x1 of 300x300 pixels, overlap 0.2, cut inside" in call("inspect", file).fits().out
        detected = call("detect", "--engine", file, picture, "--json", "--threads", 1).fits()
        (line,) = (json.loads(line) for line in detected.out.splitlines())
        assert (line["width"], line["height"], line["tiles"]) == (540, 300, 2)
        # boxes are of the picture: some lie in the half that the first tile does not see
        assert max(one["box"][0] for one in line["detections"]) > 300
    assert call("doctor", engine).code == 0
    timed = call("bench", "--engine", engine, "--seconds", 0, "--threads", 1, "--json")
    assert len(timed.fits().json["results"]) == 2


@pytest.mark.slow
def test_parity_with_the_checkpoint_is_tile_by_tile(
    export: Call, call: Call, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    export("--tiles", "2x1").fits()
    command = ("parity", tmp_path / "m.onnx", "--against", checkpoint, "--threads", 1, "--json")
    found = call(*command, "--images", picture.parent).fits().json
    assert found["verdict"] == "equal"
    assert found["detections"]["matched"] == found["detections"]["reference"] > 0
    assert any("attribution: the network cuts its picture into 2x1" in n for n in found["notes"])


def test_explain_says_which_network_it_takes(
    export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    export("--tiles", "2x1").fits()
    told = call("explain", picture, "--engine", tmp_path / "m.onnx", "--box", "10,10,50,50")
    told.fails(2, "explain: the network cuts its picture into 2x1 tiles inside; take one exported")


def test_tiles_of_tiles_are_refused(
    export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    export("--tiles", "2x1").fits()
    told = call("detect", picture, "--engine", tmp_path / "m.onnx", "--tiles", "100x100")
    told.fails(2, "--tiles: the network cuts its picture into 2x1 tiles inside; take one exported")


def test_cuts_that_are_given_stay(export: Call, tmp_path: Path) -> None:
    told = export("--tiles", "2x1", "--keep-topk", "7", "--preset", "coco", "--json").fits().json
    params = told["description"]["postprocess"]
    cuts = [params[name] for name in ("pre_nms_topk", "keep_topk_per_class", "keep_topk")]
    assert cuts == [0, 200, 7]
    said = export("--tiles", "2x1", "--keep-topk", "7").fits().err
    assert "takes pictures of 540x300, cut into 2x1 tiles of 300x300" in said
    assert "pre_nms_topk 800, keep_topk_per_class 200, keep_topk 7" in said


def test_pictures_as_they_are_must_have_the_size_of_the_grid(
    export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    export("--tiles", "1x2", "--input", "uint8").fits()
    words = "a picture of 540x300 pixels; this network takes pictures of 300x540 only"
    call("detect", "--engine", tmp_path / "m.onnx", picture, "--threads", 1).fails(4, words)
    # unless another size is asked for, which is made to that of the grid inside
    export("--tiles", "1x2", "--input", "uint8", "--picture-size", "540x300").fits()
    call("detect", "--engine", tmp_path / "m.onnx", picture, "--threads", 1).fits()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--overlap", "0.2"), "--overlap goes with --tiles COLUMNSxROWS"),
        (("--tiles", "0x2"), "'0x2' is no grid of tiles; expected columns x rows, such as 4x3"),
        (("--tiles", "2"), "'2' is no grid of tiles"),
        (("--tiles", "auto"), "'auto' is no grid of tiles"),
        (("--tiles", "2x2", "--overlap", "1"), "1.0 is not in the range 0<=x<1"),
        (("--tiles", "2x2", "--overlap", "nan"), "is not a finite number"),
        (("--tiles", "2x2", "--overlap", "0.999"), "leaves no step from one to the next"),
        (("--tiles", "99x1"), "a network takes at most 8192 of a side: export fewer tiles"),
        (("--tiles", "33x44", "--overlap", "0.4"), "decode + NMS takes at most 4194304"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(
    options: tuple[str, ...], reason: str, export: Call, tmp_path: Path
) -> None:
    outcome = export(*options)
    assert outcome.code == 2
    assert reason in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "m.onnx").exists()


def test_more_tiles_than_fit_into_memory_are_refused(
    export: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of networks at full width a hundred tiles do; here the limit is what is small."""
    from ssd_small.artefacts import onnx_sizes

    monkeypatch.setattr(onnx_sizes, "_MOST_LIVE", 10_000_000)
    words = "bytes in use at its .* export fewer tiles, or the network as it is for detect --tiles"
    outcome = export("--tiles", "3x3")
    assert outcome.code == 2
    assert re.search(words, outcome.err)
    assert not (tmp_path / "m.onnx").exists()
    export("--tiles", "1x1").fits()


@pytest.mark.slow
def test_standard_operators_alone_are_what_is_described(
    export: Call, call: Call, picture: Path, tmp_path: Path
) -> None:
    """With --inline the scale of boxes stands behind them; half precision puts the node back."""
    found = []
    for options in ((), ("--inline",)):
        export("--tiles", "2x1", *options).fits()
        engine = tmp_path / f"{len(options)}.engine"
        command = ("build-engine", tmp_path / "m.onnx", "--target", "onnxruntime", "-o", engine)
        call(*command, "--precision", "fp16").fits()
        told = call("detect", "--engine", engine, picture, "--json", "--threads", 1).fits().out
        found.append(json.loads(told)["detections"])
    assert found[0] == found[1]
    assert found[0]
