"""The runner of TensorRT engines, on doubles of TensorRT and CUDA; on a GPU: not executed here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import onnx
import torch
from cuda_double import Cuda
from ssd_small.export.to_onnx import onnx_from_network
from tensorrt_double import TensorRt

from ssd_small import create_model
from ssd_small.artifact import describe
from ssd_small.errors import BadFile, MissingRequirement, UsageError
from ssd_small.files import sha256_of
from ssd_small.runtimes import HeadOutputs, cuda_device, tensorrt, tensorrt_module
from ssd_small.runtimes.cuda_device import GpuError, OutOfGpuMemory, _PythonCuda
from ssd_small.runtimes.tensorrt import TensorRtRuntime
from ssd_small.sidecar import Sidecar
from ssd_small.synthetic import picture_input

CLASSES = 3


@dataclass(frozen=True)
class Stage:
    """An engine file of either kind with its sidecar."""

    path: Path
    sidecar: Sidecar


@pytest.fixture(scope="module", params=["detections", "heads"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A mobilenet of 32 channels at most; the "plan" is its ONNX file."""
    torch.manual_seed(0)
    net = create_model("mobilenet_v1", CLASSES, 0.03)
    description = describe(
        net.spec, CLASSES, net.width, has_decode_nms=request.param == "detections"
    )
    path = tmp_path_factory.mktemp("engine") / "x.engine"
    path.write_bytes(onnx_from_network(net, description).SerializeToString())
    sidecar = Sidecar(
        target="tensorrt-rtx",
        target_version="1.7.1.116",
        precision="fp32",
        description=description,
        onnx={},
        engine={"sha256": sha256_of(path)},
        batch={"min": 1, "opt": 4, "max": 4},
        receipt={},
        options={},
        seconds=0.0,
        compute_capabilities=("8.6",),
    )
    return Stage(path, sidecar)


@pytest.fixture
def cuda() -> Cuda:
    return Cuda()


