"""A network of thirty convolutions with L2Norm among them, its engines, and faults planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from ssd_small.export.fold import fold_batch_norm
from ssd_small.export.precision import half_heads

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.models.registry import get_spec

DESCRIPTION: Description = description_from_spec(get_spec("mobilenet_v1"), 4, 1.0)
CONVOLUTIONS, CHANNELS = 30, 8
#: behind this convolution comes L2Norm, as its five operators
NORM_AFTER = 11


def layered_network() -> ModelProto:
    """``images [N, 3, 300, 300]`` to ``loc`` and ``conf``: the last two convolutions make them."""
    rng = np.random.default_rng(17)
    nodes, weights = [], []

    def constant(name: str, value: object, dtype: object = np.float32) -> str:
        weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def convolution(index: int, source: str, output: str, channels: int = CHANNELS) -> str:
        inputs, size, stride = (3, 7, 8) if not index else (CHANNELS, 3, 2 if index < 3 else 1)
        spread = np.sqrt(2 / (inputs * size * size)) / (50 if not index else 1)
        weight = rng.normal(0, spread, (channels, inputs, size, size))
        nodes.append(
            helper.make_node(
                "Conv",
                [source, constant(f"w{index}", weight), constant(f"b{index}", [0.1] * channels)],
                [output],
                f"conv_{index}",
                pads=[size // 2] * 4,
                strides=[stride] * 2,
            )
        )
        return output

    last = "images"
    for index in range(CONVOLUTIONS - 2):
        plain = convolution(index, last, f"plain_{index}")
        norm = [constant(f"n{index}_{k}", np.full(CHANNELS, v)) for k, v in enumerate((1, 0, 0, 1))]
        nodes.append(
            helper.make_node("BatchNormalization", [plain, *norm], [f"n_{index}"], f"bn_{index}")
        )
        last = f"relu_{index}"
        nodes.append(helper.make_node("Relu", [f"n_{index}"], [last], f"act_{index}"))
        if index == NORM_AFTER:
            nodes += [
                helper.make_node("Pow", [last, constant("two", 2)], ["squares"], "pow"),
                helper.make_node(
                    "ReduceSum", ["squares", constant("axis", [1], np.int64)], ["sum"], "sum"
                ),
                helper.make_node("Sqrt", ["sum"], ["root"], "sqrt"),
                helper.make_node("Add", ["root", constant("eps", 1e-10)], ["length"], "add"),
                helper.make_node("Div", [last, "length"], ["unit"], "div"),
            ]
            last = "unit"
    for index, name in ((CONVOLUTIONS - 2, "loc"), (CONVOLUTIONS - 1, "conf")):
        convolution(index, last, name)
    size = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 300, 300])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("loc", "conf")]
    graph = helper.make_graph(nodes, "layered", [size], ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def engine_from_network(model: ModelProto, folder: Path, precision: str = "fp32") -> ModelProto:
    """What an engine of ONNX Runtime holds: folded, halved, fused."""
    if precision == "fp16":
        folded = ModelProto()
        folded.CopyFrom(model)
        fold_batch_norm(folded)
        model = half_heads(folded)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(folder / "engine.onnx")
    settings.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    return onnx.load(folder / "engine.onnx")


def with_scaled_weights(model: ModelProto, node_name: str, factor: float) -> ModelProto:
    """A copy in which the weights of one convolution are off."""
    copy = ModelProto()
    copy.CopyFrom(model)
    node = next(node for node in copy.graph.node if node.name == node_name)
    weight = next(one for one in copy.graph.initializer if one.name == node.input[1])
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), weight.name))
    return copy


def with_overflow(model: ModelProto, node_name: str, factor: float = 1e6) -> ModelProto:
    """A copy in which what a node makes passes through half, where it is too large."""
    copy = ModelProto()
    copy.CopyFrom(model)
    at, node = next((i, n) for i, n in enumerate(copy.graph.node) if n.name == node_name)
    made = node.output[0]
    node.output[0] = f"{made}/plain"
    copy.graph.initializer.append(numpy_helper.from_array(np.float32(factor), f"{made}/factor"))
    chain = [
        ("Mul", [f"{made}/plain", f"{made}/factor"], f"{made}/large", {}),
        ("Cast", [f"{made}/large"], f"{made}/half", {"to": TensorProto.FLOAT16}),
        ("Cast", [f"{made}/half"], f"{made}/single", {"to": TensorProto.FLOAT}),
        ("Div", [f"{made}/single", f"{made}/factor"], made, {}),
    ]
    for step, (operator, inputs, output, given) in enumerate(chain, 1):
        copy.graph.node.insert(at + step, helper.make_node(operator, inputs, [output], **given))
    return copy
