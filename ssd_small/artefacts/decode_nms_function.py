"""The DecodeNms operator as an ONNX function of standard operators.

The function gives the operator a meaning in every ONNX runtime; TensorRT maps the node to the
plugin instead (the builder drops the function first). Numbers come from the node's attributes; the
structure (activation, cuts) is fixed when the function is made, so a function belongs to the node
it was made for.

What the standard operators guarantee, and what follows from it:

* NonMaxSuppression keeps scores greater than its threshold, suppresses IoU greater than its
  threshold and prefers the lower box index among equal scores.
* TopK prefers the lower index among equal values: scores flattened class-major, ``[N, C * P]``,
  therefore come out in the total order (score, label, prior).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from ..postprocess import PostprocessParams
from ..postprocess.params import WHOLE
from .decode_nms import DOMAIN, EDGES, INPUTS, OP_TYPE
from .tensors import DETECTIONS


class _Body:
    """Collects the nodes of a function body; each call returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []

    def __call__(
        self, op: str, *inputs: str, outputs: str | Sequence[str] | None = None, **attributes: Any
    ) -> str:
        names = [outputs] if isinstance(outputs, str) else list(outputs or [])
        if not names:
            names = [f"{op.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0]

    def constant(self, value: Any, dtype: Any) -> str:
        return self("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def attribute(self, name: str, kind: str) -> str:
        """A constant that holds the node's attribute ``name``."""
        out = self("Constant")
        reference = self.nodes[-1].attribute.add()
        reference.name, reference.ref_attr_name = f"value_{kind}", name
        reference.type = {"float": 1, "int": 2, "floats": 6}[kind]
        return out


def make_function(
    params: PostprocessParams,
    num_priors: int,
    num_classes: int,
    opset: int,
    *,
    one_sigmoid: bool = False,
) -> FunctionProto:
    """The function for heads of ``num_priors`` x ``num_classes``.

    Inputs ``loc [N, P, 4]``, ``conf [N, P, C]`` (float32 or float16) and ``priors [P, 4]``;
    outputs as in the operator's contract. ``one_sigmoid`` uses the Sigmoid operator, as files
    written until 2026 do.
    """
    body = _Body()
    boxes = _decode(body)
    activated = _activated(body, params, one_sigmoid)
    scores = _masked_scores(body, params, activated, boxes, num_classes)
    if params.clip_boxes:
        boxes = _clip(body, boxes)
    kept = _suppress(body, params, boxes, scores, num_priors)
    _select(body, params, boxes, kept, num_priors, num_classes)
    return helper.make_function(
        DOMAIN,
        OP_TYPE,
        list(INPUTS),
        list(DETECTIONS),
        body.nodes,
        [helper.make_opsetid("", opset)],
        attributes=list(node_attributes(params)),
    )


def node_attributes(
    params: PostprocessParams, edges: tuple[float, float] = WHOLE
) -> dict[str, Any]:
    """Attributes of the DecodeNms node: the fields of PostprocessParams.

    If boxes are clipped, also ``edges``: the picture's right and bottom edges in the unit of the
    priors.
    """
    if not params.clip_boxes:
        return params.to_dict()
    return params.to_dict() | {"clip_boxes": 1, EDGES: list(edges)}


def _decode(body: _Body) -> str:
    """Boxes ``[N, P, 4]`` xyxy float32; see ``boxes.boxes_xyxy_from_loc``."""
    loc = body("Cast", "loc", to=TensorProto.FLOAT)
    halves = body.constant([2, 2], np.int64)
    body("Split", loc, halves, outputs=["loc_centre", "loc_size"], axis=-1)
    body("Split", "priors", halves, outputs=["prior_centre", "prior_size"], axis=-1)
    variances = body.attribute("variances", "floats")
    ones = body.constant([1, 1], np.int64)
    body("Split", variances, ones, outputs=["centre_variance", "size_variance"], axis=0)
    offset = body("Mul", body("Mul", "loc_centre", "centre_variance"), "prior_size")
    centre = body("Add", "prior_centre", offset)
    size = body("Mul", "prior_size", body("Exp", body("Mul", "loc_size", "size_variance")))
    low = body("Sub", centre, body("Mul", size, body.constant(0.5, np.float32)))
    return body("Concat", low, body("Add", low, size), axis=-1)


def _clip(body: _Body, boxes: str) -> str:
    """Boxes clipped to the picture; see ``boxes.clipped_boxes``. Non-finite boxes never win."""
    edges = body.attribute(EDGES, "floats")
    highest = body("Concat", edges, edges, axis=0)
    zero = body.constant(0, np.float32)
    low = body("Where", body("Greater", boxes, zero), boxes, zero)
    return body("Where", body("Less", low, highest), low, highest)


def _activated(body: _Body, params: PostprocessParams, one_sigmoid: bool) -> str:
    """Scores ``[N, P, C]``; see ``numerics.softmax_f32`` and ``numerics.sigmoid_f32``."""
    conf = body("Cast", "conf", to=TensorProto.FLOAT)
    if params.activation == "softmax":
        return body("Softmax", conf, axis=-1)
    if params.activation == "none":
        return conf
    if one_sigmoid:
        return body("Sigmoid", conf)
    # ONNX Runtime's Sigmoid is off by 2.4 * 2**-24 at any score, a thousandth of a score of 1e-4,
    # so that other boxes pass a low threshold; its Exp is off by one unit in the last place
    one = body.constant(1, np.float32)
    return body("Div", one, body("Add", body("Exp", body("Neg", conf)), one))


def _masked_scores(
    body: _Body, params: PostprocessParams, conf: str, boxes: str, num_classes: int
) -> str:
    """Scores ``[N, C, P]``; whatever must never win (background, non-finite) is -infinity."""
    # x - x is 0 for finite x and NaN otherwise: a box counts if its four differences sum to 0
    difference = body("Sub", boxes, boxes)
    spread = body("ReduceSum", difference, body.constant([-1], np.int64), keepdims=1)
    finite = body("Equal", spread, body.constant(0, np.float32))
    foreground = body.constant(np.arange(num_classes) != params.background_label, np.bool_)
    threshold = body.attribute("score_threshold", "float")
    candidate = body("And", body("And", finite, foreground), body("Greater", conf, threshold))
    absent = body.constant(-np.inf, np.float32)
    return body("Transpose", body("Where", candidate, conf, absent), perm=[0, 2, 1])


def _suppress(
    body: _Body, params: PostprocessParams, boxes: str, scores: str, num_priors: int
) -> str:
    """Scores ``[N, C, P]`` of the boxes that greedy NMS keeps, -infinity elsewhere."""
    absent = body("Expand", body.constant(-np.inf, np.float32), body("Shape", scores))
    if 0 < params.pre_nms_topk < num_priors:
        cut = body("Unsqueeze", body.attribute("pre_nms_topk", "int"), body.constant([0], np.int64))
        body("TopK", scores, cut, outputs=["top_scores", "top_priors"], axis=-1)
        scores = body("ScatterElements", absent, "top_priors", "top_scores", axis=-1)
    if params.pixel_offset > 0:
        # IoU in pixels with the +1 convention: the offset is added to the bottom right corner
        scale = body("Reciprocal", body.attribute("pixel_offset", "float"))
        boxes = body("Add", body("Mul", boxes, scale), body.constant([0, 0, 1, 1], np.float32))
    per_class = (
        body.attribute("keep_topk_per_class", "int")
        if 0 < params.keep_topk_per_class < num_priors
        else body.constant(num_priors, np.int64)
    )
    selected = body(
        "NonMaxSuppression",
        boxes,
        scores,
        # some runtimes reject scalars here, although the operator's definition allows them
        *(
            body("Reshape", scalar, body.constant([1], np.int64))
            for scalar in (
                per_class,
                body.attribute("iou_threshold", "float"),
                body.attribute("score_threshold", "float"),
            )
        ),
    )
    return body("ScatterND", absent, selected, body("GatherND", scores, selected))


def _select(
    body: _Body,
    params: PostprocessParams,
    boxes: str,
    kept: str,
    num_priors: int,
    num_classes: int,
) -> None:
    """The K best per image in the total order, padded as in the operator's contract."""
    detections = params.max_detections(num_priors, num_classes)
    flat = body("Reshape", kept, body.constant([0, -1], np.int64))
    count = body.constant([detections], np.int64)
    body("TopK", flat, count, outputs=["best", "best_index"], axis=-1)
    real = body("Greater", "best", body.constant(-np.inf, np.float32))
    last = body.constant([-1], np.int64)
    number = body("ReduceSum", body("Cast", real, to=TensorProto.INT32), last, keepdims=0)
    body("Identity", number, outputs=DETECTIONS[0])
    priors = body.constant(num_priors, np.int64)
    prior = body("Mod", "best_index", priors)
    label = body("Div", "best_index", priors)
    picked = body("GatherND", boxes, body("Unsqueeze", prior, last), batch_dims=1)
    zero = body.constant(0, np.float32)
    body("Where", body("Unsqueeze", real, last), picked, zero, outputs=DETECTIONS[1])
    # + 0 turns -0 into +0
    body("Where", real, body("Add", "best", zero), zero, outputs=DETECTIONS[2])
    nothing = {3: (label, 0), 4: (prior, -1)}
    for position, (value, padding) in nothing.items():
        whole = body("Where", real, value, body.constant(padding, np.int64))
        body("Cast", whole, outputs=DETECTIONS[position], to=TensorProto.INT32)
