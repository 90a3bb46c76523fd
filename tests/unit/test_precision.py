"""Conversion to half: L2Norm stays whole, what overflows stays in float32, the receipt is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from ssd_small.export import target_tensorrt
from ssd_small.export.build_child import receipt_of_plan
from ssd_small.export.build_engine import resolve_target
from ssd_small.export.fold import fold_batch_norm
from ssd_small.export.precision import check_receipt, half_heads, receipt_of_onnx
from ssd_small.export.precision_check import compare_precisions, nodes_beyond_half
from ssd_small.export.prepare import Prepared

from ssd_small.artefacts.build_options import MOST_BATCH, BuildOptions
from ssd_small.artefacts.build_record import FlippedDetections, Receipt
from ssd_small.artefacts.description import description_from_spec
from ssd_small.bench.synthetic import detector_heads
from ssd_small.errors import CheckFailed, Note, UsageError
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.models.registry import get_spec
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.system import gpu

rng = np.random.default_rng(0)


def run(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, ["CPUExecutionProvider"]
    )
    return session.run(None, {"images": images})


def network(scale: float = 1.0, back: float = 1.0) -> onnx.ModelProto:
    """Conv and batch norm, L2Norm, and two heads; ``scale`` enlarges what is between."""

    def const(name: str, value: np.ndarray) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value, np.float32), name)

    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"], "norm"
        ),
        helper.make_node("Relu", ["n"], ["x"], "relu"),
        helper.make_node("Constant", [], ["two"], "two", value=const("", 2.0)),
        helper.make_node("Constant", [], ["epsilon"], "eps", value=const("", 1e-10)),
        helper.make_node("Pow", ["x", "two"], ["square"], "pow"),
        helper.make_node("ReduceSum", ["square", "axes"], ["sum"], "sum"),
        helper.make_node("Sqrt", ["sum"], ["root"], "sqrt"),
        helper.make_node("Add", ["root", "epsilon"], ["length"], "add"),
        helper.make_node("Div", ["x", "length"], ["unit"], "div"),
        helper.make_node("Conv", ["x", "back"], ["loc"], "loc_conv"),
        helper.make_node("Conv", ["unit", "wc"], ["conf"], "conf_conv"),
    ]
    values = [
        const("w", scale * rng.normal(0, 0.3, (64, 3, 3, 3))),
        const("gamma", rng.uniform(0.5, 2, 64)),
        const("beta", rng.normal(0, 0.1, 64)),
        const("mean", rng.normal(0, 0.1, 64)),
        const("var", rng.uniform(0.5, 2, 64)),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
        const("back", back * rng.normal(0, 0.1, (4, 64, 1, 1))),
        const("wc", rng.normal(0, 1, (6, 64, 1, 1))),
    ]
    size = ["N", None, 300, 300]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 300, 300])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, size) for n in ("loc", "conf")],
        values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


IMAGES = rng.uniform(-120, 130, (1, 3, 300, 300)).astype(np.float32)
IMAGES[:, :, :50, :50] = -500  # relu leaves nothing of some pixels


def test_l2norm_is_neither_infinite_nor_without_its_epsilon() -> None:
    """The sum of squares is far beyond 65504, and 1e-10 is 0 in half."""
    model = network(20)
    single, half = run(model, IMAGES), run(half_heads(model), IMAGES)
    assert np.isfinite(half[1]).all()
    error = np.abs(half[1] - single[1]).max()
    assert 0 < error < 0.01 * np.abs(single[1]).max()
    converted = half_heads(model)
    kept = {n.name for n in converted.graph.node if n.op_type != "Cast"}
    types = {v.name: v.type.tensor_type.elem_type for v in converted.graph.value_info}
    chain = [n for n in converted.graph.node if n.op_type in ("Pow", "ReduceSum", "Sqrt", "Add")]
    assert len(chain) == 4 <= len(kept)
    assert all(types[n.output[0]] == TensorProto.FLOAT for n in chain)
    epsilon = next(n.input[1] for n in chain if n.op_type == "Add")
    stored = next(i for i in converted.graph.initializer if i.name == epsilon)
    assert numpy_helper.to_array(stored) == np.float32(1e-10)


def test_heads_are_half_for_the_plugin_and_float_without_it() -> None:
    for wanted, kind in ((True, TensorProto.FLOAT16), (False, TensorProto.FLOAT)):
        converted = half_heads(network(), half_outputs=wanted)
        assert {o.type.tensor_type.elem_type for o in converted.graph.output} == {kind}
        assert converted.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.slow
def test_what_overflows_is_found_and_stays_in_float32() -> None:
    description = description_from_spec(get_spec("vgg16"), 6, 1.0)
    assert "conv" not in nodes_beyond_half(network(), description)
    model = network(2000, 1e-4)
    beyond = nodes_beyond_half(model, description)
    assert {"conv", "norm", "relu", "loc_conv", "div"} <= set(beyond)
    assert "conf_conv" not in beyond
    plain, kept = run(half_heads(model), IMAGES), run(half_heads(model, beyond), IMAGES)
    single = run(model, IMAGES)
    assert not np.isfinite(plain[0]).all()
    assert np.abs(kept[0] - single[0]).max() < 0.01 * np.abs(single[0]).max()


def test_heads_beyond_half_are_refused() -> None:
    with pytest.raises(CheckFailed, match=r"the heads reach .*; build with precision fp32"):
        nodes_beyond_half(network(2000, 1), description_from_spec(get_spec("vgg16"), 6, 1.0))


DESCRIPTION = description_from_spec(get_spec("mobilenet_v1"), 6, 1.0)


def fixed_heads(loc: np.ndarray, conf: np.ndarray) -> onnx.ModelProto:
    """A network whose heads are the same for every picture."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        helper.make_node("Add", ["zero", "fixed_loc"], ["loc"]),
        helper.make_node("Add", ["zero", "fixed_conf"], ["conf"]),
    ]
    size = ["N", len(DESCRIPTION.priors), None]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 300, 300])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, size) for n in ("loc", "conf")],
        [numpy_helper.from_array(loc, "fixed_loc"), numpy_helper.from_array(conf, "fixed_conf")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_what_half_precision_flips_is_explained_by_the_heads() -> None:
    loc, conf = detector_heads(DESCRIPTION.priors, 6)
    tried = np.random.default_rng(1)
    others = [
        (a + HEAD_LIMITS["fp16"] * np.abs(a).max() * tried.uniform(-1, 1, a.shape)).astype(
            np.float32
        )
        for a in (loc, conf)
    ]
    single = fixed_heads(loc, conf)
    found = compare_precisions(single, fixed_heads(*others), DESCRIPTION).detections
    assert found.flipped > 10
    assert found.unexplained == 0
    same = compare_precisions(single, single, DESCRIPTION).detections
    assert same == FlippedDetections(found.fp32, flipped=0, unexplained=0)


def test_what_half_precision_cannot_flip_is_not_explained() -> None:
    """A class whose logits are off by more than the limit."""
    loc, conf = detector_heads(DESCRIPTION.priors, 6)
    wrong = conf.copy()
    wrong[..., 2] -= 10 * HEAD_LIMITS["fp16"] * np.abs(conf).max()
    found = compare_precisions(fixed_heads(loc, conf), fixed_heads(loc, wrong), DESCRIPTION)
    assert found.detections.unexplained is not None
    assert 0 < found.detections.unexplained <= found.detections.flipped


def test_batch_norm_is_folded_without_a_trace() -> None:
    model = network()
    before = run(model, IMAGES)
    assert fold_batch_norm(model) == 1
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    assert not {"w", "gamma", "var"} & {i.name for i in model.graph.initializer}
    for own, other in zip(run(model, IMAGES), before, strict=True):
        # 28 products in another order
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_the_receipt_counts_and_refuses() -> None:
    half = receipt_of_onnx(half_heads(network()))
    assert half.half_share > 0
    assert receipt_of_onnx(network()).half_share == 0
    check_receipt("fp16", half)
    with pytest.raises(CheckFailed, match="no tensor of the network is Half"):
        check_receipt("fp16", receipt_of_onnx(network()))
    with pytest.raises(CheckFailed, match="fp32 was asked for, but"):
        check_receipt("fp32", half)


def test_a_plan_is_counted_apart_from_its_network() -> None:
    """The text of a plan of TensorRT-RTX, around bytes that are no text."""
    float_one, half_one = b"\xff{ dims={ 8 3 } type=float }\n", b"\0{ dims={ 8 3 } type=half }\n"
    assert receipt_of_plan(b"\xfftype=halfway \0" + 3 * half_one + float_one, 20) == {
        "plan_tensors": {"FLOAT": 1, "HALF": 3},
        "plan_bytes_per_weight": 6.4,
    }
    assert receipt_of_plan(b"\0\1", 0) == {"plan_tensors": None, "plan_bytes_per_weight": None}
    network_receipt = Receipt({"HALF": 9, "FLOAT": 1}, 0.9, 10)
    check_receipt("fp16", network_receipt)
    check_receipt("fp16", replace(network_receipt, plan_tensors={"FLOAT": 9, "HALF": 1}))
    # what is no documented format is told, and refuses nothing
    with pytest.warns(Note, match="no tensor of the plan is Half, as far as the text"):
        check_receipt("fp16", replace(network_receipt, plan_tensors={"FLOAT": 9, "HALF": 0}))
    with pytest.warns(Note, match="10% of the tensors of the plan are Half"):
        check_receipt("fp32", Receipt({}, 0.0, 10, {"FLOAT": 9, "HALF": 1}))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_batch": 4, "max_batch": 2}, "batch range 4, 2, 2"),
        ({"opt_batch": 9}, "batch range 1, 9, 8"),
        ({"max_batch": 0}, f"max-batch 0: expected 1 to {MOST_BATCH}"),
        ({"max_batch": MOST_BATCH + 1}, f"max-batch {MOST_BATCH + 1}: expected 1 to"),
        ({"compute_capabilities": ("sm_86",)}, "expected the form 8.6"),
        ({"optimization_level": 6}, "expected 0 to 5"),
        ({"workspace": 0}, "expected 1 to 8796093022207"),
        ({"workspace": 1 << 43}, "expected 1 to 8796093022207"),
        ({"target": "onnxruntime", "tf32": True}, "--tf32 does not go with --target onnxruntime"),
        (
            {"target": "tensorrt", "compute_capabilities": ("8.6",)},
            "--compute-capability does not go with --target tensorrt",
        ),
        (
            {"target": "tensorrt-rtx", "version_compatible": True},
            "--version-compatible does not go with --target tensorrt-rtx",
        ),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(options: dict, text: str) -> None:
    with pytest.raises(UsageError) as it:
        BuildOptions(**options)
    assert text in it.value.command_line


def test_the_largest_batch_depends_on_the_size_of_the_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large = replace(get_spec("mobilenet_v1"), preprocessing=Preprocessing(1024, 2048))
    prepared = Prepared(onnx.ModelProto(), description_from_spec(large, 3, 1.0))
    monkeypatch.setattr(target_tensorrt, "prepare", lambda *args, **options: prepared)
    monkeypatch.setattr(target_tensorrt, "find_spec", lambda name: True)
    # 341 pictures are 2 145 386 496 numbers, fewer than 2 ** 31 = 2 147 483 648; 342 are more
    options = BuildOptions("tensorrt", max_batch=342, heads=True)
    with pytest.raises(UsageError, match=r"max-batch 342: expected 1 to 341 .* 1024x2048"):
        target_tensorrt.build(tmp_path / "x", tmp_path / "y", options, lambda phase, share: None)


@pytest.mark.parametrize(
    ("has_gpu", "capabilities", "installed", "target"),
    [
        (False, (), set(), "onnxruntime"),
        (False, ("8.6",), set(), "tensorrt-rtx"),
        (True, (), {"tensorrt", "tensorrt_rtx"}, "tensorrt"),
        (True, (), {"tensorrt_rtx"}, "tensorrt-rtx"),
        (True, ("8.6",), {"tensorrt_rtx"}, "tensorrt-rtx"),
        (True, (), set(), "tensorrt"),
    ],
)
def test_auto_is_what_the_machine_can_do(
    has_gpu: bool,
    capabilities: tuple[str, ...],
    installed: set[str],
    target: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ssd_small.export import build_engine

    devices = (gpu.Gpu(0, "GPU", "8.6", 1),) if has_gpu else ()
    monkeypatch.setattr(gpu, "gpus", lambda: gpu.Gpus(devices))
    monkeypatch.setattr(build_engine, "find_spec", lambda n: n if n in installed else None)
    assert resolve_target("auto", capabilities) == target
    assert resolve_target("onnxruntime", capabilities) == "onnxruntime"


@pytest.mark.parametrize("installed", [("tensorrt", "tensorrt_rtx"), ()], ids=str)
def test_auto_does_not_drop_a_capability_that_tensorrt_cannot_serve(
    installed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a GPU auto is tensorrt, whose engines are for that GPU."""
    from ssd_small.export import build_engine

    monkeypatch.setattr(gpu, "gpus", lambda: gpu.Gpus((gpu.Gpu(0, "GPU", "8.6", 1),)))
    monkeypatch.setattr(build_engine, "find_spec", lambda n: n if n in installed else None)
    with pytest.raises(UsageError) as it:
        resolve_target("auto", ("8.9", "12.0"))
    assert it.value.command_line == (
        "--compute-capability 8.9 12.0: with this machine's GPU, --target auto is tensorrt, whose "
        "engines are for that GPU only; add --target tensorrt-rtx, or leave --compute-capability "
        "out"
    )
