"""What the owner of a GPU runs with ``pytest -m gpu``; not executed here, where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ssd_small
from ssd_small.runtimes.gpu import gpus

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch
from ssd_small.export.build_engine import build_engine, resolve_target
from ssd_small.export.build_options import BuildOptions
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artifact import describe
from ssd_small.postprocess import decode_nms
from ssd_small.runtimes import HeadOutputs, open_engine
from ssd_small.runtimes.torch import TorchRuntime
from ssd_small.synthetic import picture_input

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.trt,
    pytest.mark.skipif(not gpus().devices, reason=f"not executed here: {gpus().fault}"),
]
CLASSES = 21


@pytest.fixture(scope="module", params=ssd_small.list_models())
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network whose batch norms fit its activations, and its ONNX file."""
    torch.manual_seed(3)
    net = ssd_small.create_model(request.param, CLASSES)
    net.train()
    with torch.no_grad():
        net(torch.from_numpy(picture_input(2, 300, 300, seed=1)))
    net.eval()
    description = describe(net.spec, CLASSES, 1.0, has_decode_nms=True)
    path = tmp_path_factory.mktemp(request.param) / "x.onnx"
    write_onnx(onnx_from_network(net, description), path)
    return net, description, path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_heads_and_detections_are_those_of_pytorch(
    network: Any, precision: Any, cuda_graph: bool, tmp_path: Path
) -> None:
    net, description, onnx_path = network
    images = picture_input(8, 300, 300, seed=2)
    expected = TorchRuntime(net).infer(images)
    assert isinstance(expected, HeadOutputs)
    # fp32: some thousand terms in another order; fp16: about 30 layers of 2**-11 each
    limit = 1e-4 if precision == "fp32" else 0.03
    target = resolve_target("auto")
    paths = {}
    for heads in (True, False):
        paths[heads] = tmp_path / f"{heads}.engine"
        build_engine(onnx_path, paths[heads], BuildOptions(target, precision, heads=heads))
    with (
        open_engine(paths[True], cuda_graph=cuda_graph) as heads_engine,
        open_engine(paths[False], cuda_graph=cuda_graph) as engine,
    ):
        for number in range(1, 9):
            for _ in range(3):  # warm-up, capture, replay
                heads = heads_engine.infer(images[:number])
                found = engine.infer(images[:number])
            assert isinstance(heads, HeadOutputs)
            for own, other in ((heads.loc, expected.loc), (heads.conf, expected.conf)):
                assert np.abs(own - other[:number]).max() <= limit * np.abs(other).max()
            reference = decode_nms(
                heads.loc, heads.conf, description.priors, description.postprocess
            )
            for mine, other in zip(found, reference, strict=True):
                mine_keys = set(zip(mine.labels.tolist(), mine.priors.tolist(), strict=True))
                keys = set(zip(other.labels.tolist(), other.priors.tolist(), strict=True))
                # two builds may choose other kernels: what sits at a threshold may flip
                assert len(mine_keys ^ keys) <= 0.03 * max(len(other), 100)


def test_identical_images_of_a_batch_give_identical_results(network: Any, tmp_path: Path) -> None:
    _, _, onnx_path = network
    build_engine(onnx_path, tmp_path / "x.engine", BuildOptions(resolve_target("auto")))
    images = np.repeat(picture_input(1, 300, 300, seed=9), 8, axis=0)
    with open_engine(tmp_path / "x.engine") as engine:
        found = engine.infer(images)
    for one in found[1:]:
        np.testing.assert_array_equal(one.priors, found[0].priors)
        np.testing.assert_array_equal(one.scores, found[0].scores)
