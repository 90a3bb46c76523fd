"""A machine with a GPU, made of the doubles: what build-engine, doctor and runners find there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from cuda_double import Cuda
from ssd_small.export import build_engine, target_tensorrt
from ssd_small.export.precision import receipt_of_onnx
from tensorrt_double import BATCHES, TensorRt

from ssd_small.doctor import engine, environment, self_test
from ssd_small.runtimes import cuda_device, tensorrt
from ssd_small.system import gpu

GPU = gpu.Gpu(0, "double of a GPU", "8.6", 8 << 30)


def pretend(monkeypatch: pytest.MonkeyPatch, cuda: Cuda) -> None:
    """With TensorRT-RTX installed and not the full one; the module itself is the double."""
    found = gpu.Gpus((GPU,), "13.0")
    for module in (gpu, engine, environment, self_test, target_tensorrt, cuda_device):
        monkeypatch.setattr(module, "gpus", lambda: found)
    installed = {"tensorrt_rtx": object()}
    monkeypatch.setattr(build_engine, "find_spec", installed.get)
    monkeypatch.setattr(target_tensorrt, "find_spec", installed.get)
    monkeypatch.setattr(target_tensorrt, "run_child", run_child)
    monkeypatch.setattr(tensorrt, "open_device", lambda: cuda_device._PythonCuda(cuda))


def run_child(
    job: Path,
    folder: Path,
    module: str,
    progress: Callable[[str, float], None],
    *,
    verbose: bool = False,
) -> dict[str, Any]:
    """In the place of NVIDIA's builder: the "plan" is the ONNX file that it would be given."""
    assert module == "tensorrt_rtx"
    values = json.loads(job.read_text())
    model = onnx.load(values["onnx"])
    batches = [shape[0] for shape in values["input_shapes"]]
    model.metadata_props.add(key=BATCHES, value=json.dumps(batches))
    Path(values["plan"]).write_bytes(model.SerializeToString())
    return {
        "version": TensorRt.__version__,
        "receipt": receipt_of_onnx(model).to_dict(),
        "int8_convolutions": 0,
        "compute_capabilities": [values["gpu"]],
        "seconds": 0.1,
    }
