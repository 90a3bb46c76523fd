"""Reading ONNX files of this tool and checking that they contain what they describe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, numpy_helper

from ..errors import BadFile, SsdSmallError, reason_from_exception
from ..files import read_bytes
from ..pictures.tile_grid import TileGrid
from .decode_nms import (
    DOMAIN,
    INPUTS,
    OP_TYPE,
    VERSION,
    edges_from_node,
    find_decode_nms,
    params_from_node,
    same_params,
)
from .decode_nms_body import check_body
from .decode_nms_function import make_function
from .description import Description
from .onnx_sizes import check_declared, check_memory
from .onnx_weights import MOST_BYTES, check_beside, read_weights
from .tensors import (
    BOX_SCALE,
    DETECTIONS,
    HEADS,
    INPUT,
    PREPROCESSING,
    TILE_COLUMNS,
    TILE_ROWS,
    input_of,
    output_names,
)


def read_onnx(
    path: str | Path, description: Description | None = None
) -> tuple[ModelProto, Description]:
    """Read an ONNX file of this tool and its description.

    Other tools may have rewritten the file: weights stored beside it are read, and the body of
    DecodeNms is written anew from the node, since converters drop it or leave it in another
    operator set than the rest. A body that contradicts the node is refused.

    Args:
        path: the ONNX file.
        description: the network's description, for a file that has lost its metadata.

    Raises:
        BadFile: absent, truncated, not of this tool, of another version of the operator, or its
            network or decode + NMS are not those described.
    """
    path = Path(path)
    model, bodies = _parsed(path)
    with graph_faults(path):
        return _checked(model, bodies, description, path)


@contextmanager
def graph_faults(path: Path) -> Iterator[None]:
    """Turn exceptions raised by a malformed graph into :class:`BadFile`.

    A file that parses may still lack any input, attribute or name that a step looks at.
    """
    try:
        yield
    except (SsdSmallError, OSError, MemoryError):
        raise
    except Exception as error:
        raise BadFile(
            f"{path} holds a graph that cannot be understood ({reason_from_exception(error)}); "
            "export it again"
        ) from error


def _checked(
    model: ModelProto,
    bodies: Sequence[FunctionProto],
    description: Description | None,
    path: Path,
) -> tuple[ModelProto, Description]:
    """Model and description, after checking that they fit each other."""
    if description is None:
        properties = {p.key: p.value for p in model.metadata_props}
        description = Description.from_metadata(properties, path)
    else:
        description = description.with_decode_nms(_outputs(model) == list(DETECTIONS))
    _check_operator(model, description, path)
    if find_decode_nms(model) is not None:
        for body in bodies:
            check_body(body, description, path)
        opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        params, priors = description.postprocess, description.priors
        model.functions.append(make_function(params, len(priors), description.num_classes, opset))
    return model, description


def drop_function(model: ModelProto) -> None:
    """Remove the function body, so that a plugin of the same name executes the node."""
    for function in [f for f in model.functions if f.domain == DOMAIN]:
        model.functions.remove(function)


def is_inline(model: ModelProto, description: Description) -> bool:
    """Whether decode + NMS are inside as standard operators, without a DecodeNms node."""
    return description.has_decode_nms and find_decode_nms(model) is None


def _parsed(path: Path) -> tuple[ModelProto, Sequence[FunctionProto]]:
    """A valid model with its weights and without functions, and the DecodeNms bodies it had."""
    content = read_bytes(path, "an ONNX file written by 'ssd-small export'", MOST_BYTES)
    model = ModelProto()
    try:
        model.ParseFromString(content)
        check_beside(model, path)
        check_declared(model, path)
        read_weights(model, path)
        bodies = [one for one in model.functions if (one.domain, one.name) == (DOMAIN, OP_TYPE)]
        drop_function(model)
        onnx.checker.check_model(model)
        check_memory(model, path)
    except BadFile:
        raise
    except OSError as error:
        raise BadFile(
            f"cannot read the weights of {path}: {error.strerror or error}; expected them in a "
            "file beside it"
        ) from error
    except Exception as error:  # protobuf's and the checker's own exception types vary by version
        reason = reason_from_exception(error) if str(error).strip() else "empty"
        raise BadFile(f"{path} is not a valid ONNX file ({reason}); export it again") from error
    return model, bodies


def _check_operator(model: ModelProto, description: Description, path: Path) -> None:
    node = find_decode_nms(model)
    version = next((o.version for o in model.opset_import if o.domain == DOMAIN), None)
    if version is not None and version > VERSION:
        raise BadFile(
            f"{path} was written by a newer ssd-small: it uses {OP_TYPE} version {version}, and "
            f"this one knows version {VERSION}; update ssd-small"
        )
    if version is not None and version < 1:
        raise BadFile(
            f"{path} uses {OP_TYPE} version {version}; this tool knows version 1 to {VERSION}: "
            "export it again"
        )
    if node is not None and not description.has_decode_nms:
        raise BadFile(f"{path} holds a {OP_TYPE} node that it does not describe; export it again")
    expected, outputs = list(output_names(description)), _outputs(model)
    if outputs != expected:
        raise BadFile(f"{path} has outputs {outputs}; expected {expected}: export it again")
    inputs = [i.name for i in model.graph.input]
    if inputs != [INPUT]:
        raise BadFile(f"{path} has inputs {inputs}; expected {[INPUT]}: export it again")
    if node and not same_params(params_from_node(node, path), description.postprocess):
        raise BadFile(
            f"{path}: the attributes of its {OP_TYPE} node are not the parameters it describes; "
            "export it again"
        )
    if node is not None:
        _check_clipping(node, version, description, path)
    if is_inline(model, description):
        _check_suppression(model, description, path)
    _check_shapes(model, node, description, path)
    if description.pictures is not None:
        _check_preprocessing(model, description, path)
    if description.tiles is not None:
        _check_tiles(model, description.tiles, path)
    if description.has_decode_nms:
        _check_priors(model, node, description, path)


def _check_clipping(
    node: NodeProto, version: int | None, description: Description, path: Path
) -> None:
    """Check that the version fits the parameters, and that boxes are cut at the right edges."""
    wanted = description.postprocess.operator_version
    if version != wanted:
        raise BadFile(
            f"{path} uses {OP_TYPE} version {version}, but its parameters are those of version "
            f"{wanted}; export it again"
        )
    expected = tuple(float(np.float32(edge)) for edge in description.edges)
    if wanted > 1 and edges_from_node(node) != expected:
        raise BadFile(
            f"{path} cuts boxes at {edges_from_node(node)}, but its picture ends at {expected}; "
            "export it again"
        )


def _check_suppression(model: ModelProto, description: Description, path: Path) -> None:
    """Check that the standard operators suppress with the parameters that are described."""
    params = description.postprocess
    every = params.keep_topk_per_class or len(description.priors)
    expected = {
        "keep_topk_per_class": min(every, len(description.priors)),
        "iou_threshold": params.iou_threshold,
        "score_threshold": params.score_threshold,
    }
    nodes = [node for node in model.graph.node if node.op_type == "NonMaxSuppression"]
    for node in nodes[:1]:
        for (name, wanted), given in zip(expected.items(), node.input[2:5], strict=False):
            found = _number(model, given)
            # tools that convert to half precision round constants to 11 bits
            if found is not None and not np.isclose(found, wanted, rtol=2**-11, atol=0):
                raise BadFile(
                    f"{path} suppresses with {name} {found:g}, but describes {wanted:g}; export it "
                    "again"
                )


def _number(model: ModelProto, name: str) -> float | None:
    """Value of a scalar constant, whatever shape it was given; None if it is not a constant."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    while name in made_by and made_by[name].op_type in ("Reshape", "Unsqueeze", "Identity", "Cast"):
        name = made_by[name].input[0]
    value = constant_of(model, name)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _outputs(model: ModelProto) -> list[str]:
    return [output.name for output in model.graph.output]


