"""The runner over doubles of TensorRT and CUDA; no GPU, nothing of NVIDIA's is executed here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import onnx
from cuda_double import Cuda
from runner_stage import Stage, outputs_of, reference
from tensorrt_double import TensorRt

from ssd_small.artefacts.build_record import BatchRange
from ssd_small.bench.synthetic import picture_input
from ssd_small.errors import UsageError
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.runtimes import cuda_device
from ssd_small.runtimes.cuda_device import _PythonCuda
from ssd_small.runtimes.tensorrt import TensorRtRuntime

pytestmark = pytest.mark.slow


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
    open_it: Callable[..., TensorRtRuntime], double: TensorRt, cuda: Cuda
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
        assert double.executions == 2  # the warm-up and the capture
        cuda.calls.clear()
        runner.infer(images)
        assert cuda.calls == ["cudaSetDevice", "cudaGraphLaunch", "cudaStreamSynchronize"]
        runner.infer(images[:1])
        assert double.executions == 4
        assert len(cuda.executables) == len(double.contexts) == 2


def test_a_context_that_is_still_compiling_is_captured_later(
    open_it: Callable[..., TensorRtRuntime], double: TensorRt, cuda: Cuda
) -> None:
    double.capturable = False
    images = picture_input(1, 300, 300)
    with open_it() as runner:
        runner.infer(images)
        runner.infer(images)
        assert "cudaStreamBeginCapture" not in cuda.calls
        double.capturable = True
        runner.infer(images)
        runner.infer(images)
        assert cuda.calls.count("cudaGraphLaunch") == 1


def test_a_package_without_graphs_runs_without_them(
    stage: Stage, cuda: Cuda, double: TensorRt
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
    stage: Stage, cuda: Cuda, double: TensorRt
) -> None:
    double.batches = (2, 4, 4)
    sidecar = replace(stage.sidecar, batch=BatchRange(2, 4, 4))
    images = picture_input(5, 300, 300, seed=8)
    with TensorRtRuntime(stage.path, sidecar, device=_PythonCuda(cuda)) as runner:
        found = outputs_of(runner.infer(images))
    expected = reference(stage, images)
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        # the reference ran the rest as a batch of one, in another order of summation
        np.testing.assert_allclose(
            own, other, rtol=0, atol=HEAD_LIMITS["fp32"] * np.abs(other).max()
        )


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


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_two_engines_in_one_process_and_a_runner_per_thread(
    open_it: Callable[..., TensorRtRuntime], stage: Stage, cuda: Cuda, cuda_graph: bool
) -> None:
    images = picture_input(2, 300, 300, seed=6)
    expected = reference(stage, images)
    wrong: list[object] = []

    def work(runner: TensorRtRuntime) -> None:
        for _ in range(3):
            for own, other in zip(outputs_of(runner.infer(images)), expected, strict=True):
                if not np.array_equal(own, other):
                    wrong.append((own, other))

    with open_it(cuda_graph=cuda_graph) as first, open_it(cuda_graph=cuda_graph) as second:
        threads = [threading.Thread(target=work, args=(r,)) for r in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert cuda.calls.count("cudaGraphLaunch") == (4 if cuda_graph else 0)
    assert cuda.live() == 0


def test_a_capture_forbids_calls_to_its_own_thread_only(cuda: Cuda) -> None:
    """The rule of CUDA's thread-local mode, as the double keeps it."""
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    found: list[int] = []
    cuda.cudaStreamBeginCapture(stream, mode)
    other = threading.Thread(target=lambda: found.append(cuda.cudaMalloc(64)[0]))
    other.start()
    other.join()
    assert found == [cuda.cudaError_t.cudaSuccess]
    assert cuda.cudaStreamEndCapture(stream)[0] == cuda.cudaError_t.cudaSuccess
    cuda.cudaStreamBeginCapture(stream, mode)
    assert cuda.cudaMalloc(64)[0] == cuda.cudaError_t.cudaErrorStreamCaptureUnsupported
    assert (
        cuda.cudaStreamEndCapture(stream)[0] == cuda.cudaError_t.cudaErrorStreamCaptureInvalidated
    )


def test_onnx_of_the_double_is_whole(stage: Stage) -> None:
    """The double executes what the exporter wrote, not something of its own."""
    model = onnx.load(stage.path)
    assert any(n.op_type == "DecodeNms" for n in model.graph.node) == (
        stage.sidecar.description.has_decode_nms
    )
