"""What the runner says, and leaves behind, where the engine or the GPU fails; over doubles."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from cuda_double import Cuda, cudaError_t
from runner_stage import Stage, outputs_of, reference
from tensorrt_double import Context, TensorRt

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.bench.synthetic import picture_input
from ssd_small.errors import BadFile, MissingRequirement, UsageError
from ssd_small.runtimes import cuda_device, tensorrt_module
from ssd_small.runtimes.cuda_device import GpuError, OutOfGpuMemory, _PythonCuda
from ssd_small.runtimes.tensorrt import TensorRtRuntime
from ssd_small.system.gpu import Gpus

pytestmark = pytest.mark.slow


def test_wrong_tensor_names_are_a_bad_file(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt, cuda: Cuda
) -> None:
    double.rename = {"conf": "class_scores", "scores": "confidences"}
    with pytest.raises(BadFile, match=r"has tensors images, .*; expected images, .*: build it"):
        open_it()
    assert cuda.live() == 0


def test_another_batch_range_than_the_sidecar_s_is_a_bad_file(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt
) -> None:
    double.batches = (1, 2, 2)
    with pytest.raises(BadFile, match="takes batches of 1 to 2, but its sidecar says 1 to 4"):
        open_it()


def test_a_plan_that_does_not_load_says_why(
    stage: Stage, cuda: Cuda, double: TensorRt, tmp_path: Path
) -> None:
    (tmp_path / "junk.engine").write_bytes(b"junk")
    expected = r"cannot load engine .*junk.engine.* for 8.6 \(magic tag does not match\); build"
    with pytest.raises(MissingRequirement, match=expected):
        TensorRtRuntime(tmp_path / "junk.engine", stage.sidecar, device=_PythonCuda(cuda))


def test_a_plan_for_another_gpu_is_refused_before_it_is_loaded(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt
) -> None:
    double.diagnostics = 3
    with pytest.raises(
        MissingRequirement, match="version mismatch, unsupported cc; build it again"
    ):
        open_it()


def test_the_runtime_inside_a_version_compatible_plan_may_run(
    stage: Stage, cuda: Cuda, double: TensorRt
) -> None:
    double.host_code = True
    sidecar = replace(stage.sidecar, options=BuildOptions("tensorrt", version_compatible=True))
    TensorRtRuntime(stage.path, sidecar, device=_PythonCuda(cuda)).close()
    with pytest.raises(MissingRequirement, match="host code is not allowed"):
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))


def test_too_little_memory_is_said_and_leaves_nothing_behind(
    stage: Stage, double: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = Cuda(memory=10_000)
    with pytest.raises(OutOfGpuMemory, match=r"out of GPU memory \(cudaMalloc\); free some") as it:
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))
    assert it.value.exit_code == 3
    assert cuda.live() == 0


def test_no_memory_for_a_context_is_said(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt
) -> None:
    double.max_contexts = 1
    with open_it() as runner:
        runner.infer(picture_input(1, 300, 300))
        with pytest.raises(OutOfGpuMemory, match=r"no execution context \(out of memory\); free"):
            runner.infer(picture_input(2, 300, 300))


def test_a_refused_execution_gives_the_reason_in_one_line(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt, cuda: Cuda
) -> None:
    with open_it() as runner:
        double.fail_execution = True
        with pytest.raises(
            GpuError, match=r"could not execute the engine \(enqueue failed\)"
        ) as it:
            runner.infer(picture_input(1, 300, 300))
        assert "\n" not in str(it.value)
    assert cuda.live() == 0


@pytest.mark.parametrize("where", ["begin", "execute", "end", "instantiate"])
def test_where_a_capture_fails_it_runs_without_a_graph(
    where: str,
    stage: Stage,
    open_it: Callable[..., TensorRtRuntime],
    double: TensorRt,
    cuda: Cuda,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = (cudaError_t.cudaErrorStreamCaptureInvalidated, None)
    begin, end = cuda.cudaStreamBeginCapture, cuda.cudaStreamEndCapture

    def begins(*arguments: Any) -> Any:
        double.fail_execution = where == "execute"
        return refused if where == "begin" else begin(*arguments)

    def ends(*arguments: Any) -> Any:
        double.fail_execution = False
        found = end(*arguments)
        if where != "end":
            return found
        cuda.graphs.pop(found[1])
        return refused

    monkeypatch.setattr(cuda, "cudaStreamBeginCapture", begins)
    monkeypatch.setattr(cuda, "cudaStreamEndCapture", ends)
    if where == "instantiate":
        monkeypatch.setattr(cuda, "cudaGraphInstantiate", lambda *arguments: refused)
    images = picture_input(1, 300, 300)
    with open_it() as runner:
        for _ in range(3):
            for found, told in zip(
                outputs_of(runner.infer(images)), reference(stage, images), strict=True
            ):
                np.testing.assert_array_equal(found, told)
        assert not cuda.captures
        assert "cudaGraphLaunch" not in cuda.calls
        # refused once, the capture is not tried for every batch
        assert double.executions == 3 + (where != "begin")
    assert cuda.live() == 0


def test_a_device_lost_while_capturing_is_said(
    open_it: Callable[..., TensorRtRuntime], cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*arguments: Any) -> Any:
        cuda.lost = True
        return (cudaError_t.cudaErrorDeviceUnavailable,)

    monkeypatch.setattr(cuda, "cudaStreamBeginCapture", lost)
    with open_it() as runner, pytest.raises(GpuError, match="cudaErrorDeviceUnavailable"):
        runner.infer(picture_input(1, 300, 300))


def test_a_shape_that_the_bindings_raise_for_is_our_error(
    open_it: Callable[..., TensorRtRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(self: Context) -> list[str]:
        raise RuntimeError("inferShapes failed")

    monkeypatch.setattr(Context, "infer_shapes", raises)
    with open_it() as runner, pytest.raises(GpuError, match="TensorRT refused a batch of 1"):
        runner.infer(picture_input(1, 300, 300))


def test_an_address_inside_a_batch_is_refused(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt
) -> None:
    with open_it() as runner:
        addresses = {name: tensor.device for name, tensor in runner._tensors.items()}
        aligned = dict.fromkeys(addresses, 1 << 20)
        # the second of two pictures of 3 x 300 x 300 floats
        second = aligned | {"images": (1 << 20) + 1_080_000}
        before = double.executions
        with pytest.raises(
            UsageError, match=r"images lies at 0x207ac0; expected a multiple of 256"
        ):
            runner.enqueue(1, second, 0)
        assert double.executions == before


def test_a_runtime_that_logs_an_error_is_neither_used_nor_freed(
    stage: Stage, double: TensorRt, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = []

    class Runtime(double.Runtime):  # type: ignore[name-defined, misc]
        def __init__(self, logger: Any) -> None:
            logger.log(double.ILogger.ERROR, "CUDA initialization failure with error: 35\nmore")
            logger.log(double.ILogger.ERROR, "what follows from it")

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} of it was used")

        def __del__(self) -> None:
            freed.append(1)

    monkeypatch.setattr(double, "Runtime", Runtime)
    with pytest.raises(MissingRequirement) as it:
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))
    assert str(it.value) == (
        "tensorrt_double 1.7.1.116 cannot start here (CUDA initialization failure with error: 35 "
        "more); see 'ssd-small doctor'"
    )
    del it
    gc.collect()
    assert not freed


def test_a_runtime_that_the_bindings_refuse_is_our_error(
    stage: Stage, double: TensorRt, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(double, "Runtime", refuses)
    with pytest.raises(MissingRequirement, match=r"cannot start here \(pybind11::init"):
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))


@pytest.mark.parametrize(
    ("package", "driver", "fits"), [(13, "12.4", False), (12, "13.0", True), (None, "12.4", True)]
)
def test_a_package_of_a_newer_cuda_than_the_driver_s_is_not_tried(
    package: int | None,
    driver: str,
    fits: bool,
    stage: Stage,
    double: TensorRt,
    cuda: Cuda,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensorrt_module, "cuda_major_of_package", lambda module: package)
    monkeypatch.setattr(tensorrt_module, "gpus", lambda: Gpus((), driver))
    if fits:
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda)).close()
        return
    monkeypatch.setattr(double, "Runtime", None)
    with pytest.raises(MissingRequirement) as it:
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))
    assert str(it.value) == (
        "tensorrt-double 1.7.1.116 is built with CUDA 13, and the driver is for CUDA 12.4: install "
        "a driver for CUDA 13, or run: pip install tensorrt-double-cu12"
    )


def test_a_lost_device_is_one_line_and_closing_still_works(
    open_it: Callable[..., TensorRtRuntime], cuda: Cuda
) -> None:
    runner = open_it()
    runner.infer(picture_input(1, 300, 300))
    cuda.lost = True
    with pytest.raises(
        GpuError, match=r"failed: cudaErrorDeviceUnavailable \(CUDA error 46\)"
    ) as it:
        runner.infer(picture_input(1, 300, 300))
    assert "\n" not in str(it.value)
    assert it.value.exit_code == 3
    runner.close()
    runner.close()


def test_a_closed_runner_says_so(open_it: Callable[..., TensorRtRuntime]) -> None:
    runner = open_it()
    runner.close()
    with pytest.raises(UsageError, match="has been closed"):
        runner.infer(picture_input(1, 300, 300))


def test_without_a_driver_it_is_one_line(stage: Stage, double: TensorRt) -> None:
    if cuda_device.gpus().devices:
        pytest.skip("not executed here: there is a GPU")
    with pytest.raises(MissingRequirement) as it:
        TensorRtRuntime(stage.path, stage.sidecar)
    assert re.fullmatch(r"GPU 0 cannot be used: .*; run on a machine with .*", str(it.value))
    assert it.value.exit_code == 3