@pytest.fixture
def trt(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> TensorRt:
    module = TensorRt(cuda)
    monkeypatch.setattr(tensorrt, "require", lambda name, purpose: module)
    monkeypatch.setattr(tensorrt, "load_plugin", lambda trt: None)
    monkeypatch.setattr(tensorrt_module, "_loggers", {})
    return module


@pytest.fixture
def open_it(stage: Stage, cuda: Cuda, trt: TensorRt) -> Callable[..., TensorRtRuntime]:
    return lambda **options: TensorRtRuntime(
        stage.path, stage.sidecar, device=_PythonCuda(cuda), **options
    )


def outputs_of(result: object) -> list[np.ndarray]:
    """Everything a runner returned, as arrays."""
    if isinstance(result, HeadOutputs):
        return [result.loc, result.conf]
    return [
        array
        for one in result  # type: ignore[attr-defined]
        for array in (one.boxes, one.scores, one.labels, one.priors)
    ]


def reference(stage: Stage, images: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    from ssd_small.detections import detections_from_padded

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(stage.path, settings, ["CPUExecutionProvider"])
    parts = [session.run(None, {"images": images[i : i + 4]}) for i in range(0, len(images), 4)]
    joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    if stage.sidecar.description.has_decode_nms:
        return outputs_of(detections_from_padded(*joined))
    return joined


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_any_number_of_images_gives_what_the_network_gives(
    open_it: Callable[..., TensorRtRuntime], stage: Stage, cuda: Cuda, cuda_graph: bool
) -> None:
    images = picture_input(9, 300, 300, seed=5)
    with open_it(cuda_graph=cuda_graph) as runner:
        for number in (1, 4, 9, 3, 4, 1, 9):
            found = outputs_of(runner.infer(images[:number]))
            expected = reference(stage, images[:number])
            assert len(found) == len(expected)
            for own, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(own, other)
    assert ("cudaGraphLaunch" in cuda.calls) == cuda_graph
    assert cuda.live() == 0


def test_a_graph_is_captured_per_batch_size_after_a_warm_up_and_then_replayed(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt, cuda: Cuda
) -> None:
    images = picture_input(2, 300, 300, seed=1)
    with open_it() as runner:
        runner.infer(images)
        first = [c for c in cuda.calls if "Memcpy" not in c and "Device" not in c]
        assert first[-5:] == [
            "cudaStreamSynchronize",
            "cudaStreamBeginCapture",
            "cudaStreamEndCapture",
            "cudaGraphInstantiate",
            "cudaGraphDestroy",
        ]
        assert trt.executions == 2  # the warm-up and the capture
        cuda.calls.clear()
        runner.infer(images)
        assert cuda.calls == ["cudaSetDevice", "cudaGraphLaunch", "cudaStreamSynchronize"]
        runner.infer(images[:1])
        assert trt.executions == 4
        assert len(cuda.executables) == len(trt.contexts) == 2


def test_a_context_that_is_still_compiling_is_captured_later(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt, cuda: Cuda
) -> None:
    trt.capturable = False
    images = picture_input(1, 300, 300)
    with open_it() as runner:
        runner.infer(images)
        runner.infer(images)
        assert "cudaStreamBeginCapture" not in cuda.calls
        trt.capturable = True
        runner.infer(images)
        runner.infer(images)
        assert cuda.calls.count("cudaGraphLaunch") == 1


def test_a_package_without_graphs_runs_without_them(
    stage: Stage, cuda: Cuda, trt: TensorRt
) -> None:
    device = _PythonCuda(cuda)
    device.can_capture = False  # as pycuda
    with TensorRtRuntime(stage.path, stage.sidecar, device=device) as runner:
        for _ in range(2):
            runner.infer(picture_input(1, 300, 300))
    assert "cudaStreamBeginCapture" not in cuda.calls


def test_results_do_not_change_with_the_next_batch(
    open_it: Callable[..., TensorRtRuntime],
) -> None:
    images = picture_input(2, 300, 300, seed=3)
    with open_it() as runner:
        found = outputs_of(runner.infer(images[:1]))
        before = [array.copy() for array in found]
        runner.infer(images[1:])
        for own, other in zip(found, before, strict=True):
            np.testing.assert_array_equal(own, other)


def test_a_rest_below_the_smallest_batch_is_filled_up(
    stage: Stage, cuda: Cuda, trt: TensorRt
) -> None:
    trt.batches = (2, 4, 4)
    sidecar = replace(stage.sidecar, batch={"min": 2, "opt": 4, "max": 4})
    images = picture_input(5, 300, 300, seed=8)
    with TensorRtRuntime(stage.path, sidecar, device=_PythonCuda(cuda)) as runner:
        found = outputs_of(runner.infer(images))
    expected = reference(stage, images)
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        # the reference ran the rest as a batch of one, in another order of summation
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


def test_memory_and_stream_of_the_caller_are_used_without_a_copy(
    open_it: Callable[..., TensorRtRuntime], stage: Stage, cuda: Cuda
) -> None:
    images = picture_input(3, 300, 300, seed=4)
    with open_it() as runner:
        _, stream = cuda.cudaStreamCreateWithFlags(1)
        addresses = {}
        for name in (runner.engine.get_tensor_name(i) for i in range(runner.engine.num_io_tensors)):
            row = int(np.prod(runner.engine.get_tensor_shape(name)[1:])) * 4
            _, addresses[name] = cuda.cudaMalloc(3 * row)
        cuda_device.host_array(addresses["images"], images.nbytes)[:] = images.view(
            np.uint8
        ).ravel()
        cuda.calls.clear()
        runner.enqueue(3, addresses, stream)
        assert cuda.calls == ["cudaSetDevice"]  # nothing copied, nothing waited for
        cuda.cudaStreamSynchronize(stream)
        name = "conf" if not stage.sidecar.description.has_decode_nms else "num_detections"
        dtype = np.float32 if name == "conf" else np.int32
        size = 3 * int(np.prod(runner.engine.get_tensor_shape(name)[1:])) * 4
        found = cuda_device.host_array(addresses[name], size).view(dtype)
        if name == "conf":
            np.testing.assert_array_equal(found, reference(stage, images)[1].ravel())
        else:
            assert found.tolist() == [len(a) for a in reference(stage, images)[::4]]
        with pytest.raises(UsageError, match=r"batch 5 with tensors .*; expected 1 to 4 with"):
            runner.enqueue(5, addresses, stream)
        with pytest.raises(UsageError, match="enqueue"):
            runner.enqueue(1, {"images": 1}, stream)


def test_two_engines_in_one_process_and_a_runner_per_thread(
    open_it: Callable[..., TensorRtRuntime], stage: Stage, cuda: Cuda
) -> None:
    images = picture_input(2, 300, 300, seed=6)
    expected = reference(stage, images)
    wrong: list[object] = []

    def work(runner: TensorRtRuntime) -> None:
        for _ in range(3):
            for own, other in zip(outputs_of(runner.infer(images)), expected, strict=True):
                if not np.array_equal(own, other):
                    wrong.append((own, other))

    # the double of CUDA has one list of captures, so the graphs stay off
    with open_it(cuda_graph=False) as first, open_it(cuda_graph=False) as second:
        threads = [threading.Thread(target=work, args=(r,)) for r in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert cuda.live() == 0


def test_wrong_tensor_names_are_a_bad_file(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt, cuda: Cuda
) -> None:
    trt.rename = {"conf": "class_scores", "scores": "confidences"}
    with pytest.raises(BadFile, match=r"has tensors images, .*; expected images, .*: build it"):
        open_it()
    assert cuda.live() == 0


def test_another_batch_range_than_the_sidecar_s_is_a_bad_file(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt
) -> None:
    trt.batches = (1, 2, 2)
    with pytest.raises(BadFile, match="takes batches of 1 to 2, but its sidecar says 1 to 4"):
        open_it()


def test_a_plan_that_does_not_load_says_why(
    stage: Stage, cuda: Cuda, trt: TensorRt, tmp_path: Path
) -> None:
    (tmp_path / "junk.engine").write_bytes(b"junk")
    expected = r"cannot load engine .*junk.engine.* for 8.6 \(magic tag does not match\); build"
    with pytest.raises(MissingRequirement, match=expected):
        TensorRtRuntime(tmp_path / "junk.engine", stage.sidecar, device=_PythonCuda(cuda))


def test_a_plan_for_another_gpu_is_refused_before_it_is_loaded(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt
) -> None:
    trt.diagnostics = 3
    with pytest.raises(
        MissingRequirement, match="version mismatch, unsupported cc; build it again"
    ):
        open_it()


def test_the_runtime_inside_a_version_compatible_plan_may_run(
    stage: Stage, cuda: Cuda, trt: TensorRt
) -> None:
    trt.host_code = True
    sidecar = replace(stage.sidecar, options={"version_compatible": True})
    TensorRtRuntime(stage.path, sidecar, device=_PythonCuda(cuda)).close()
    with pytest.raises(MissingRequirement, match="host code is not allowed"):
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))


def test_too_little_memory_is_said_and_leaves_nothing_behind(
    stage: Stage, trt: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = Cuda(memory=10_000)
    with pytest.raises(OutOfGpuMemory, match=r"out of GPU memory \(cudaMalloc\); free some") as it:
        TensorRtRuntime(stage.path, stage.sidecar, device=_PythonCuda(cuda))
    assert it.value.exit_code == 3
    assert cuda.live() == 0


def test_no_memory_for_a_context_is_said(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt
) -> None:
    trt.max_contexts = 1
    with open_it() as runner:
        runner.infer(picture_input(1, 300, 300))
        with pytest.raises(OutOfGpuMemory, match=r"no execution context \(out of memory\); free"):
            runner.infer(picture_input(2, 300, 300))


def test_a_refused_execution_gives_the_reason_in_one_line(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt, cuda: Cuda
) -> None:
    with open_it() as runner:
        trt.fail_execution = True
        with pytest.raises(
            GpuError, match=r"could not execute the engine \(enqueue failed\)"
        ) as it:
            runner.infer(picture_input(1, 300, 300))
        assert "\n" not in str(it.value)
    assert cuda.live() == 0


def test_a_failure_while_capturing_ends_the_capture(
    open_it: Callable[..., TensorRtRuntime], trt: TensorRt, cuda: Cuda
) -> None:
    with open_it() as runner:
        begin = cuda.cudaStreamBeginCapture

        def fail_from_here(*arguments: object) -> object:
            trt.fail_execution = True
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


def test_without_a_driver_it_is_one_line(stage: Stage, trt: TensorRt) -> None:
    if cuda_device.gpus().devices:
        pytest.skip("this machine has a GPU")
    with pytest.raises(MissingRequirement) as it:
        TensorRtRuntime(stage.path, stage.sidecar)
    assert re.fullmatch(r"GPU 0 cannot be used: .*; run on a machine with .*", str(it.value))
    assert it.value.exit_code == 3


def test_onnx_of_the_double_is_whole(stage: Stage) -> None:
    """The double executes what the exporter wrote, not something of its own."""
    model = onnx.load(stage.path)
    assert any(n.op_type == "DecodeNms" for n in model.graph.node) == (
        stage.sidecar.description.has_decode_nms
    )
