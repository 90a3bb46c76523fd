"""Reading and writing ONNX files of this tool: description, version, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from ..artefacts.description import METADATA_KEY, Description
from ..artefacts.tensors import HEADS, INPUT, output_names
from ..errors import BadFile
from ..files import atomic_output, read_bytes
from .decode_nms_function import DOMAIN, OP_TYPE, VERSION
from .decode_nms_node import find_decode_nms, params_from_node, same_params


def write_onnx(model: ModelProto, path: Path) -> None:
    """Write a model atomically."""
    with atomic_output(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def set_description(model: ModelProto, description: Description) -> None:
    """Store the description in the model's metadata."""
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(description.to_dict())})
    model.producer_name, model.producer_version = "ssd-small", description.tool_version
    model.doc_string = (
        f"{description.model}, {description.num_classes} classes, width {description.width:g}"
    )


def read_onnx(path: Path) -> tuple[ModelProto, Description]:
    """Read an ONNX file of this tool and what it says about itself.

    Raises:
        BadFile: absent, truncated, not of this tool, or of another version of the operator.
    """
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
    _check_heads(model, description, path)


def _check_heads(model: ModelProto, description: Description, path: Path) -> None:
    """The conf tensor must have the priors and classes that the description lists."""
    values = (*model.graph.output, *model.graph.value_info)
    dims: Any = next((v.type.tensor_type.shape.dim for v in values if v.name == HEADS[1]), [])
    found = [d.dim_value for d in dims][1:]
    expected = [len(description.priors), description.num_classes]
    if found != expected:
        raise BadFile(
            f"{path} computes {found} priors and classes but describes {expected}; export it again"
        )
