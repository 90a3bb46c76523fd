"""What the owner of a GPU runs with ``pytest -m gpu``; not executed here, where there is none.

The checks themselves are executed here over doubles: test_gpu_checks.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import ssd_small
from ssd_small.system.gpu import gpus

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import engine_checks
from engine_checks import Network

from ssd_small.artefacts.build_options import Precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.trt,
    pytest.mark.skipif(not gpus().devices, reason=f"not executed here: {gpus().fault}"),
]


@pytest.fixture(scope="module", params=ssd_small.list_models())
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    return engine_checks.make_network(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_heads_and_detections_are_those_of_pytorch(
    network: Network, precision: Precision, cuda_graph: bool, tmp_path: Path
) -> None:
    assert engine_checks.check_against_torch(network, precision, cuda_graph, tmp_path) > 0


def test_identical_images_of_a_batch_give_identical_results(
    network: Network, tmp_path: Path
) -> None:
    engine_checks.check_identical_images(network, tmp_path)


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_events_time_copies_and_network(network: Network, cuda_graph: bool, tmp_path: Path) -> None:
    engine_checks.check_times(network, cuda_graph, tmp_path)


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_runners_of_several_threads_do_not_disturb_each_other(
    network: Network, cuda_graph: bool, tmp_path: Path
) -> None:
    engine_checks.check_threads(network, cuda_graph, tmp_path)
