"""Appending the DecodeNms node to a heads model, and removing it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import (
    ModelProto,
    TensorProto,
    ValueInfoProto,
    helper,
    inliner,
    numpy_helper,
    shape_inference,
)

from ..artefacts.decode_nms import (
    DOMAIN,
    INPUTS,
    OP_TYPE,
    PLUGIN_VERSION,
    find_decode_nms,
)
from ..artefacts.decode_nms_function import make_function, node_attributes
from ..artefacts.onnx_file import drop_function
from ..artefacts.tensors import BOX_SCALE, DETECTIONS, HEADS
from ..errors import BadFile
from ..postprocess import PostprocessParams
from ..postprocess.boxes import edges_from_scale
from ..postprocess.params import WHOLE
from .plain_shapes import initializers_from_constants
from .unused import drop_unused

if TYPE_CHECKING:
    from ..artefacts.description import Description

#: tensor of the boxes in units of a tile, in a network that cuts tiles
_UNSCALED = "tiles/boxes"


def append_decode_nms(
    model: ModelProto,
    params: PostprocessParams,
    priors: npt.NDArray[np.float32],
    box_scale: npt.NDArray[np.float32] | None = None,
) -> None:
    """Replace the outputs ``loc`` and ``conf`` of a heads model by the five of DecodeNms.

    The prior boxes ``[P, 4]`` become an initializer. If given, ``box_scale [4]`` multiplies the
    resulting boxes, as tiles require.
    """
    graph = model.graph
    num_priors, num_classes = _heads_shape(graph.output)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    graph.initializer.append(numpy_helper.from_array(priors, INPUTS[2]))
    edges = WHOLE if box_scale is None else edges_from_scale(box_scale)
    attributes = node_attributes(params, edges)
    if params.operator_version > 1:  # without the attribute, TensorRT's parser assumes version 1
        attributes[PLUGIN_VERSION] = str(params.operator_version)
    outputs = list(DETECTIONS)
    if box_scale is not None:
        outputs[1] = _UNSCALED
    graph.node.append(
        helper.make_node(OP_TYPE, INPUTS, outputs, OP_TYPE, domain=DOMAIN, **attributes)
    )
    if box_scale is not None:
        graph.initializer.append(numpy_helper.from_array(box_scale, BOX_SCALE))
        boxes = DETECTIONS[1]
        graph.node.append(helper.make_node("Mul", [_UNSCALED, BOX_SCALE], [boxes], name="boxes"))
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    rows = params.max_detections(num_priors, num_classes)
    shapes: tuple[list[Any], ...] = ([batch], *([batch, rows, 4], *[[batch, rows]] * 3))
    types = (TensorProto.INT32, *[TensorProto.FLOAT] * 2, *[TensorProto.INT32] * 2)
    # keep the heads' types: strip_decode_nms and shape inference read them
    graph.value_info.extend(graph.output)
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(DETECTIONS, types, shapes, strict=True)
    )
    model.functions.append(make_function(params, num_priors, num_classes, opset))
    model.opset_import.append(helper.make_opsetid(DOMAIN, params.operator_version))


def ending_of(
    description: Description,
) -> tuple[PostprocessParams, npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Return the arguments of :func:`append_decode_nms` after the model, for a description."""
    scale = None if description.tiles is None else description.tiles.box_scale
    return description.postprocess, description.priors, scale


def strip_decode_nms(model: ModelProto) -> None:
    """Undo :func:`append_decode_nms`: the outputs are ``loc`` and ``conf`` again."""
    graph = model.graph
    node = find_decode_nms(model)
    if node is None:
        return
    graph.node.remove(node)
    for prior in [i for i in graph.initializer if i.name == node.input[2]]:
        graph.initializer.remove(prior)
    _end_in_heads(model, node.input[:2])


def inlined(model: ModelProto) -> ModelProto:
    """Inline the body of DecodeNms in place of the node, so that all operators are standard."""
    flat: ModelProto = inliner.inline_local_functions(model)
    for entry in [o for o in flat.opset_import if o.domain == DOMAIN]:
        flat.opset_import.remove(entry)
    initializers_from_constants(flat)
    return flat


def restore_decode_nms(model: ModelProto, description: Description, path: Path) -> None:
    """Undo :func:`inlined`: everything after the heads becomes the description's DecodeNms node.

    Raises:
        BadFile: the heads have lost their names, for instance to another tool's optimiser.
    """
    made = {name for node in model.graph.node for name in node.output}
    if not made.issuperset(HEADS):
        raise BadFile(
            f"{path} was exported with --inline and rewritten by another tool: its heads, "
            f"{' and '.join(HEADS)}, are gone; build it for onnxruntime in fp32, or export it "
            "without --inline"
        )
    _end_in_heads(model, HEADS)
    append_decode_nms(model, *ending_of(description))


def _end_in_heads(model: ModelProto, names: Sequence[str]) -> None:
    """Make two tensors the outputs, and drop what they do not need."""
    graph = model.graph
    heads = {value.name: value for value in graph.value_info if value.name in names}
    if len(heads) != len(names):
        inferred = shape_inference.infer_shapes(model).graph.value_info
        heads = {value.name: value for value in inferred if value.name in names}
    for value in [value for value in graph.value_info if value.name in names]:
        graph.value_info.remove(value)
    del graph.output[:]
    graph.output.extend(heads[name] for name in names)
    drop_unused(model)
    drop_function(model)
    for entry in [o for o in model.opset_import if o.domain == DOMAIN]:
        model.opset_import.remove(entry)


def _heads_shape(outputs: Any) -> tuple[int, int]:
    """Return P and C of the model outputs ``loc`` and ``conf``."""
    by_name: dict[str, ValueInfoProto] = {o.name: o for o in outputs}
    dims = by_name["conf"].type.tensor_type.shape.dim
    return int(dims[1].dim_value), int(dims[2].dim_value)
