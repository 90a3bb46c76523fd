"""Resizing, mean and standard deviation inside the network, which then takes unprocessed pictures.

The same steps as :func:`ssd_small.pictures.preprocessing.input_from_image`, in standard operators.
OpenCV resizes uint8 in integer arithmetic, with 11-bit weights and truncation after each direction,
which makes pictures a twelfth of a grey level darker than a float32 Resize; a trained network
notices. So OpenCV's steps are reproduced one by one. All numbers are whole and, except for one
product, below 2^24, so float32 represents them exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..artefacts.tensors import BOUNDARY, INPUT, input_of
from ..errors import BadFile, UsageError
from .unused import drop_unused

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..pictures.preprocessing import PictureInput, Preprocessing

#: the weights of a pixel's two neighbours are multiples of one part in this many
_PARTS = 2048.0


def prepend_preprocessing(model: ModelProto, description: Description) -> None:
    """Let a network with preprocessed float32 input take the pictures of ``description.pictures``.

    ``images [N, H, W, 3]`` uint8 BGR -> Cast -> resized rows and columns -> Transpose -> Gather
    (for RGB) -> Sub -> Div -> ``network_input [N, 3, height, width]``.

    Raises:
        UsageError: the interpolation is not linear, or resizing has further options.
    """
    told = description.preprocessing
    if told.interpolation != "linear":
        raise UsageError(
            f"--input uint8: the network's pictures are resized by {told.interpolation!r}; "
            "expected linear, which is what operators do as OpenCV does"
        )
    for name, value in told.resizing.items():
        raise UsageError(
            f"--input uint8: the network's pictures have {name} {value}, which is not done "
            "inside a network; export it without --input uint8"
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
    steps = _Steps()
    _add_preprocessing(steps, told, description.pictures)
    graph.initializer.extend(steps.constants)
    network = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend([*steps.nodes, *network])


class _Steps:
    """Nodes and constants under construction; names begin with ``pictures/``."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        array = np.asarray(value, dtype)
        self.constants.append(numpy_helper.from_array(array, f"pictures/{name}"))
        return f"pictures/{name}"

    def __call__(self, kind: str, output: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = output if output == BOUNDARY else f"pictures/{output}"
        name = f"{output}/{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output


def _add_preprocessing(add: _Steps, told: Preprocessing, taken: PictureInput | None) -> None:
    """Add the nodes from INPUT to BOUNDARY."""
    # TensorRT accepts uint8 only as the input of a Cast
    levels = add("Cast", "float", INPUT, to=TensorProto.FLOAT)
    if taken is None or taken.size != (told.height, told.width):
        shape = add("Shape", "shape", INPUT)
        rows, row_weights = _neighbours(add, shape, 1, told.height)
        columns, column_weights = _neighbours(add, shape, 2, told.width)
        levels = _resized(add, levels, rows, row_weights, columns, column_weights)
    planes = add("Transpose", "planes", levels, perm=[0, 3, 1, 2])
    if told.color_order == "RGB":
        order = add.constant("order", [2, 1, 0], np.int64)
        planes = add("Gather", "ordered", planes, order, axis=1)
    channels = (1, 3, 1, 1)
    mean = add.constant("mean", np.asarray(told.mean).reshape(channels))
    std = add.constant("std", np.asarray(told.std).reshape(channels))
    add("Div", BOUNDARY, add("Sub", "centred", planes, mean), std)


def _neighbours(add: _Steps, shape: str, axis: int, size: int) -> tuple[str, str]:
    """Find the two pixels beside each of ``size`` positions, ``[2, size]``, and their weights.

    Position k lies at ((2 k + 1) length - size) / (2 size) pixels. The integer part is the first of
    the two pixels; the rest, in parts of 2048, is the weight of the second. Both are computed in
    whole numbers, because the quotient itself would lose parts in float32.
    """
    one = ("rows", "columns")[axis - 1]
    length = add(
        "Cast",
        f"{one}/length",
        add("Gather", f"{one}/size", shape, add.constant(f"{one}/axis", [axis], np.int64), axis=0),
        to=TensorProto.FLOAT,
    )
    double = add.constant(f"{one}/double", [2 * size])
    odd = add.constant(f"{one}/odd", 2 * np.arange(size) + 1)
    scaled = add("Mul", f"{one}/scaled", odd, length)
    place = add("Sub", f"{one}/place", scaled, add.constant(f"{one}/half", [size]))
    first = add("Floor", f"{one}/first", add("Div", f"{one}/quotient", place, double))
    rest = add("Sub", f"{one}/rest", place, add("Mul", f"{one}/whole", first, double))
    parts = add("Mul", f"{one}/parts", rest, add.constant(f"{one}/of", [_PARTS]))
    second = add("Round", f"{one}/second", add("Div", f"{one}/share", parts, double))
    # (2048 - w, w); before Abs, the second has the wrong sign
    all_parts = add.constant(f"{one}/all", [[_PARTS], [0.0]])
    weights = add("Abs", f"{one}/weights", add("Sub", f"{one}/both", all_parts, second))
    pair = add("Add", f"{one}/pair", first, add.constant(f"{one}/step", [[0], [1]]))
    last = add("Sub", f"{one}/last", length, add.constant(f"{one}/one", [1]))
    inside = add("Min", f"{one}/until", pair, last)
    inside = add("Max", f"{one}/from", inside, add.constant(f"{one}/zero", [0]))
    return add("Cast", f"{one}/pixels", inside, to=TensorProto.INT64), weights


def _resized(
    add: _Steps, pixels: str, rows: str, row_weights: str, columns: str, column_weights: str
) -> str:
    """Resize ``pixels [N, H, W, 3]`` to whole grey levels ``[N, height, width, 3]``, as OpenCV."""
    chosen = add("Gather", "rows", pixels, rows, axis=1)  # [N, 2, height, W, 3]
    chosen = add("Gather", "columns", chosen, columns, axis=3)  # [N, 2, height, 2, width, 3]
    # weights are repeated per channel: ONNX Runtime multiplies long rows much faster than threes
    channels = add.constant("channels", [1, 1, 3], np.int64)
    column_weights = _reshaped(add, "columns", column_weights, [2, -1, 1])
    column_weights = add("Expand", "columns/expanded", column_weights, channels)
    row_weights = _reshaped(add, "rows", row_weights, [2, -1, 1, 1])
    across = _summed(add, "across", add("Mul", "products", chosen, column_weights), axis=3)
    # [N, 2, height, width, 3]; 4 of its 19 bits are cut off, and then 16 of the product's 26
    shorter = add(
        "Floor", "cut", add("Mul", "sixteenth", across, add.constant("sixteenth/by", 2.0**-4))
    )
    down = add("Mul", "lines", shorter, row_weights)
    down = add(
        "Floor", "shorter", add("Mul", "shifted", down, add.constant("shifted/by", 2.0**-16))
    )
    down = _summed(add, "down", down, axis=1)
    # in quarters of a grey level; rounded to whole levels
    half = add("Add", "half", down, add.constant("half/by", 2.0))
    return add("Floor", "levels", add("Mul", "quarter", half, add.constant("quarter/by", 0.25)))


def _reshaped(add: _Steps, one: str, values: str, form: list[int]) -> str:
    return add("Reshape", f"{one}/shaped", values, add.constant(f"{one}/form", form, np.int64))


def _summed(add: _Steps, one: str, values: str, *, axis: int) -> str:
    """Sum over an axis of length two, which is removed."""
    return add("ReduceSum", one, values, add.constant(f"{one}/axis", [axis], np.int64), keepdims=0)


def strip_preprocessing(model: ModelProto, description: Description, path: Path | str) -> None:
    """Undo :func:`prepend_preprocessing`: the input is preprocessed float32 again.

    Raises:
        BadFile: the tensor where the network begins has lost its name, for instance to another
            tool's optimiser.
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
