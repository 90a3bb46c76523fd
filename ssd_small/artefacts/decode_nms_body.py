"""Check that the decode + NMS in an ONNX file computes what the file describes.

The DecodeNms node has attributes, which TensorRT's plugin reads, and a function body, which every
other runtime executes. The two must agree. A body that is not identical to the one written for
these attributes may come from an older version, or have been rewritten by another tool. Such a body
is executed on synthetic heads alongside the right one, and their detections are compared.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import (
    FunctionProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    inliner,
    numpy_helper,
)

from ..errors import BadFile
from ..requirements import require
from .decode_nms import DOMAIN, INPUTS, OP_TYPE
from .decode_nms_function import make_function, node_attributes
from .description import Description
from .onnx_sizes import check_memory
from .tensors import DETECTIONS, HEADS, INPUT
from .trial_heads import trial_heads

#: rounding of boxes and scores in two orders of the same operations, about ten times 2**-24
_ROUNDING = 2.0**-20

Array = npt.NDArray[Any]


def check_body(body: FunctionProto, description: Description, path: Path) -> None:
    """Refuse a function body whose result differs from that of the node's attributes.

    A body that ONNX Runtime cannot execute is accepted, since readers here write it anew.

    Raises:
        BadFile: it gives other detections.
    """
    params = description.postprocess
    opset = next((o.version for o in body.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        return
    written = _as_written(description, opset)
    own = body.SerializeToString(deterministic=True)
    if any(one.SerializeToString(deterministic=True) == own for one in written):
        return
    told = f"{path} contradicts itself: the function body of its {OP_TYPE} node"
    activation = _activation(body)
    if activation != params.activation:
        raise BadFile(
            f"{told} has the activation {activation}, and its attributes say {params.activation}; "
            "export it again"
        )
    model = _model_of_body(body, description)
    if all(_differ(model, _model_of_body(one, description), description, path) for one in written):
        raise BadFile(f"{told} gives other detections than its attributes say; export it again")


def check_inlined(model: ModelProto, description: Description, path: Path) -> None:
    """Refuse standard operators between heads and detections that do not do what is described.

    Graphs whose heads have lost their names are accepted, and so are those that another tool has
    converted to half precision, which rounds thresholds.

    Raises:
        BadFile: they give other detections.
    """
    nodes = _nodes_behind_heads(model)
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    if nodes is None or half:
        return
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    own = _model_from_nodes(nodes, weights, description, opset)
    scale = None if description.tiles is None else description.tiles.box_scale
    if all(
        _differ(own, _model_of_body(one, description), description, path, scale)
        for one in _as_written(description, opset)
    ):
        raise BadFile(
            f"{path} contradicts itself: its operators behind {' and '.join(HEADS)} give other "
            "detections than the parameters it describes; export it again"
        )


def _as_written(description: Description, opset: int) -> tuple[FunctionProto, ...]:
    """The right body, and for sigmoid also the older form, which rounds differently."""
    params = description.postprocess
    size = len(description.priors), description.num_classes
    right = make_function(params, *size, opset)
    if params.activation != "sigmoid":
        return (right,)
    return right, make_function(params, *size, opset, one_sigmoid=True)


def _activation(body: FunctionProto) -> str:
    operators = {node.op_type for node in body.node}
    if "Softmax" in operators:
        return "softmax"
    # a body negates nothing else
    return "none" if operators.isdisjoint(("Sigmoid", "Neg")) else "sigmoid"


def _nodes_behind_heads(model: ModelProto) -> list[NodeProto] | None:
    """The nodes from the heads to the detections; None if they need anything else."""
    needed, nodes = set(DETECTIONS), []
    for node in reversed(model.graph.node):  # sorted: producers come before readers
        if needed.intersection(node.output) and not set(HEADS).intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    made = {name for node in model.graph.node for name in node.output}
    if INPUT in needed or not made.issuperset(HEADS):
        return None
    return nodes[::-1]


def _model_of_body(body: FunctionProto, description: Description) -> ModelProto:
    """A model that consists of a DecodeNms node with this body."""
    attributes = node_attributes(description.postprocess, description.edges)
    node = helper.make_node(OP_TYPE, INPUTS, DETECTIONS, domain=DOMAIN, **attributes)
    priors = numpy_helper.from_array(description.priors, INPUTS[2])
    opset = next(o.version for o in body.opset_import if o.domain in ("", "ai.onnx"))
    return _model_from_nodes([node], [priors], description, opset, body)


def _model_from_nodes(
    nodes: list[NodeProto],
    weights: list[TensorProto],
    description: Description,
    opset: int,
    *functions: FunctionProto,
) -> ModelProto:
    """A model from ``images [N, P, 4 + C]`` (loc and conf, concatenated) to detections."""
    classes, priors = description.num_classes, len(description.priors)
    parts = numpy_helper.from_array(np.array([4, classes], np.int64), "parts")
    shape: list[str | int | None] = ["N", priors, 4 + classes]
    graph = helper.make_graph(
        [helper.make_node("Split", [INPUT, "parts"], HEADS, axis=-1), *nodes],
        "trial",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
        [ValueInfoProto(name=name) for name in DETECTIONS],
        [parts, *weights],
    )
    operators = [helper.make_opsetid("", opset)]
    version = description.postprocess.operator_version
    operators += [helper.make_opsetid(DOMAIN, version)] if functions else []
    return helper.make_model(
        graph, opset_imports=operators, functions=list(functions), ir_version=8
    )


def _differ(
    own: ModelProto,
    right: ModelProto,
    description: Description,
    path: Path,
    box_scale: Array | None = None,
) -> bool:
    """Whether two models give different detections on synthetic heads.

    If ``box_scale [4]`` is given, the first model's boxes are the second's multiplied by it.
    """
    heads = trial_heads(description)
    found, expected = (_outputs(model, heads, path) for model in (own, right))
    if found is None or expected is None:
        return False
    if box_scale is not None:
        expected[1] = expected[1] * box_scale
    same = all(np.array_equal(found[i], expected[i]) for i in (0, 3, 4))
    return not same or not all(
        found[i].shape == expected[i].shape
        and np.allclose(found[i], expected[i], rtol=_ROUNDING, atol=_ROUNDING)
        for i in (1, 2)
    )


def _outputs(model: ModelProto, heads: Array, path: Path) -> list[Array] | None:
    """Detections of a model; None if it cannot be executed.

    Raises:
        BadFile: it would need more memory than any network here.
    """
    if find_spec("onnxruntime") is None:
        return None
    ort = require("onnxruntime", "comparing decode + NMS with its parameters")
    settings = ort.SessionOptions()
    settings.log_severity_level = 4  # failures are reported by the exception
    try:
        flat = inliner.inline_local_functions(model)
    except Exception:  # its type varies by version
        return None
    check_memory(flat, path)
    try:
        session = ort.InferenceSession(flat.SerializeToString(), settings, ["CPUExecutionProvider"])
        return list(session.run(None, {INPUT: heads}))
    except Exception:  # ONNX Runtime's exception types are not public
        return None
