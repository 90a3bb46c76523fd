"""Converting an ONNX model to half precision, and the receipt of its actual precision."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Collection

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from ..artefacts.build_record import Receipt
from ..errors import CheckFailed, Note
from ..requirements import require

#: operators of L2Norm: its 512 squares overflow half precision, where its epsilon of 1e-10 is 0
NORM_OPERATORS = ("Pow", "ReduceSum", "Sqrt", "Add", "Div", "ReduceL2")


def half_heads(
    model: ModelProto, fp32_nodes: Collection[str] = (), *, half_outputs: bool = False
) -> ModelProto:
    """Convert a heads model to half precision; the input and L2Norm stay in float32.

    The conversion is ONNX Runtime's; the model must not contain the DecodeNms node yet.

    Args:
        model: model with outputs ``loc`` and ``conf``, all in float32; not modified.
        fp32_nodes: names of further nodes that stay in float32.
        half_outputs: leave ``loc`` and ``conf`` in half, as the DecodeNms node accepts them.
    """
    float16 = require("onnxruntime.transformers.float16", "fp16 conversion")
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    source = ModelProto()
    source.CopyFrom(model)
    kept = {
        node.name
        for node in source.graph.node
        if node.op_type in NORM_OPERATORS or node.name in fp32_nodes
    }
    _own_constants(source, kept)
    with warnings.catch_warnings():
        # weights below the smallest half become 0; the reported head error includes the effect
        warnings.simplefilter("ignore", UserWarning)
        converted: ModelProto = float16.convert_float_to_float16(
            source,
            keep_io_types=[v.name for v in source.graph.input]
            if half_outputs
            else [v.name for v in (*source.graph.input, *source.graph.output)],
            node_block_list=sorted(kept),
        )
    _join_float_chains(converted)
    # the converter leaves the source's types on tensors it did not visit
    del converted.graph.value_info[:]
    return shape_inference.infer_shapes(converted)


def _own_constants(model: ModelProto, kept: Collection[str]) -> None:
    """Give the nodes that stay in float32 initializers of their own.

    The converter converts every Constant node, and every initializer shared with a half node, to
    half; an epsilon of 1e-10 would come back as 6e-8.
    """
    graph = model.graph
    values: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        if node.name not in kept:
            continue
        for position, name in enumerate(node.input):
            if name in values and values[name].data_type == TensorProto.FLOAT:
                own = numpy_helper.from_array(
                    numpy_helper.to_array(values[name]), f"{node.name}_{position}_fp32"
                )
                graph.initializer.append(own)
                node.input[position] = own.name
    _remove_unread(model, {"Constant"})


def _join_float_chains(model: ModelProto) -> None:
    """Drop the rounding between two neighbours that both stay in float32.

    The converter casts every result of a float32 node to half and, for the next float32 node,
    back. This would make L2Norm's sum of squares infinite, and the whole level 0.
    """
    graph = model.graph
    before_rounding = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Cast" and _cast_target(node) == TensorProto.FLOAT16
    }
    exact = {
        node.output[0]: before_rounding[node.input[0]]
        for node in graph.node
        if node.op_type == "Cast"
        and _cast_target(node) == TensorProto.FLOAT
        and node.input[0] in before_rounding
    }
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in exact and name not in outputs:
                node.input[position] = exact[name]
    _remove_unread(model, {"Cast"})


def _remove_unread(model: ModelProto, operators: Collection[str]) -> None:
    """Remove nodes of these types whose results are not read."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        unread = [n for n in graph.node if n.op_type in operators and n.output[0] not in read]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    # sort the graph again, since the converter appends its casts at the end
    sort_nodes(model)


def sort_nodes(model: ModelProto) -> None:
    """Order the nodes so that each follows the nodes it reads from."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    done: set[str] = set()
    ordered: list[NodeProto] = []
    for root in graph.node:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [
                made_by[name]
                for name in node.input
                if name in made_by and made_by[name].output[0] not in done
            ]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if node.output[0] not in done:
                done.add(node.output[0])
                ordered.append(node)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _cast_target(node: NodeProto) -> int:
    return int(next(helper.get_attribute_value(a) for a in node.attribute if a.name == "to"))


def receipt_of_onnx(model: ModelProto) -> Receipt:
    """Count a model's activations and weights by type; also give the share of Half."""
    inferred = shape_inference.infer_shapes(model)
    activations = Counter(
        TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in inferred.graph.value_info
    )
    weights: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        weights[TensorProto.DataType.Name(tensor.data_type)] += int(np.prod(tensor.dims))
    return Receipt(
        tensors=dict(sorted(activations.items())),
        half_share=half_share(activations["FLOAT16"], activations["FLOAT"]),
        weight_elements=dict(sorted(weights.items())),
    )


def half_share(half: int, single: int) -> float:
    """Return the share of Half among the floating-point tensors."""
    return round(half / (half + single), 4) if half + single else 0.0


def check_receipt(precision: str, receipt: Receipt) -> None:
    """Refuse an engine whose network does not have the requested precision.

    The text about tensors inside a plan is not a documented format, so it leads only to a note
    (:class:`~ssd_small.errors.Note`).

    Raises:
        CheckFailed: fp16 was requested and nothing is Half, or another precision and something is.
    """
    if fault := _fault(precision, receipt.half_share):
        raise CheckFailed(f"{fault.format('network')}; nothing was written")
    listed = receipt.plan_tensors
    share = half_share(listed["HALF"], listed["FLOAT"]) if listed else 0.0
    if precision == "int8" and listed and "INT8" not in listed:
        fault = "int8 was asked for, but no tensor of the {} is INT8"
    else:
        fault = _fault(precision, share) if listed else ""
    if fault:
        warnings.warn(
            f"{fault.format('plan')}, as far as the text inside it tells: compare its outputs "
            "with 'ssd-small eval' before you rely on it",
            Note,
            stacklevel=2,
        )


def _fault(precision: str, half: float) -> str:
    """Say what is wrong with a share of Half, with a gap for what has it; empty if nothing is."""
    if precision == "fp16" and half == 0:
        return "fp16 was asked for, but no tensor of the {} is Half"
    if precision != "fp16" and half > 0:
        return f"{precision} was asked for, but {half:.0%} of the tensors of the {{}} are Half"
    return ""
