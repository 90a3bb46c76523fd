"""The DecodeNms operator in ONNX files: its name, its node, and what the node says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, helper

from ..errors import BadFile
from ..postprocess import PostprocessParams
from .tensors import HEADS

#: the operator that ends a network with decode + NMS inside
DOMAIN = "ssd_small"
OP_TYPE = "DecodeNms"
VERSION = 1
INPUTS = (*HEADS, "priors")

_FLOATS = ("score_threshold", "iou_threshold", "pixel_offset", "variances")


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
