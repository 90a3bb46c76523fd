"""Reading ONNX files of this tool: what they say of themselves must be what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ..errors import BadFile
from ..files import read_bytes
from ..postprocess import PostprocessParams
from .description import Description
from .tensors import HEADS, INPUT, output_names

#: the operator that ends a network with decode + NMS inside
DOMAIN = "ssd_small"
OP_TYPE = "DecodeNms"
VERSION = 1
INPUTS = (*HEADS, "priors")

_FLOATS = ("score_threshold", "iou_threshold", "pixel_offset", "variances")


def read_onnx(path: str | Path) -> tuple[ModelProto, Description]:
    """Read an ONNX file of this tool and what it says about itself.

    Raises:
        BadFile: absent, truncated, not of this tool, or of another version of the operator.
    """
    path = Path(path)
    content = read_bytes(path, "an ONNX file written by 'ssd-small export'")
    model = ModelProto()
    try:
        model.ParseFromString(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's own exception types vary by version
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "empty"
        raise BadFile(f"{path} is not a valid ONNX file ({reason}); export it again") from error
    properties = {p.key: p.value for p in model.metadata_props}
    description = Description.from_metadata(properties, path)
    _check_operator(model, description, path)
    return model, description


def _check_operator(model: ModelProto, description: Description, path: Path) -> None:
    node = find_decode_nms(model)
    version = next((o.version for o in model.opset_import if o.domain == DOMAIN), None)
    if version is not None and version > VERSION:
        raise BadFile(
            f"{path} was written by a newer ssd-small: it uses {OP_TYPE} version {version}, and "
            f"this one knows version {VERSION}; update ssd-small"
        )
    if version not in (None, VERSION):
        raise BadFile(
            f"{path} uses {OP_TYPE} version {version}; this tool knows version {VERSION}: export "
            "it again"
        )
    if description.has_decode_nms != (node is not None):
        raise BadFile(f"{path} does not hold the {OP_TYPE} node it describes; export it again")
    expected = list(output_names(description))
    outputs = [o.name for o in model.graph.output]
    if outputs != expected or [i.name for i in model.graph.input] != [INPUT]:
        raise BadFile(f"{path} has outputs {outputs}; expected {expected}: export it again")
    if node and not same_params(params_from_node(node, path), description.postprocess):
        raise BadFile(
            f"{path}: the attributes of its {OP_TYPE} node are not the parameters it describes; "
            "export it again"
        )
    _check_shapes(model, description, path)
    if node:
        _check_priors(model, node, description, path)


def _check_shapes(model: ModelProto, description: Description, path: Path) -> None:
    """Input and conf must have the size, priors and classes that the description lists."""
    size = description.preprocessing
    expected = {
        INPUT: [3, size.height, size.width],
        HEADS[1]: [len(description.priors), description.num_classes],
    }
    found = {name: _shape_of(model, name)[1:] for name in expected}
    if found != expected:
        raise BadFile(
            f"{path} takes {found[INPUT]} and computes {found[HEADS[1]]} priors and classes, but "
            f"describes {expected[INPUT]} and {expected[HEADS[1]]}; export it again"
        )


def _shape_of(model: ModelProto, name: str) -> list[int]:
    """Dimensions of a tensor, 0 where they may vary; empty if it is not there."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    dims: Any = next((v.type.tensor_type.shape.dim for v in values if v.name == name), [])
    return [d.dim_value for d in dims]


def _check_priors(model: ModelProto, node: NodeProto, description: Description, path: Path) -> None:
    """The prior boxes of the DecodeNms node must be those of the levels that are described."""
    inside = next((i for i in model.graph.initializer if i.name == node.input[2]), None)
    # made of the same numbers in double precision, so that only the last digit may differ
    if inside is None or not np.allclose(
        numpy_helper.to_array(inside), description.priors, rtol=0, atol=2**-20
    ):
        raise BadFile(f"{path} holds other prior boxes than it describes; export it again")


def find_decode_nms(model: ModelProto) -> NodeProto | None:
    """The DecodeNms node of a model, if it has one."""
    nodes = (n for n in model.graph.node if n.domain == DOMAIN and n.op_type == OP_TYPE)
    return next(nodes, None)


def params_from_node(node: NodeProto, path: Path) -> PostprocessParams:
    """The post-processing parameters a DecodeNms node holds.

    Raises:
        BadFile: the attributes are not those of this version of the operator.
    """
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        values["activation"] = values.get("activation", b"").decode()
        # attributes are stored in float32; the shortest decimal form gives back what was asked
        for name in _FLOATS[:3]:
            values[name] = float(str(np.float32(values[name])))
        values["variances"] = tuple(float(str(np.float32(v))) for v in values["variances"])
        return PostprocessParams.from_dict(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadFile(
            f"{path}: the attributes of its {OP_TYPE} node are not those of version {VERSION} "
            f"({error}); export it again"
        ) from error


def same_params(first: PostprocessParams, second: PostprocessParams) -> bool:
    """Whether two sets of parameters are one in a node, whose floats are single precision."""
    a, b = first.to_dict(), second.to_dict()
    return all(
        np.array_equal(np.float32(a[k]), np.float32(b[k])) if k in _FLOATS else a[k] == b[k]
        for k in a
    )
