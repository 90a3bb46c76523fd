"""What the runner says, and leaves behind, where the engine or the GPU fails; over doubles."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from cuda_double import Cuda
from runner_stage import Stage
from tensorrt_double import TensorRt

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.bench.synthetic import picture_input
from ssd_small.errors import BadFile, MissingRequirement, UsageError
from ssd_small.runtimes import cuda_device
from ssd_small.runtimes.cuda_device import GpuError, OutOfGpuMemory, _PythonCuda
from ssd_small.runtimes.tensorrt import TensorRtRuntime


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


def test_a_failure_while_capturing_ends_the_capture(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt, cuda: Cuda
) -> None:
    with open_it() as runner:
        begin = cuda.cudaStreamBeginCapture

        def fail_from_here(*arguments: object) -> object:
            double.fail_execution = True
            return begin(*arguments)  # type: ignore[arg-type]

        cuda.cudaStreamBeginCapture = fail_from_here  # type: ignore[method-assign, assignment]
        with pytest.raises(GpuError):
            runner.infer(picture_input(1, 300, 300))
        assert not cuda.captures
    assert cuda.live() == 0


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
