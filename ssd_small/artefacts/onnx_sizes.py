"""Limits on the memory an ONNX graph would use, checked before anything runs it.

Operators make tensors of any size from a few bytes (ConstantOfShape, Expand, Tile, Range, Concat
of a tensor with itself). No graph of this package needs more than :func:`most_live_bytes` for a
picture, which includes a generous margin; a graph that would need more, or whose needs cannot be
determined, is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from ..errors import BadFile
from ..pictures.preprocessing import MOST_INPUT_PIXELS
from .decode_nms import DOMAIN, OP_TYPE
from .tensors import BOUNDARY, INPUT, TILES

#: nodes of a graph; the largest network here has about 1500
MOST_NODES = 50_000
#: bytes in use at once: a constant part; a part for each pixel of the input, for which the networks
#: here need a thousand; and the limit of the sum
_LIVE, _LIVE_PER_PIXEL, _MOST_LIVE = 1 << 29, 4096, 4 << 30
#: further bytes for each pixel of a picture that is resized inside: as float32 it takes 12, and the
#: rows selected from it, before the columns, may take as many again
_LIVE_PER_RESIZED = 32
#: side of the largest picture, a square, used to measure networks that take any size
_LARGEST_SIDE = math.isqrt(MOST_INPUT_PIXELS)
#: operators whose output size may not follow from shapes, but is no larger than an input
_CUTTING = frozenset(
    (
        *("Cast", "Compress", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Mod"),
        *("NonMaxSuppression", "NonZero", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze"),
        *("TopK", "Transpose", "Unique", "Unsqueeze", "ScatterElements", "ScatterND", OP_TYPE),
    )
)
#: largest initializer, in numbers, that can be a shape and is therefore passed on with its values
_MOST_IN_SHAPE = 1024
#: operators that run a graph of their own any number of times; no export needs them
_CONTROL = frozenset(("Loop", "Scan", "If", "SequenceMap"))
#: fields of a tensor that hold its numbers; complex types take two entries for each number
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def most_live_bytes(height: int, width: int, resized: int = 0) -> int:
    """Largest number of bytes that a network for this input size may have in use for one picture.

    ``resized``: pixels of the picture, if it is resized to that size inside.
    """
    live = _LIVE + _LIVE_PER_PIXEL * height * width + _LIVE_PER_RESIZED * resized
    return min(live, _MOST_LIVE)


def check_declared(model: ModelProto, path: Path) -> None:
    """Refuse tensors whose declared size does not fit their data, and graphs that no export makes.

    Must be called before anything else looks into the model; does not read external weights.

    Raises:
        BadFile: names the tensor or node.
    """
    graph = model.graph
    if len(graph.node) > MOST_NODES:
        raise BadFile(
            f"{path} has {len(graph.node)} nodes; expected a network of at most {MOST_NODES}"
        )
    foreign = next((f.name for f in model.functions if f.domain != DOMAIN), None)
    if foreign is not None:
        raise BadFile(
            f"{path} has a function of its own, {foreign[:60]!r}; put its operators in its place "
            "(onnx.inliner.inline_local_functions)"
        )
    for node in graph.node:
        if node.op_type in _CONTROL or any(_graphs(node)):
            raise BadFile(
                f"{path} holds a graph in a graph ({node.op_type[:60]}), which no network here "
                "has; export it again"
            )
    if graph.sparse_initializer or any(a.HasField("sparse_tensor") for a in _attributes(graph)):
        raise BadFile(f"{path} holds sparse tensors; write them as dense ones")
    for tensor in tensors_of(graph):
        _check_tensor(tensor, path)


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """All tensors with values: initializers and tensors in attributes."""
    yield from graph.initializer
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _attributes(graph: GraphProto) -> Iterator[AttributeProto]:
    return (attribute for node in graph.node for attribute in node.attribute)


def _graphs(node: NodeProto) -> Iterator[object]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else [])
        yield from attribute.graphs


def _check_tensor(tensor: TensorProto, path: Path) -> None:
    """Refuse a tensor whose data do not fill its dimensions."""
    name, dims = tensor.name[:60] or "of an attribute", list(tensor.dims)
    count = math.prod(dims)
    if min(dims, default=0) < 0:
        raise BadFile(f"{path}: tensor {name} has dimensions {dims[:8]}; export it again")
    if tensor.data_location == TensorProto.EXTERNAL:
        _check_external(tensor, count, path)
        return
    held = max(len(getattr(tensor, field)) for field in _FIELDS)
    held = held // 2 if tensor.data_type in _COMPLEX else held
    # two 4-bit numbers fit into a byte; other types have at least one byte per number
    held = max(2 * held, 2 * len(tensor.raw_data))
    if count > held:
        raise BadFile(
            f"{path}: tensor {name} declares {count} numbers and holds fewer; export it again"
        )


def _check_external(tensor: TensorProto, count: int, path: Path) -> None:
    said = {entry.key: entry.value for entry in tensor.external_data}
    file = path.parent / said.get("location", "")
    try:
        size = file.stat().st_size
        offset, length = (int(said.get(key, "0") or "0") for key in ("offset", "length"))
    except (OSError, ValueError):
        return  # reported where it is read
    if not 0 <= offset <= size or not 0 <= length <= size - offset or count > 2 * (size - offset):
        raise BadFile(
            f"{path}: tensor {tensor.name[:60]} is said to be {count} numbers at byte {offset} of "
            f"{file}, which has {size} bytes; put the whole file there, or export it again"
        )


def check_memory(model: ModelProto, path: Path) -> None:
    """Refuse a graph that needs more memory at once than any network here, for one picture.

    Raises:
        BadFile: names the node that exceeds the limit, or whose output size is unknown.
    """
    height, width = _input_size(model)
    sizes = _sizes(model, path)
    # pixels of [3, height, width] float32 tensors other than the input: the resized picture, and
    # its tiles, which overlap
    inside = max((sizes.get(name) or 0) // 12 for name in (BOUNDARY, TILES))
    resized = height * width if _takes_pictures(model) else 0
    most = most_live_bytes(inside or height * width, 1, resized)
    last_use = {name: number for number, node in enumerate(model.graph.node) for name in node.input}
    ends = {output.name for output in model.graph.output}
    varying = {INPUT}
    constants = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    live = 0
    for number, node in enumerate(model.graph.node):
        depends = any(name in varying for name in node.input)
        for name in filter(None, node.output):
            size = sizes.get(name)
            if size is None:
                size = sizes[name] = _most_from_inputs(node, sizes, constants)
            if size is None and node.op_type not in _CUTTING:
                raise BadFile(
                    f"{path}: nothing says how large the output of its {node.op_type} node "
                    f"{(node.name or name)[:60]!r} is; export it again, with constant shapes"
                )
            live += size or 0
            if depends:
                varying.add(name)
        if live > most:
            raise BadFile(
                f"{path} would have {live} bytes in use at its {node.op_type} node "
                f"{(node.name or node.output[0])[:60]!r}, and at most {most} are expected of a "
                f"network for {width}x{height} pixels; export it again"
            )
        for name in set(node.input) | set(node.output):
            # what does not depend on the picture is computed once and kept
            is_done = last_use.get(name, number) <= number and name not in ends
            if is_done and name in varying and name != INPUT:
                live -= sizes.pop(name, None) or 0


def _most_from_inputs(
    node: NodeProto, sizes: dict[str, int | None], constants: dict[str, int]
) -> int | None:
    """Upper bound on the bytes of an output whose shape is computed by the graph itself.

    Networks exported for any batch contain such outputs: heads are reshaped to (batch, boxes, 4),
    with the batch from a Shape node, and concatenated.

    ``constants``: how many numbers each initializer has.
    """
    parts = [sizes.get(name) for name in node.input]
    known = [part for part in parts if part is not None]
    if node.op_type == "Concat":
        return sum(known) if len(known) == len(parts) else None
    if node.op_type == "Mul" and len(known) == 1:
        # such as boxes of tiles: repeated at most as often as the constant has numbers
        times = [constants[name] for name in node.input if name in constants]
        return known[0] * times[0] if times else None
    # Cast is left out, since another type can have larger numbers
    return max(known, default=None) if node.op_type in _CUTTING - {"Cast"} else None


def _input_size(model: ModelProto) -> tuple[int, int]:
    """(height, width) that the input declares, 0 where it does not.

    For inputs that take pictures of any size, those of the largest picture accepted.
    """
    for one in model.graph.input:
        dims = [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        if one.name == INPUT and len(dims) == 4:
            if _takes_pictures(model):
                return max(dims[1], 0) or _LARGEST_SIDE, max(dims[2], 0) or _LARGEST_SIDE
            return max(dims[2], 0), max(dims[3], 0)
    return 0, 0


def _takes_pictures(model: ModelProto) -> bool:
    """Whether the input takes pictures as they are, ``[N, H, W, 3]`` uint8."""
    kinds = [one.type.tensor_type.elem_type for one in model.graph.input if one.name == INPUT]
    return kinds == [TensorProto.UINT8]


def _sizes(model: ModelProto, path: Path) -> dict[str, int | None]:
    """Bytes of each intermediate tensor and output for one picture; None if unknown."""
    inferred = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = inferred.graph
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    sides = (1, *_input_size(model)) if _takes_pictures(model) else ()
    for value in graph.input:
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_value = sides[place] if place < len(sides) else 1
    declared = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _MOST_IN_SHAPE:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:  # for weights the dimensions are enough
            kind = (tensor.name, tensor.data_type, list(tensor.dims))
            graph.input.append(helper.make_tensor_value_info(*kind))
    # what the file itself says about intermediate tensors and outputs is not trusted
    graph.output.extend(ValueInfoProto(name=output.name) for output in model.graph.output)
    try:
        graph = onnx.shape_inference.infer_shapes(inferred).graph
        # propagate the values of shapes, if these are small: constants that are concatenated are
        # computed number by number, however many there are
        if all(_is_shape(value) for value in graph.value_info if _is_flat(value)):
            graph = onnx.shape_inference.infer_shapes(inferred, data_prop=True).graph
    except Exception as error:  # its types vary by version
        reason = " ".join(str(error).split())[:200]
        raise BadFile(f"{path} contradicts itself: {reason}; export it again") from error
    return {value.name: _bytes(value) for value in (*graph.value_info, *graph.output)}


def _is_flat(value: ValueInfoProto) -> bool:
    """Whether a tensor may hold a shape: one dimension, or none."""
    return len(value.type.tensor_type.shape.dim) < 2


def _is_shape(value: ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return all(dim.dim_value <= _MOST_IN_SHAPE for dim in dims)


def _bytes(value: ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    dims = [dim.dim_value for dim in kind.shape.dim if dim.HasField("dim_value")]
    if len(dims) < len(kind.shape.dim):
        return None
    try:
        item = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    except (KeyError, TypeError, ValueError):
        item = 8
    return int(math.prod(dims) * item)
