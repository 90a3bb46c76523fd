"""The DecodeNms operator in ONNX files: its name, its node and the node's attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper

from ..errors import BadFile
from ..postprocess import PostprocessParams
from ..postprocess.params import WHOLE
from .tensors import HEADS

#: the operator at the end of a network that has decode + NMS inside
DOMAIN = "ssd_small"
OP_TYPE = "DecodeNms"
#: version 2 is written if boxes are clipped, since readers of version 1 would silently not clip
VERSION = 2
INPUTS = (*HEADS, "priors")

#: attributes of version 2 that are not parameters: the version by which TensorRT's parser finds the
#: plugin, and the picture's right and bottom edges in the unit of the priors
PLUGIN_VERSION, EDGES = "plugin_version", "clip_edges"

_FLOATS = ("score_threshold", "iou_threshold", "pixel_offset", "variances")


def find_decode_nms(model: ModelProto) -> NodeProto | None:
    """The DecodeNms node of a model, if it has one."""
    nodes = (n for n in model.graph.node if n.domain == DOMAIN and n.op_type == OP_TYPE)
    return next(nodes, None)


def params_from_node(node: NodeProto, path: Path) -> PostprocessParams:
    """The post-processing parameters that a DecodeNms node holds.

    Raises:
        BadFile: the attributes do not belong to any version of the operator.
    """
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        if "clip_boxes" in values:
            _take_second_version(values)
        values["activation"] = values.get("activation", b"").decode()
        # attributes are stored as float32; the shortest decimal form restores the original value
        for name in _FLOATS[:3]:
            values[name] = float(str(np.float32(values[name])))
        values["variances"] = tuple(float(str(np.float32(v))) for v in values["variances"])
        return PostprocessParams.from_dict(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadFile(
            f"{path}: the attributes of its {OP_TYPE} node are not those of version 1 or {VERSION} "
            f"({error}); export it again"
        ) from error


def _take_second_version(values: dict[str, Any]) -> None:
    """Convert the attributes that version 2 adds to parameters; ValueError for invalid ones."""
    told, edges = values.pop(PLUGIN_VERSION, b""), values.pop(EDGES, ())
    if (values["clip_boxes"], told, len(edges)) != (1, b"2", 2):
        raise ValueError(
            f"clip_boxes {values['clip_boxes']} with {PLUGIN_VERSION} {told.decode()!r} and "
            f"{len(edges)} {EDGES}"
        )
    values["clip_boxes"] = True


def edges_from_node(node: NodeProto) -> tuple[float, ...]:
    """Right and bottom edges at which a DecodeNms node clips boxes; 1, 1 if it does not say."""
    for attribute in node.attribute:
        if attribute.name == EDGES:
            return tuple(attribute.floats)
    return WHOLE


def same_params(first: PostprocessParams, second: PostprocessParams) -> bool:
    """Whether two sets of parameters give the same node, whose floats are single precision."""
    a, b = first.to_dict(), second.to_dict()
    return a.keys() == b.keys() and all(
        np.array_equal(np.float32(a[k]), np.float32(b[k])) if k in _FLOATS else a[k] == b[k]
        for k in a
    )
