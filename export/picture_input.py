"""Resizing, mean and standard deviation inside the network: an input of pictures as they are.

The same steps as :func:`ssd_small.pictures.preprocessing.input_from_image`, in standard operators.
OpenCV resizes uint8 with weights of 11 bits; a Resize in float differs from it by a grey level in
places, by rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..artefacts.tensors import BOUNDARY, INPUT, PREPROCESSING, input_of
from ..errors import BadFile, UsageError
from .unused import drop_unused

if TYPE_CHECKING:
    from ..artefacts.description import Description

_MEAN, _STD = PREPROCESSING
_ORDER, _BATCH, _SIDES = "pictures/order", "pictures/batch", "pictures/sides"


def prepend_preprocessing(model: ModelProto, description: Description) -> None:
    """Let a network of preprocessed float32 take the pictures of ``description.pictures``.

    ``images [N, H, W, 3]`` uint8 BGR -> Cast -> Transpose -> Resize, Round -> Gather (for RGB) ->
    Sub -> Div -> ``network_input [N, 3, height, width]``.

    Raises:
        UsageError: an interpolation other than linear.
    """
    told = description.preprocessing
    if told.interpolation != "linear":
        raise UsageError(
            f"--input uint8: the network's pictures are resized by {told.interpolation!r}; "
            "expected linear, which is what operators do as OpenCV does"
        )
    graph = model.graph
    own = graph.input[0]
    batch = own.type.tensor_type.shape.dim[0].dim_param or "batch"
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == INPUT:
                node.input[position] = BOUNDARY
    own.name = BOUNDARY
    graph.value_info.append(own)
    del graph.input[:]
    images = input_of(description, batch)
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, images.shape))
    channels = (1, 3, 1, 1)
    constants: dict[str, npt.NDArray[Any]] = {
        _MEAN: np.asarray(told.mean, np.float32).reshape(channels),
        _STD: np.asarray(told.std, np.float32).reshape(channels),
        _BATCH: np.zeros(1, np.int64),
        _SIDES: np.array([3, told.height, told.width], np.int64),
    }
    if told.color_order == "RGB":
        constants[_ORDER] = np.array([2, 1, 0], np.int64)
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    nodes = list(_nodes(rgb=told.color_order == "RGB"))
    network = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend([*nodes, *network])


def _nodes(*, rgb: bool) -> list[NodeProto]:
    """Preprocessing, node by node; TensorRT takes uint8 into a Cast and nothing else."""
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", [INPUT], "pictures/float", {"to": TensorProto.FLOAT}),
        ("Transpose", ["pictures/float"], "pictures/planes", {"perm": [0, 3, 1, 2]}),
        ("Shape", ["pictures/planes"], "pictures/shape", {}),
        ("Gather", ["pictures/shape", _BATCH], "pictures/count", {"axis": 0}),
        ("Concat", ["pictures/count", _SIDES], "pictures/target", {"axis": 0}),
        (
            "Resize",
            ["pictures/planes", "", "", "pictures/target"],
            "pictures/resized",
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        ),
        # a network is trained on whole grey levels, as OpenCV gives them
        ("Round", ["pictures/resized"], "pictures/levels", {}),
    ]
    last = "pictures/levels"
    if rgb:
        steps.append(("Gather", [last, _ORDER], "pictures/ordered", {"axis": 1}))
        last = "pictures/ordered"
    steps.append(("Sub", [last, _MEAN], "pictures/centred", {}))
    steps.append(("Div", ["pictures/centred", _STD], BOUNDARY, {}))
    return [
        helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes)
        for kind, inputs, output, attributes in steps
    ]


def strip_preprocessing(model: ModelProto, description: Description, path: Path | str) -> None:
    """Undo :func:`prepend_preprocessing`: the input is preprocessed float32 again.

    Raises:
        BadFile: the place where the network begins has lost its name, as optimisers of other
            tools do to it.
    """
    graph = model.graph
    if not any(BOUNDARY in node.output for node in graph.node):
        raise BadFile(
            f"{path} was exported with --input uint8 and rewritten by another tool: the tensor "
            f"{BOUNDARY} is gone; build it in fp32, or export it again"
        )
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    size = description.preprocessing
    for node in [node for node in graph.node if BOUNDARY in node.output]:
        graph.node.remove(node)
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == BOUNDARY:
                node.input[position] = INPUT
    del graph.input[:]
    shape = [batch, 3, size.height, size.width]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape))
    for value in [value for value in graph.value_info if value.name == BOUNDARY]:
        graph.value_info.remove(value)
    drop_unused(model)
