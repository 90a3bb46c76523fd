"""The checks that a GPU owner runs, executed over the doubles; no GPU, no engine of NVIDIA's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import engine_checks
import tensorrt_double
from cuda_double import Cuda
from engine_checks import Network
from tensorrt_double import TensorRt

from ssd_small.artefacts.build_options import Precision

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """The smallest of the six, a tenth as wide."""
    folder = tmp_path_factory.mktemp("network")
    return engine_checks.make_network("mobilenet_v1", folder, classes=6, width=0.1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_heads_and_detections_are_those_of_pytorch(
    network: Network,
    precision: Precision,
    cuda_graph: bool,
    gpu_machine: TensorRt,
    cuda: Cuda,
    tmp_path: Path,
) -> None:
    assert engine_checks.check_against_torch(network, precision, cuda_graph, tmp_path) > 100
    assert ("cudaGraphLaunch" in cuda.calls) == cuda_graph
    assert cuda.live() == 0


@pytest.mark.parametrize(
    "distort",
    [
        lambda loc, conf: (loc, conf + np.float32(0.01) * conf),
        lambda loc, conf: (loc[:, ::-1], conf),
    ],
    ids=["logits too large", "priors in another order"],
)
def test_wrong_heads_are_noticed(
    network: Network, distort: Any, gpu_machine: TensorRt, tmp_path: Path
) -> None:
    gpu_machine.distort = distort
    with pytest.raises(AssertionError, match=r"of the largest value off, limit"):
        engine_checks.check_against_torch(network, "fp32", False, tmp_path, [2])


def test_wrong_detections_are_noticed(
    network: Network, gpu_machine: TensorRt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A plugin that loses the best detection, behind right heads."""
    import plugin_double

    serve = plugin_double.decode_nms
    monkeypatch.setattr(
        plugin_double,
        "decode_nms",
        lambda *heads, edges: [one[1:] for one in serve(*heads, edges=edges)],
    )
    with pytest.raises(AssertionError, match="missing, and nothing suppresses it"):
        engine_checks.check_against_torch(network, "fp32", False, tmp_path, [2])


def test_identical_images_of_a_batch_give_identical_results(
    network: Network, gpu_machine: TensorRt, tmp_path: Path
) -> None:
    engine_checks.check_identical_images(network, tmp_path)


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_events_time_copies_and_network(
    network: Network,
    cuda_graph: bool,
    gpu_machine: TensorRt,
    cuda: Cuda,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # on the wall a batch of the double takes milliseconds
    monkeypatch.setattr(tensorrt_double, "SECONDS", 1e-5)
    cuda.per_byte = 1e-13
    engine_checks.check_times(network, cuda_graph, tmp_path)
    cuda.per_byte = 1.0
    with pytest.raises(AssertionError, match="upload"):
        engine_checks.check_times(network, cuda_graph, tmp_path)


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_runners_of_several_threads_do_not_disturb_each_other(
    network: Network, cuda_graph: bool, gpu_machine: TensorRt, cuda: Cuda, tmp_path: Path
) -> None:
    engine_checks.check_threads(network, cuda_graph, tmp_path)
    assert ("cudaGraphLaunch" in cuda.calls) == cuda_graph
    assert cuda.live() == 0


def test_results_that_change_beside_others_are_noticed(
    network: Network, gpu_machine: TensorRt, tmp_path: Path
) -> None:
    """A runner whose scores depend on what ran before."""
    drift = iter(range(1000))
    gpu_machine.distort = lambda loc, conf: (loc, conf + np.float32(0.01 * next(drift)) * conf)
    with pytest.raises(AssertionError):
        engine_checks.check_threads(network, False, tmp_path)
