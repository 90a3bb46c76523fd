"""Reading somebody else's ONNX file, and cutting out the part that computes its heads."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
from onnx import ModelProto, TensorProto, ValueInfoProto

from ..artefacts.onnx_file import graph_faults
from ..artefacts.onnx_sizes import check_declared, check_memory
from ..artefacts.onnx_weights import MOST_BYTES, check_beside, read_weights
from ..errors import BadFile, UsageError, quoted, reason_from_exception
from ..files import read_bytes
from ..runtimes.cuts import cut_model, session_from_model
from ..runtimes.onnxruntime import reason_from_error

#: names of the standard operators' domain
_STANDARD = ("", "ai.onnx")
#: suffix that TensorFlow gives the name of a node's first output
_FIRST_OUTPUT = ":0"
#: first IR version in which initializers need not be inputs
_NEWER_IR = 4
#: numpy types of the pictures that networks take
_KINDS: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.UINT8: np.dtype(np.uint8),
}


@dataclass(frozen=True)
class PicturesInput:
    """The input of a network that takes pictures.

    Attributes:
        name: of the tensor.
        batch: number of pictures that it takes at once; None for any number.
        height, width: in pixels; None if the graph leaves them open.
        channels_last: whether it is ``[N, H, W, 3]``, else ``[N, 3, H, W]``.
        kind: type of its numbers.
    """

    name: str
    batch: int | None
    height: int | None
    width: int | None
    channels_last: bool
    kind: np.dtype[Any]


def read_foreign(path: Path) -> ModelProto:
    """Read any ONNX file, with functions inlined; external weights are not read yet.

    Raises:
        BadFile: absent, or not an ONNX file.
    """
    content = read_bytes(path, "an ONNX file", MOST_BYTES)
    model = ModelProto()
    try:
        model.ParseFromString(content)
        if not model.graph.node:
            raise BadFile(f"{path} is not a valid ONNX file (it has no nodes); expected a network")
        check_beside(model, path)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except BadFile:
        raise
    except Exception as error:  # protobuf's own exception types vary by version
        raise BadFile(
            f"{path} is not a valid ONNX file ({reason_from_exception(error)}); expected a network"
        ) from error
    _use_one_name(model)
    # up to IR 3 every initializer had to be an input too, and many tools still write it so
    known = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in known]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, _NEWER_IR)
    return model


def _use_one_name(model: ModelProto) -> None:
    """Use the same one of its two names for the standard operators' domain everywhere."""
    for node in model.graph.node:
        if node.domain == _STANDARD[1]:
            node.domain = ""
    versions = [one.version for one in model.opset_import if one.domain in _STANDARD]
    others = [one for one in model.opset_import if one.domain not in _STANDARD]
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", max(versions, default=1)))
    model.opset_import.extend(others)


def part_of(
    model: ModelProto, names: Sequence[str], path: Path, begin: str | None = None
) -> ModelProto:
    """The part of a network that computes the given tensors, with its weights, checked.

    Args:
        model: as :func:`read_foreign` returns it.
        names: of the tensors.
        path: the file, for messages.
        begin: tensor where the part begins; None for the network's own input.

    Raises:
        BadFile: it is not a valid graph, or uses operators that are not ONNX's.
    """
    starts = None if begin is None else {begin: (_KINDS[TensorProto.FLOAT], _sides(model, begin))}
    part = cut_model(model, names, starts)
    check_declared(part, path)
    foreign = next((node for node in part.graph.node if node.domain), None)
    if foreign is not None:
        raise BadFile(
            f"{path}: {names[0]} needs {quoted(foreign.op_type)} of {quoted(foreign.domain)}, "
            "which is no operator of ONNX; take a tensor before it"
        )
    for entry in [one for one in part.opset_import if one.domain]:
        part.opset_import.remove(entry)
    try:
        read_weights(part, path)
        with graph_faults(path):
            _set_types(part)
        onnx.checker.check_model(part)
        check_memory(part, path)
    except BadFile:
        raise
    except OSError as error:
        raise BadFile(f"cannot read the weights of {path}: {error.strerror or error}") from error
    except Exception as error:  # the checker's own exception types vary by version
        reason = reason_from_exception(error)
        raise BadFile(f"{path} is not a valid ONNX file ({reason}); write it again") from error
    return part


