"""INT8 plans of TensorRT-RTX, built on the CPU: what its parser reads and its plan holds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

pytestmark = pytest.mark.trt


@pytest.mark.slow
def test_a_plan_has_the_convolutions_that_its_onnx_file_has(needs_rtx, exported, call, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    source: Path = exported("mobilenet_v1")
    build = ("build-engine", source, "--target", "tensorrt-rtx", "--heads", "--json", "-o")
    full = call(*build, tmp_path / "full.engine").fits().json
    asked = ("--precision", "int8", "--calibration", tmp_path)
    made = call(*build, tmp_path / "x.engine", *asked).fits().json
    count = sum(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    receipt = made["receipt"]
    assert (receipt["quantised"], receipt["kept"]) == (count, 0)
    assert receipt["types"] == {"INT8": 2 * count}
    assert receipt["tensors"]["INT8"] >= count
    assert receipt["plan_tensors"]["INT8"] >= count
    assert "INT8" not in full["receipt"]["plan_tensors"]
    assert made["engine"]["bytes"] < 0.75 * full["engine"]["bytes"]
