"""All six networks: ONNX Runtime engines against PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

import ssd_small
from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.description import description_from_spec
from ssd_small.artefacts.onnx_file import read_onnx
from ssd_small.bench.run import reference_runtime
from ssd_small.bench.synthetic import picture_input
from ssd_small.detection.inference import Inference
from ssd_small.doctor.inspection import inspect_file
from ssd_small.errors import UsageError
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.evaluation.proof import faults_from_heads, heads_difference
from ssd_small.models.registry import get_spec
from ssd_small.models.spec import ModelSpec
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.postprocess import PostprocessParams
from ssd_small.runtimes import HeadOutputs, open_engine
from ssd_small.runtimes.torch import TorchRuntime

pytestmark = pytest.mark.slow

CLASSES = 5


#: an input that is wider than high
WIDE = replace(
    get_spec("mobilenet_v1_s1l0_dual"), name="wide", preprocessing=Preprocessing(240, 320)
)


def small_network(model: str | ModelSpec, width: float = 0.125):
    """Random weights whose batch-norm statistics fit, so that activations stay of order one."""
    torch.manual_seed(11)
    net = ssd_small.create_model(model, CLASSES, width)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    net.train()
    with torch.no_grad():
        net(torch.from_numpy(picture_input(4, *net.spec.input_size, seed=1)))
    return net.eval()


@pytest.mark.parametrize("model", [*ssd_small.list_models(), pytest.param(WIDE, id="wide")])
def test_engine_gives_the_heads_and_detections_of_pytorch(
    model: str | ModelSpec, tmp_path: Path
) -> None:
    net = small_network(model)
    description = description_from_spec(net.spec, CLASSES, net.width, has_decode_nms=True)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    images = picture_input(3, *net.spec.input_size, seed=2)
    expected = TorchRuntime(net).infer(images)
    for heads in (True, False):
        path = tmp_path / f"{heads}.engine"
        build_engine(tmp_path / "x.onnx", path, BuildOptions("onnxruntime", heads=heads))
        with open_engine(path, threads=1) as engine:
            outputs = engine.infer(images)
            single = engine.infer(images[1:2])
        if heads:
            assert isinstance(outputs, HeadOutputs)
            reference = expected.loc, expected.conf
            assert heads_difference((outputs.loc, outputs.conf), reference) <= HEAD_LIMITS["fp32"]
            # a batch is its images
            assert heads_difference([single.conf[0]], [outputs.conf[1]]) <= HEAD_LIMITS["fp32"]
        else:
            assert min(map(len, outputs)) > 20
            loc_error, conf_error = (HEAD_LIMITS["fp32"] * np.abs(a).max() for a in reference)
            faults = faults_from_heads(
                outputs,
                *reference,
                description.priors,
                description.postprocess,
                loc_error=loc_error,
                conf_error=conf_error,
            )
            assert faults == [[], [], []]


def test_export_keeps_the_epsilon_of_l2norm(tmp_path: Path) -> None:
    """An all-zero pixel is 0 / 1e-10, not 0 / 0."""
    net = small_network("mobilenet_v1")
    with torch.no_grad():
        for value in net.base[11].parameters():
            value.zero_()
    description = description_from_spec(net.spec, CLASSES, net.width)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    build_engine(tmp_path / "x.onnx", tmp_path / "e", BuildOptions("onnxruntime", heads=True))
    outputs = open_engine(tmp_path / "e").infer(picture_input(1, 300, 300))
    assert np.isfinite(outputs.conf).all()


def test_export_is_reproducible_and_says_nothing_of_this_machine(tmp_path: Path) -> None:
    net = small_network("mobilenet_v1")
    description = description_from_spec(net.spec, CLASSES, net.width, has_decode_nms=True)
    for name in ("a.onnx", "b.onnx"):
        write_onnx(onnx_from_network(net, description), tmp_path / name)
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    assert str(Path(ssd_small.__file__).parent).encode() not in content
    assert b"site-packages" not in content


def test_onnx_describes_itself(tmp_path: Path) -> None:
    net = small_network("mobilenet_v1_s1l0")
    labels = ("a", "b", "c", "d")
    params = PostprocessParams(score_threshold=0.3)
    description = description_from_spec(
        net.spec, CLASSES, net.width, labels=labels, params=params, has_decode_nms=True
    )
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    model, read = read_onnx(tmp_path / "x.onnx")
    assert read == description
    np.testing.assert_array_equal(read.priors, net.priors.numpy())
    assert model.graph.node[-1].op_type == "DecodeNms"
    assert model.graph.node[-1].domain == "ssd_small"
    stored = next(i for i in model.graph.initializer if i.name == "priors")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(stored), net.priors.numpy())


def test_engines_refuse_what_they_were_not_built_for(tmp_path: Path) -> None:
    net = small_network("mobilenet_v1")
    description = description_from_spec(net.spec, CLASSES, net.width, has_decode_nms=True)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    build_engine(tmp_path / "x.onnx", tmp_path / "e", BuildOptions("onnxruntime", max_batch=2))
    with open_engine(tmp_path / "e", threads=1) as engine:
        with pytest.raises(UsageError, match=r"expected float32 \[N, 3, 300, 300\]"):
            engine.infer(np.zeros((1, 3, 299, 300), np.float32))
        with pytest.raises(UsageError, match="other post-processing parameters"):
            Inference(engine, PostprocessParams.coco())


def test_half_precision_engine_is_half_and_close(tmp_path: Path) -> None:
    net = small_network("mobilenet_v1")
    description = description_from_spec(net.spec, CLASSES, net.width, has_decode_nms=True)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    options = BuildOptions("onnxruntime", precision="fp16", heads=True)
    sidecar = build_engine(tmp_path / "x.onnx", tmp_path / "e", options)
    assert sidecar.receipt.half_share > 0.8
    images = picture_input(2, 300, 300, seed=2)
    expected = TorchRuntime(net).infer(images)
    with open_engine(tmp_path / "e") as engine:
        outputs = engine.infer(images)
    assert heads_difference([outputs.conf], [expected.conf]) <= HEAD_LIMITS["fp16"]


def test_the_network_beside_a_timed_engine_has_the_input_of_the_engine() -> None:
    spec = replace(get_spec("mobilenet_v1"), preprocessing=Preprocessing(240, 320))
    description = description_from_spec(spec, CLASSES, 0.125)
    with reference_runtime(description) as runtime:
        np.testing.assert_array_equal(runtime.net.priors.numpy(), description.priors)


def test_an_engine_for_an_input_that_is_not_square_says_so_and_takes_no_other(
    tmp_path: Path,
) -> None:
    net = small_network(WIDE)
    description = description_from_spec(WIDE, CLASSES, net.width, has_decode_nms=True)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    # the half precision check runs pictures of the network's own size
    options = BuildOptions("onnxruntime", precision="fp16")
    build_engine(tmp_path / "x.onnx", tmp_path / "e", options)
    tensors = inspect_file(tmp_path / "e")["tensors"]
    assert tensors[0]["shape"][1:] == [3, 240, 320]
    with open_engine(tmp_path / "e", threads=1) as engine:
        np.testing.assert_array_equal(engine.description.priors, net.priors.numpy())
        assert len(engine.infer(picture_input(2, 240, 320))) == 2
        with pytest.raises(UsageError, match=r"expected float32 \[N, 3, 240, 320\]"):
            engine.infer(picture_input(2, 320, 240))
