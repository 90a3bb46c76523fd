"""NVIDIA's builder takes networks with tiles inside; no plan was executed: that takes a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engine_builds import build

if TYPE_CHECKING:
    from command_line import Outcome

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.trt,
    pytest.mark.slow,
    pytest.mark.usefixtures("needs_rtx", "traced_once"),
]

Call = Callable[..., "Outcome"]


def _exported(call: Call, folder: Path, *more: str) -> Path:
    path = folder / "m.onnx"
    given = ("--model", "mobilenet_v1", "--width", "0.1", "--num-classes", "3", "--random-weights")
    call("export", *given, "--tiles", "3x2", "-o", path, *more).fits()
    return path


@pytest.mark.parametrize(("precision", "given"), [("fp32", "float32"), ("fp16", "uint8")])
def test_a_grid_is_built_with_the_plugin(
    precision: str, given: str, call: Call, with_plugin: Path, tmp_path: Path
) -> None:
    file, output = _exported(call, tmp_path, "--input", given), tmp_path / "m.engine"
    sidecar = build(call, file, output, "--precision", precision, "--max-batch", "2").fits().json
    assert sidecar["description"]["tiles"]["columns"] == 3
    assert sidecar["description"]["postprocess"]["keep_topk"] == 6 * 200
    # of fp16 all but the preprocessing, L2Norm, decoding and the scale of boxes
    assert (sidecar["receipt"]["half_share"] > 0.3) == (precision == "fp16")
    assert b"DecodeNms" in output.read_bytes()
    told = call("inspect", output).fits().out
    assert "3x2 of 300x300 pixels, overlap 0.2, cut inside" in told


def test_heads_are_built_too(call: Call, tmp_path: Path) -> None:
    file = _exported(call, tmp_path, "--heads")
    sidecar = build(call, file, tmp_path / "m.engine", "--heads").fits().json
    assert sidecar["plugin"] is None
    assert sidecar["description"]["tiles"]["rows"] == 2
