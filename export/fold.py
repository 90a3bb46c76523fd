"""Folding batch normalisation into the convolution before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def fold_batch_norm(model: ModelProto) -> int:
    """Fold every BatchNormalization that follows a convolution into it; return their number.

    The products are computed in float64 and rounded once. Before a conversion to half, this
    leaves one rounding per convolution instead of three.
    """
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, int] = {}
    for name in [i for node in graph.node for i in node.input] + [o.name for o in graph.output]:
        readers[name] = readers.get(name, 0) + 1
    made_by = {node.output[0]: node for node in graph.node}
    # the two paths of a dual-path network share weights, and continue to do so
    shared: dict[tuple[str, ...], list[str]] = {}
    kept = []
    for node in graph.node:
        conv = made_by.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if conv is None or conv.op_type != "Conv" or readers[conv.output[0]] != 1:
            kept.append(node)
            continue
        key = (*conv.input[1:], *node.input[1:])
        if not all(name in initializers for name in key):
            kept.append(node)
            continue
        if key not in shared:
            arrays = {
                name: numpy_helper.to_array(initializers[name]).astype(np.float64) for name in key
            }
            shared[key] = [f"{conv.name}_folded_weight", f"{conv.name}_folded_bias"]
            for name, value in zip(shared[key], _folded(conv, node, arrays), strict=True):
                tensor = numpy_helper.from_array(value.astype(np.float32), name)
                initializers[name] = tensor
        conv.input[:] = [conv.input[0], *shared[key]]
        conv.output[0] = node.output[0]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    count = len(graph.node) - len(copies)
    read = {name for node in copies for name in node.input}
    tensors = [
        TensorProto.FromString(tensor.SerializeToString())
        for name, tensor in initializers.items()
        if name in read
    ]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(copies)
    graph.initializer.extend(tensors)
    return count


def _folded(
    conv: NodeProto, norm: NodeProto, arrays: dict[str, npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return weight ``[O, I, kh, kw]`` and bias ``[O]`` of the convolution, norm included."""
    scale, shift, mean, variance = (arrays[name] for name in norm.input[1:5])
    given = {a.name: helper.get_attribute_value(a) for a in norm.attribute}
    factor = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
    weight = arrays[conv.input[1]]
    bias = arrays[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(weight))
    return weight * factor[:, None, None, None], (bias - mean) * factor + shift
