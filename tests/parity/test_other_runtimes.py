"""What is exported, in ONNX's own evaluator and in OpenCV, beside ONNX Runtime."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from ssd_small.export.decode_nms_node import inlined
from ssd_small.export.opset import DEFAULT_OPSET
from ssd_small.export.to_onnx import onnx_from_network

import ssd_small
from ssd_small.artefacts.description import description_from_spec
from ssd_small.bench.synthetic import picture_input
from ssd_small.evaluation.limits import HEAD_LIMITS, SCORE_ROUNDING
from ssd_small.evaluation.proof import heads_difference

pytestmark = pytest.mark.slow

CLASSES = 5


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return picture_input(1, 300, 300, seed=2)


@cache
def exported(*, decode: bool, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """A network with the L2Norm and the early stride, an eighth as wide; not to be changed."""
    torch.manual_seed(5)
    net = ssd_small.create_model("mobilenet_v1_s1l0", CLASSES, 0.125).eval()
    description = description_from_spec(net.spec, CLASSES, net.width, has_decode_nms=decode)
    return onnx_from_network(net, description, opset)


def from_onnxruntime(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"images": images})


@pytest.mark.parametrize("inline", [False, True])
def test_the_reference_evaluator_finds_what_onnx_runtime_finds(
    inline: bool, images: np.ndarray
) -> None:
    model = exported(decode=True)
    expected = from_onnxruntime(model, images)
    found = ReferenceEvaluator(inlined(model) if inline else model).run(None, {"images": images})
    number = int(expected[0][0])
    assert number > 20
    np.testing.assert_array_equal(found[0], expected[0])
    # equal scores may change places, where rounding makes them differ
    order = [np.lexsort((one[4][0], one[3][0])) for one in (found, expected)]
    for position in (3, 4):
        np.testing.assert_array_equal(found[position][0][order[0]], expected[position][0][order[1]])
    scores = found[2][0][order[0]], expected[2][0][order[1]]
    # of logits that differ by up to the limit of fp32 heads, in softmax
    np.testing.assert_allclose(*scores, rtol=2 * HEAD_LIMITS["fp32"] + SCORE_ROUNDING, atol=0)


def test_opencv_computes_the_heads(images: np.ndarray, tmp_path: Path) -> None:
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("tried with OpenCV 5; 4.8 computes other numbers")
    model = exported(decode=False)
    onnx.save(model, tmp_path / "heads.onnx")
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "heads.onnx"))
    net.setInput(images, "images")
    found = net.forward(["loc", "conf"])
    assert heads_difference(found, from_onnxruntime(model, images)) <= HEAD_LIMITS["fp32"]


@pytest.mark.parametrize("opset", [18, 23])
def test_the_operator_set_does_not_change_a_bit(opset: int, images: np.ndarray) -> None:
    """Of the default and what was written before it."""
    models = exported(decode=True), exported(decode=True, opset=opset)
    for one, two in zip(*(from_onnxruntime(model, images) for model in models), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_export_holds_no_computed_shape_and_no_constant_node() -> None:
    kinds = {node.op_type for node in exported(decode=True).graph.node}
    assert not kinds & {"Constant", "Shape", "Gather", "Squeeze", "Unsqueeze"}