def _sides(model: ModelProto, name: str) -> list[int | None]:
    """Dimensions of pictures inside a graph, from their known shape or from what reads them."""
    try:
        known = value_infos(model).get(name)
    except Exception:  # its type varies by version; faults elsewhere do not matter here
        known = None
    dims = known.type.tensor_type.shape.dim if known is not None else []
    if len(dims) == 4 and 3 in (_side(dims[1]), _side(dims[3])):
        return [None, *(_side(dim) for dim in dims[1:])]
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] == name:
            return [None, None, None, 3]
    return [None, 3, None, None]


def _set_types(part: ModelProto) -> None:
    """Give the outputs of a part the types that follow from its operators."""
    inferred = onnx.shape_inference.infer_shapes(part).graph
    for output, typed in zip(part.graph.output, inferred.output, strict=True):
        output.CopyFrom(typed)
        if not output.type.tensor_type.elem_type:
            output.type.tensor_type.elem_type = TensorProto.FLOAT


def tensor_name(
    model: ModelProto, asked: str, option: str, path: Path, *, computed: bool = False
) -> str:
    """The name of a tensor as in the graph, with or without TensorFlow's suffix ``:0``.

    ``computed``: only accept the output of a node, not an initializer.

    Raises:
        UsageError: there is none; suggests similar names.
    """
    names = {name for node in model.graph.node for name in node.output if name}
    if not computed:
        names |= {tensor.name for tensor in model.graph.initializer}
    for name in spellings(asked):
        if name in names:
            return name
    close = difflib.get_close_matches(asked, sorted(names), n=3)
    advice = f"; called similarly: {', '.join(close)}" if close else ""
    raise UsageError(f"{option}: {path} has no tensor {quoted(asked)}{advice}")


def spellings(name: str) -> tuple[str, ...]:
    """Possible names of a tensor: TensorFlow numbers a node's outputs, and converters keep that."""
    plain = name.removesuffix(_FIRST_OUTPUT)
    return (name, f"{name}{_FIRST_OUTPUT}") if plain == name else (name, plain)


def input_of_part(part: ModelProto, path: Path) -> PicturesInput:
    """The only input of the part that computes the heads.

    Raises:
        BadFile: there are several inputs, or it does not take pictures of three channels.
    """
    if len(part.graph.input) != 1:
        names = ", ".join(value.name for value in part.graph.input) or "nothing"
        raise BadFile(f"{path}: its heads are made of {names}; expected one input, of pictures")
    (value,) = part.graph.input
    kind = value.type.tensor_type
    sides = [_side(dim) for dim in kind.shape.dim]
    if kind.elem_type not in _KINDS:
        raise BadFile(
            f"{path} takes {value.name} of type {TensorProto.DataType.Name(kind.elem_type)}; "
            "expected FLOAT, FLOAT16 or UINT8"
        )
    if len(sides) != 4 or 3 not in (sides[1], sides[3]):
        raise BadFile(
            f"{path} takes {value.name} of shape {sides}; expected pictures, [N, 3, H, W] or "
            "[N, H, W, 3]"
        )
    channels_last = sides[1] != 3
    height, width = sides[1:3] if channels_last else sides[2:4]
    return PicturesInput(value.name, sides[0], height, width, channels_last, _KINDS[kind.elem_type])


def _side(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def feed_from_images(images: npt.NDArray[np.float32], given: PicturesInput) -> dict[str, Any]:
    """The feed of their graph for pictures ``[N, 3, H, W]``, repeated to fill a fixed batch."""
    batch = given.batch or len(images)
    array = np.resize(images, (batch, *images.shape[1:]))
    if given.channels_last:
        array = array.transpose(0, 2, 3, 1)
    return {given.name: np.ascontiguousarray(array.astype(given.kind))}


def run_part(part: ModelProto, feed: dict[str, Any], path: Path) -> list[npt.NDArray[Any]]:
    """Outputs of a part for an input, executed by ONNX Runtime on the CPU.

    Raises:
        BadFile: it cannot be executed.
        MissingRequirement: ONNX Runtime is not installed.
    """
    try:
        session = session_from_model(part, 1)
        needed = {one.name for one in session.get_inputs()}
        found: list[npt.NDArray[Any]] = session.run(
            None, {name: array for name, array in feed.items() if name in needed}
        )
    except (BadFile, ImportError):
        raise
    except Exception as error:  # ONNX Runtime's exception types are not public
        raise BadFile(f"ONNX Runtime cannot run {path}: {reason_from_error(error)}") from error
    return found


def value_infos(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Type and shape of every tensor by name, as far as known after shape inference."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {one.name: one for one in (*graph.input, *graph.value_info, *graph.output)}
