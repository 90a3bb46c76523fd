"""From a torch network to an ONNX file."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import ModelProto
from onnxscript import optimizer

from ..artifact import Description
from ..errors import BadFile
from ..files import atomic_output, read_bytes
from .decode_nms_function import DOMAIN, OP_TYPE, OUTPUTS, VERSION
from .decode_nms_node import append_decode_nms, find_decode_nms, params_from_node, same_params

if TYPE_CHECKING:
    from ..models.network import SsdNetwork

#: default operator set: the newest that all engines tried here read
OPSET = 23
METADATA_KEY = "ssd_small"
INPUT = "images"
HEADS = ("loc", "conf")


def onnx_from_network(net: SsdNetwork, description: Description, opset: int = OPSET) -> ModelProto:
    """Trace a network to ONNX with a dynamic batch dimension.

    Input ``images [batch, 3, H, W]`` float32. Outputs ``loc [batch, P, 4]`` and
    ``conf [batch, P, C]`` (logits), or with ``description.has_decode_nms`` the five outputs of
    the DecodeNms operator.
    """
    model = _trace(net, opset)
    _remove_traces(model)
    if description.has_decode_nms:
        append_decode_nms(model, description.postprocess, description.priors)
    set_description(model, description)
    onnx.checker.check_model(model, full_check=True)
    return model


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
    if METADATA_KEY not in properties:
        raise BadFile(
            f"{path} is ONNX but was not written by 'ssd-small export' (no {METADATA_KEY!r} "
            "metadata); export the network with this tool"
        )
    description = Description.from_json(properties[METADATA_KEY], path)
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
    expected = list(OUTPUTS if node else HEADS)
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


def _trace(net: SsdNetwork, opset: int) -> ModelProto:
    # the batch must not be 1: that size would be burnt in
    example = torch.zeros(2, 3, *net.spec.input_size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        # notices of torch and onnxscript about their own future changes
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            net.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            # its rewriter takes constants under 1e-8 for 0 and would drop L2Norm's epsilon,
            # which makes 0/0 of an all-zero pixel
            optimize=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(HEADS),
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    model: ModelProto = program.model_proto
    optimizer.fold_constants(model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(model)
    return model


def _remove_traces(model: ModelProto) -> None:
    """Drop what the exporter notes about source files: it differs between machines."""
    for entry in (*model.graph.node, *model.graph.value_info, *model.graph.input):
        del entry.metadata_props[:]
    for entry in (*model.graph.output, *model.graph.initializer):
        del entry.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
