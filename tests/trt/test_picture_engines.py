"""NVIDIA's builder takes networks of pictures; the plans were not executed: that takes a GPU."""

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
    call("export", *given, "--input", "uint8", "-o", path, *more).fits()
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("size", ["any", "640x480"])
def test_both_precisions_are_built_of_any_size_and_of_one(
    size: str, precision: str, call: Call, with_plugin: Path, tmp_path: Path
) -> None:
    more = () if size == "any" else ("--picture-size", size)
    file = _exported(call, tmp_path, *more)
    asked = ("--opt-picture", "640x480", "--max-picture", "1920x1080") if size == "any" else ()
    output = tmp_path / "m.engine"
    sidecar = build(call, file, output, "--precision", precision, *asked).fits().json
    assert sidecar["description"]["input"]["width"] == (None if size == "any" else 640)
    # of fp16 all but the preprocessing, L2Norm and decoding
    assert (sidecar["receipt"]["half_share"] > 0.3) == (precision == "fp16")
    assert b"DecodeNms" in output.read_bytes()
    options = sidecar["options"]
    if size == "any":
        assert options["opt_picture"] == [480, 640]
        assert options["max_picture"] == [1080, 1920]
    else:
        assert "opt_picture" not in options
    told = call("inspect", output).fits().out
    assert "pictures as they are, uint8 NHWC BGR" in told


def test_heads_are_built_too(call: Call, tmp_path: Path) -> None:
    file = _exported(call, tmp_path, "--heads")
    sidecar = build(call, file, tmp_path / "m.engine", "--heads").fits().json
    assert sidecar["plugin"] is None
    assert not sidecar["description"]["has_decode_nms"]
