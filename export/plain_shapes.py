"""Bringing a traced graph into a form most readers accept: no computed shapes or Constant nodes."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ..artefacts.onnx_file import array_from_constant
from .unused import drop_unused


def plain_shapes(model: ModelProto) -> None:
    """Let each Reshape keep the batch by a 0, and turn constants into initializers.

    PyTorch computes the shape from the batch with Shape, Squeeze and Concat, which OpenCV's reader
    does not support. ONNX: "0 means that the dimension is copied from the input".
    """
    initializers_from_constants(model)
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        shape = made.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or shape.op_type != "Concat" or shape.input[0] in constants:
            continue
        rest = [constants.get(name) for name in shape.input[1:]]
        if not _is_batch(shape.input[0], made, graph.input[0].name) or None in rest:
            continue
        sides = [numpy_helper.to_array(tensor) for tensor in rest if tensor is not None]
        name = f"{node.output[0]}_shape"
        graph.initializer.append(
            numpy_helper.from_array(np.concatenate([np.zeros(1, np.int64), *sides]), name)
        )
        node.input[1] = name
        for attribute in [a for a in node.attribute if a.name == "allowzero"]:
            node.attribute.remove(attribute)
    drop_unused(model)


def initializers_from_constants(model: ModelProto) -> None:
    """Turn each Constant node into an initializer: some tools take its floats for doubles."""
    graph = model.graph
    constants = [node for node in graph.node if node.op_type == "Constant"]
    for node in constants:
        graph.initializer.append(numpy_helper.from_array(array_from_constant(node), node.output[0]))
        graph.node.remove(node)


def _is_batch(name: str, made: dict[str, NodeProto], images: str) -> bool:
    """Whether a tensor is the first dimension of the input's shape."""
    node = made.get(name)
    while node is not None and node.op_type in ("Squeeze", "Unsqueeze", "Reshape", "Gather"):
        node = made.get(node.input[0])
    if node is None or node.op_type != "Shape" or node.input[0] != images:
        return False
    sides = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return (sides.get("start", 0), sides.get("end")) == (0, 1)
