"""A plugin library, exported networks and doubles of NVIDIA's libraries for tests of engines."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cuda_double import Cuda
    from runner_stage import Stage
    from tensorrt_double import TensorRt
    from traced import Traces


@pytest.fixture(scope="session")
def plugin_library() -> Path:
    """The shipped plugin where it is built, else its host build: for TensorRT they are alike."""
    import plugin_libraries

    from ssd_small.errors import MissingRequirement
    from ssd_small.runtimes.plugin_library import find_plugin

    try:
        return find_plugin()
    except MissingRequirement:
        return plugin_libraries.host_library_path()


@pytest.fixture
def with_plugin(plugin_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(plugin_library))
    return plugin_library


@pytest.fixture(scope="session")
def needs_rtx() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("the Python package tensorrt-rtx is not installed")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, traces: Traces) -> Callable[[str], Path]:
    """Function: name of a network -> ONNX file with DecodeNms, a quarter as wide, 81 classes."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("exported")

    def export(name: str) -> Path:
        import torch
        from ssd_small.export.onnx_file import write_onnx
        from ssd_small.export.to_onnx import onnx_from_network

        from ssd_small import create_model
        from ssd_small.artefacts.description import description_from_spec

        path = folder / f"{name}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            net = create_model(name, 81, 0.25)
            description = description_from_spec(net.spec, 81, 0.25, has_decode_nms=True)
            with traces():
                write_onnx(onnx_from_network(net, description), path)
        return path

    return export


@pytest.fixture(scope="session", params=["detections", "heads"])
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, traces: Traces
) -> Stage:
    """An engine of either kind for the doubles."""
    from runner_stage import make_stage

    with traces():
        return make_stage(request.param, tmp_path_factory.mktemp("engine"))


@pytest.fixture
def cuda() -> Cuda:
    """The double of CUDA."""
    from cuda_double import Cuda

    return Cuda()


@pytest.fixture
def double(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> TensorRt:
    """The double of TensorRT, in the place of the module."""
    from tensorrt_double import TensorRt

    from ssd_small.runtimes import tensorrt, tensorrt_engine, tensorrt_module

    module = TensorRt(cuda)
    monkeypatch.setattr(tensorrt, "require", lambda name, purpose: module)
    monkeypatch.setattr(tensorrt_engine, "load_plugin", lambda trt, version: None)
    monkeypatch.setattr(tensorrt_module, "_loggers", {})
    return module


@pytest.fixture
def open_it(stage: Stage, cuda: Cuda, double: TensorRt) -> Callable[..., Any]:
    """Function: a runner of the stage's engine on the doubles."""
    from ssd_small.runtimes.cuda_device import _PythonCuda
    from ssd_small.runtimes.tensorrt import TensorRtRuntime

    return lambda **options: TensorRtRuntime(
        stage.path, stage.sidecar, device=_PythonCuda(cuda), **options
    )


@pytest.fixture
def gpu_machine(
    cuda: Cuda, double: TensorRt, with_plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> TensorRt:
    """A machine with a GPU, made of the doubles."""
    from gpu_machine import pretend

    pretend(monkeypatch, cuda)
    return double
