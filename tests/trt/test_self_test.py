"""``ssd-small doctor --self-test`` over the doubles, and on this machine as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from cuda_double import Cuda
from engine_builds import Command
from engine_checks import built, make_network
from tensorrt_double import TensorRt

from ssd_small.postprocess.detections import Detections
from ssd_small.system import gpu

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("traced_once")]


def subjects(done: Any) -> dict[str, bool]:
    return {f["subject"]: f["fine"] for f in done.json["self_test"]}


def test_with_a_gpu_both_engines_run_and_it_passes(
    gpu_machine: TensorRt, cuda: Cuda, call: Command
) -> None:
    done = call("doctor", "--self-test", "--json")
    assert done.code == 0, done.out + done.err
    assert done.json["self_test_passed"] is True
    assert subjects(done) == {"tensorrt-rtx heads": True, "tensorrt-rtx detections": True}
    # two engines; three times a full batch and a rest: warm-up and capture, then replays
    assert cuda.calls.count("cudaGraphInstantiate") == 4
    assert cuda.calls.count("cudaGraphLaunch") == 8
    assert cuda.live() == 0


def test_heads_unlike_pytorch_s_fail_it(gpu_machine: TensorRt, cuda: Cuda, call: Command) -> None:
    gpu_machine.distort = lambda loc, conf: (loc, conf * np.float32(1.001))
    done = call("doctor", "--self-test")
    assert done.code == 1
    assert " no  tensorrt-rtx heads: within 1.0e-03 of PyTorch" in done.out
    assert "yes  tensorrt-rtx detections: 3 of 3 images" in done.out
    assert done.out.endswith("self-test failed\n")
    assert cuda.live() == 0


def test_detections_unlike_the_oracle_s_fail_it(
    gpu_machine: TensorRt, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plugin_double

    decode_nms = plugin_double.decode_nms

    def forgetful(*arguments: Any, **edges: Any) -> list[Detections]:
        first, *rest = decode_nms(*arguments, **edges)
        return [first[1:], *rest]

    monkeypatch.setattr(plugin_double, "decode_nms", forgetful)
    done = call("doctor", "--self-test", "--json")
    assert done.code == 1
    assert done.json["self_test_passed"] is False
    assert subjects(done) == {"tensorrt-rtx heads": True, "tensorrt-rtx detections": False}


def test_a_gpu_that_fails_is_one_line_and_exit_3(gpu_machine: TensorRt, call: Command) -> None:
    gpu_machine.fail_execution = True
    done = call("doctor", "--self-test")
    assert done.code == 3
    assert "TensorRT could not execute the engine (enqueue failed)" in done.err
    assert done.err.count("\n") == 1


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from ssd_small.doctor import environment, self_test

    for module in (gpu, environment, self_test):
        monkeypatch.setattr(module, "gpus", lambda: gpu.Gpus(fault="no NVIDIA driver"))


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_it_tests_onnx_runtime_and_says_what_is_missing(
    call: Command,
) -> None:
    done = call("doctor", "--self-test")
    assert done.code == 3
    *_, missing, remedy, heads, detections, end = done.out.splitlines()
    assert missing == " no  TensorRT engine: not executed: no NVIDIA driver"
    assert remedy.endswith("ssd-small doctor --self-test")
    assert heads.startswith("yes  onnxruntime heads: within")
    assert detections.startswith("yes  onnxruntime detections: 3 of 3 images")
    assert end == "self-test not done: no GPU"


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_a_wrong_result_still_counts_as_a_failure(
    call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.runtimes import HeadOutputs
    from ssd_small.runtimes.torch import TorchRuntime

    infer = TorchRuntime.infer_batch

    def wrong(self: TorchRuntime, images: np.ndarray) -> HeadOutputs:
        heads = infer(self, images)
        return HeadOutputs(heads.loc, heads.conf * np.float32(1.001))

    monkeypatch.setattr(TorchRuntime, "infer_batch", wrong)
    assert call("doctor", "--self-test").code == 1


def test_inspect_shows_the_layers_where_the_engine_can_be_loaded(
    gpu_machine: TensorRt, call: Command, tmp_path: Path
) -> None:
    network = make_network("mobilenet_v1", tmp_path, classes=6, width=0.1)
    path = built(network, tmp_path / "x.engine")
    done = call("inspect", path, "--json")
    assert done.code == 0, done.err
    assert done.json["layers"][-1] == "DecodeNms"
    tensors = {t["name"]: (t["mode"], t["type"], t["shape"]) for t in done.json["tensors"]}
    assert tensors["images"] == ("input", "FLOAT", [-1, 3, 300, 300])
    assert tensors["labels"] == ("output", "INT32", [-1, 200])
    assert "unknown" not in done.json