def _check_shapes(
    model: ModelProto, node: NodeProto | None, description: Description, path: Path
) -> None:
    """Check that input and conf have the size, priors and classes that the description lists."""
    priors = len(description.priors)
    conf = node.input[1] if node else HEADS[1]
    images = input_of(description)
    expected = {
        INPUT: [side if isinstance(side, int) else 0 for side in images.shape[1:]],
        conf: [priors, description.num_classes],
    }
    if is_inline(model, description):
        # the heads may have lost their names; the shape of the detections is checked instead
        del expected[conf]
        conf = DETECTIONS[1]
        rows = description.postprocess.max_detections(priors, description.num_classes)
        expected[conf] = [rows, 4]
    kind = TensorProto.DataType.Name(model.graph.input[0].type.tensor_type.elem_type)
    if kind != images.type:
        raise BadFile(
            f"{path} takes {INPUT} of type {kind}, but describes {images.type}; export it again"
        )
    found = {name: _shape_of(model, name)[1:] for name in expected}
    if found != expected:
        what = "detections" if conf == DETECTIONS[1] else "priors and classes"
        raise BadFile(
            f"{path} takes {found[INPUT]} and computes {found[conf]} {what}, but "
            f"describes {expected[INPUT]} and {expected[conf]}; export it again"
        )


