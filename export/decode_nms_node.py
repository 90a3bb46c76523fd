"""Putting the DecodeNms node at the end of a heads model, and taking it off again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ..artefacts.onnx_file import DOMAIN, INPUTS, OP_TYPE, VERSION, find_decode_nms
from ..artefacts.tensors import DETECTIONS
from ..postprocess import PostprocessParams
from .decode_nms_function import make_function, node_attributes


def append_decode_nms(
    model: ModelProto, params: PostprocessParams, priors: npt.NDArray[np.float32]
) -> None:
    """Replace the outputs ``loc`` and ``conf`` of a heads model by the five of DecodeNms.

    The prior boxes ``[P, 4]`` become an initializer.
    """
    graph = model.graph
    num_priors, num_classes = _heads_shape(graph.output)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    graph.initializer.append(numpy_helper.from_array(priors, INPUTS[2]))
    graph.node.append(
        helper.make_node(
            OP_TYPE, INPUTS, DETECTIONS, OP_TYPE, domain=DOMAIN, **node_attributes(params)
        )
    )
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    rows = params.max_detections(num_priors, num_classes)
    shapes: tuple[list[Any], ...] = ([batch], *([batch, rows, 4], *[[batch, rows]] * 3))
    types = (TensorProto.INT32, *[TensorProto.FLOAT] * 2, *[TensorProto.INT32] * 2)
    # the heads' types stay known: strip_decode_nms and shape inference read them
    graph.value_info.extend(graph.output)
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(DETECTIONS, types, shapes, strict=True)
    )
    model.functions.append(make_function(params, num_priors, num_classes, opset))
    model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))


def strip_decode_nms(model: ModelProto) -> None:
    """Undo :func:`append_decode_nms`: the outputs are ``loc`` and ``conf`` again."""
    graph = model.graph
    node = find_decode_nms(model)
    if node is None:
        return
    heads = {value.name: value for value in graph.value_info if value.name in node.input[:2]}
    priors = next(i for i in graph.initializer if i.name == node.input[2])
    graph.node.remove(node)
    graph.initializer.remove(priors)
    del graph.output[:]
    for name in node.input[:2]:
        graph.output.append(heads[name])
        graph.value_info.remove(heads[name])
    drop_function(model)
    for entry in [o for o in model.opset_import if o.domain == DOMAIN]:
        model.opset_import.remove(entry)


def drop_function(model: ModelProto) -> None:
    """Remove the function body, so that a plugin of the same name serves the node."""
    for function in [f for f in model.functions if f.domain == DOMAIN]:
        model.functions.remove(function)


def _heads_shape(outputs: Any) -> tuple[int, int]:
    """P and C of the model outputs loc and conf."""
    by_name: dict[str, ValueInfoProto] = {o.name: o for o in outputs}
    dims = by_name["conf"].type.tensor_type.shape.dim
    return int(dims[1].dim_value), int(dims[2].dim_value)
