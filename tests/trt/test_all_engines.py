"""All six networks at full width in both precisions, by the command line and NVIDIA's builder.

benchmarks/build_all_engines.py builds and measures, each command in a process of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plans import batches_of_plan

from ssd_small import __version__, list_models
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.files import sha256_of

for package in ("onnx", "onnxruntime", "onnxscript", "torch"):
    pytest.importorskip(package)
pytestmark = [pytest.mark.trt, pytest.mark.slow]

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "build_all_engines.py"


@pytest.mark.usefixtures("needs_rtx")
@pytest.mark.parametrize("name", list_models())
def test_a_whole_network_is_built_in_both_precisions(
    name: str, with_plugin: Path, tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--models", name, "--folder", tmp_path, "--output", result],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    rows = {row["precision"]: row for row in report["engines"]}
    assert list(rows) == ["fp32", "fp16"]
    for row in rows.values():
        assert 0 < row["build_seconds"] < 20
        # PyTorch or ONNX Runtime alone take more than the lower bound
        assert 0.1 < row["peak_gib"] < 4
    assert 0 < rows["fp16"]["bytes"] <= 0.55 * rows["fp32"]["bytes"]
    for precision in rows:
        output = tmp_path / f"{name}.{precision}.engine"
        sidecar = json.loads(Path(f"{output}.json").read_text())
        check_sidecar(sidecar, name, precision, tmp_path / f"{name}.onnx", output, with_plugin)
        plan = output.read_bytes()
        assert len(plan) == rows[precision]["bytes"]
        assert b"DecodeNms" in plan
        assert batches_of_plan(plan) == [1, 8, 8]


def check_sidecar(
    sidecar: dict[str, Any], name: str, precision: str, onnx_file: Path, output: Path, plugin: Path
) -> None:
    assert sidecar["format"] == 1
    assert sidecar["tool_version"] == __version__
    assert sidecar["target"] == "tensorrt-rtx"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", sidecar["target_version"])
    assert sidecar["precision"] == precision
    assert sidecar["description"]["model"] == name
    assert sidecar["description"]["width"] == 1.0
    assert len(sidecar["description"]["labels"]) == 80
    assert sidecar["description"]["postprocess"]["keep_topk"] == 200
    assert sidecar["description"]["preprocessing"]["mean"] == [103.94, 116.78, 123.68]
    assert sidecar["onnx"] == {"file": onnx_file.name, "sha256": sha256_of(onnx_file)}
    assert sidecar["engine"] == {
        "file": output.name,
        "sha256": sha256_of(output),
        "bytes": output.stat().st_size,
    }
    expected_plugin = {"file": plugin.name, "sha256": sha256_of(plugin), "version": "1"}
    assert sidecar["plugin"] == expected_plugin
    assert sidecar["batch"] == {"min": 1, "opt": 8, "max": 8}
    assert sidecar["compute_capabilities"] == ["8.6", "8.9"]
    assert 0 < sidecar["seconds"] < 20
    assert sidecar["options"] == {
        "target": "tensorrt-rtx",
        "precision": precision,
        "min_batch": 1,
        "opt_batch": None,
        "max_batch": 8,
        "heads": False,
        "compute_capabilities": ["8.6", "8.9"],
        "optimization_level": None,
        "timing_cache": None,
        "workspace": None,
        "version_compatible": False,
        "tf32": False,
        "verbose": False,
    }
    check_receipt(sidecar["receipt"], precision)
    check_comparison(sidecar["checks"], precision)


def check_receipt(receipt: dict[str, Any], precision: str) -> None:
    if precision == "fp32":
        assert receipt["half_share"] == 0
        assert "HALF" not in receipt["tensors"]
        # NVIDIA's own text inside the plan
        assert receipt["plan_tensors"]["HALF"] == 0
        assert receipt["plan_tensors"]["FLOAT"] > 50
        # four bytes a weight, and the code of the engine
        assert 4 < receipt["plan_bytes_per_weight"] < 4.2
    else:
        assert receipt["half_share"] > 0.8
        # L2Norm and the input
        assert 5 <= receipt["tensors"]["FLOAT"] <= 20
        assert receipt["plan_tensors"]["HALF"] > 5 * receipt["plan_tensors"]["FLOAT"] > 0
        assert 2 < receipt["plan_bytes_per_weight"] < 2.2


def check_comparison(checks: dict[str, Any], precision: str) -> None:
    """fp16 against fp32 in ONNX Runtime."""
    if precision == "fp32":
        assert checks == {}
        return
    check = checks["fp16_against_fp32"]
    for head in (check["loc"], check["conf"]):
        assert 0 < head["max_error"] < HEAD_LIMITS["fp16"] * head["max_value"]
        assert 0 < head["mean_error"] < head["max_error"]
    assert 0 <= check["detections"]["flipped"] <= check["detections"]["fp32"]
    assert check["detections"]["unexplained"] == 0
    assert check["kept_fp32"] == []
