"""Every family and every backbone: ONNX Runtime engines against PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from family_configs import small_config
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

import ssd_small
from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.description import description_from_spec
from ssd_small.bench.synthetic import picture_input
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.evaluation.proof import heads_difference
from ssd_small.models.from_config import spec_from_config
from ssd_small.runtimes import HeadOutputs, open_engine
from ssd_small.runtimes.torch import TorchRuntime

pytestmark = pytest.mark.slow

CLASSES, WIDTH, SIZE = 3, 0.125, (192, 192)

#: each family once, each kind of backbone once
NETWORKS = (
    ("ssd", "vgg16_S2L2_5"),
    ("ssd_lite", "mobilenet_v2"),
    ("ssd_dual", "resnet_50"),
    ("ssd_lite_dual", "darknet_53"),
    ("rfb", "darknet_19"),
    ("rfb_lite", "mobilenet_v1_S1L6"),
    ("fssd", "vgg16"),
    ("fssd_lite", "mobilenet_v2_050"),
)


@pytest.mark.parametrize(("ssds", "nets"), NETWORKS)
def test_an_engine_gives_the_heads_of_pytorch_and_knows_its_network(
    ssds: str, nets: str, tmp_path: Path
) -> None:
    config = small_config(ssds, nets, SIZE)
    torch.manual_seed(11)
    net = ssd_small.create_model(spec_from_config(config), CLASSES, WIDTH)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    net.train()
    with torch.no_grad():  # statistics that fit keep activations of order one
        net(torch.from_numpy(picture_input(4, *SIZE, seed=1)))
    net.eval()
    description = description_from_spec(net.spec, CLASSES, WIDTH)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    build_engine(tmp_path / "x.onnx", tmp_path / "e", BuildOptions("onnxruntime", heads=True))
    images = picture_input(3, *SIZE, seed=2)
    expected = TorchRuntime(net).infer(images)
    with open_engine(tmp_path / "e", threads=1) as engine:
        outputs = engine.infer(images)
        assert engine.description.network == config
    assert isinstance(outputs, HeadOutputs)
    reference = expected.loc, expected.conf
    assert heads_difference((outputs.loc, outputs.conf), reference) <= HEAD_LIMITS["fp32"]