def _shape_of(model: ModelProto, name: str) -> list[int]:
    """Dimensions of a tensor, 0 where they may vary; empty if it is not there."""
    for one in (model.graph, None):
        # some tools drop the shapes of intermediate tensors, which are then inferred
        graph = one or onnx.shape_inference.infer_shapes(model).graph
        values = (*graph.input, *graph.output, *graph.value_info)
        dims: Any = next((v.type.tensor_type.shape.dim for v in values if v.name == name), [])
        if dims:
            return [d.dim_value for d in dims]
    return []


def _check_preprocessing(model: ModelProto, description: Description, path: Path) -> None:
    """Check that the preprocessing inside is the one described, unless a tool has folded it."""
    told = description.preprocessing
    mean, std, order, height, width = PREPROCESSING
    values: dict[str, Any] = {mean: told.mean, std: told.std, height: told.height}
    values |= {width: told.width, order: [2, 1, 0]}
    found = {name: constant_of(model, name) for name in values}
    differing = [
        name
        for name, inside in found.items()
        if inside is not None
        and not np.array_equal(inside.ravel(), np.ravel(np.float32(values[name])))
    ]
    # present only if channels are reordered
    if found[mean] is not None and (found[order] is not None) != (told.color_order == "RGB"):
        differing.append(order)
    if differing:
        what = ", ".join(PREPROCESSING[name] for name in differing)
        raise BadFile(f"{path} makes other {what} of pictures than it describes; export it again")


def _check_tiles(model: ModelProto, tiles: TileGrid, path: Path) -> None:
    """Check that tile pixels and box scale are those described, unless a tool has folded them."""
    rows, columns = tiles.indices
    values: dict[str, Any] = {TILE_ROWS: rows, TILE_COLUMNS: columns, BOX_SCALE: tiles.box_scale}
    for name, value in values.items():
        inside = constant_of(model, name)
        if inside is not None and not np.array_equal(inside, value):
            raise BadFile(f"{path} cuts other tiles of pictures than it describes; export it again")


def _check_priors(
    model: ModelProto, node: NodeProto | None, description: Description, path: Path
) -> None:
    """Check that the prior boxes of decode + NMS are those described."""
    inside = constant_of(model, node.input[2] if node else INPUTS[2])
    if inside is None and node is None:
        return  # folded into other constants
    # computed from the same levels in double precision, so only the last digit may differ
    margin = 2**-20 if description.stored_priors is None else 0
    expected = description.priors
    if (
        inside is None
        or inside.shape != expected.shape
        or not np.allclose(inside, expected, rtol=0, atol=margin)
    ):
        raise BadFile(f"{path} holds other prior boxes than it describes; export it again")


def constant_of(model: ModelProto, name: str) -> np.ndarray[Any, Any] | None:
    """Value of an initializer or Constant node; None if there is neither."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return np.asarray(numpy_helper.to_array(tensor))
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            return array_from_constant(node)
    return None


def array_from_constant(node: NodeProto) -> np.ndarray[Any, Any]:
    """Value of a Constant node, whichever of its attributes holds it."""
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return np.asarray(numpy_helper.to_array(value))
    return np.asarray(value, np.int64 if attribute.name.startswith("value_int") else np.float32)
