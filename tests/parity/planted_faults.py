"""Faults to plant: in what an engine of ONNX Runtime says of itself, and in what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from planted import Graph, Record

#: what ONNX Runtime calls the tensors of the body of DecodeNms
BODY = "_inlfunc_DecodeNms_"


@dataclass(frozen=True)
class Fault:
    """One fault of an engine.

    Attributes:
        name: what a table calls it.
        stage: what it is to be named as.
        record: changes the description.
        graph: changes the graph.
        coco: of an engine with the COCO preset, whose IoU counts a pixel more.
    """

    name: str
    stage: str
    record: Record | None = None
    graph: Graph | None = None
    coco: bool = False


# --- what an engine says of itself


def told(part: str, **values: Any) -> Record:
    """Fields of a part of the description, such as ``preprocessing``."""

    def change(description: dict[str, Any]) -> None:
        description[part] |= values

    return change


def labels_off_by_one(description: dict[str, Any]) -> None:
    labels = description["labels"]
    description["labels"] = labels[1:] + labels[:1]


# --- what an engine does


def initializer(model: ModelProto, name: str, change: Callable[[Any], Any]) -> None:
    """Change the values of a constant."""
    tensor = next(one for one in model.graph.initializer if one.name == name)
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(value), value.dtype), name))


def splice(model: ModelProto, name: str, steps: list[NodeProto], last: str) -> None:
    """Put nodes behind the tensor ``name``; those that read it read ``last``."""
    position = 0
    for i, node in enumerate(model.graph.node):
        position = i + 1 if name in node.output else position
        for j, read in enumerate(node.input):
            if read == name:
                node.input[j] = last
    for step in reversed(steps):
        model.graph.node.insert(position, step)


def subtract_from_input(*values: float) -> Graph:
    """A mean that is subtracted in the graph, before the first convolution."""

    def change(model: ModelProto) -> None:
        constant = np.asarray(values, np.float32).reshape(1, 3, 1, 1)
        model.graph.initializer.append(numpy_helper.from_array(constant, "planted_mean"))
        step = helper.make_node("Sub", ["images", "planted_mean"], ["planted_centred"])
        splice(model, "images", [step], "planted_centred")

    return change


def pictures_inside(
    size: tuple[int, int], mean: tuple[float, ...], *, antialias: bool = False, rgb: bool = False
) -> Graph:
    """An input of pictures, uint8 ``[N, H, W, 3]``; they are resized to (height, width) inside."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        del graph.input[:]
        dims = ["batch", "height", "width", 3]
        graph.input.append(helper.make_tensor_value_info("images", TensorProto.UINT8, dims))
        constants = {
            "planted_mean": np.asarray(mean, np.float32).reshape(1, 3, 1, 1),
            "planted_sides": np.array([3, *size], np.int64),
            "planted_first": np.zeros(1, np.int64),
            "planted_order": np.array([2, 1, 0] if rgb else [0, 1, 2], np.int64),
        }
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
        resize = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
            ("Cast", ["images"], "float", {"to": TensorProto.FLOAT}),
            ("Transpose", ["float"], "planes", {"perm": [0, 3, 1, 2]}),
            ("Shape", ["planes"], "shape", {}),
            ("Gather", ["shape", "planted_first"], "count", {}),
            ("Concat", ["count", "planted_sides"], "target", {"axis": 0}),
            (
                "Resize",
                ["planes", "", "", "target"],
                "resized",
                resize | {"antialias": int(antialias)},
            ),
            ("Round", ["resized"], "levels", {}),
            ("Gather", ["levels", "planted_order"], "ordered", {"axis": 1}),
            ("Sub", ["ordered", "planted_mean"], "network_input", {}),
        ]
        nodes = [helper.make_node(op, read, [made], **more) for op, read, made, more in steps]
        splice(model, "images", nodes, "network_input")

    return change


def scaled_convolution(model: ModelProto) -> None:
    """The twelfth convolution times 1.05."""
    convolutions = [n for n in model.graph.node if n.op_type in ("Conv", "FusedConv")]
    initializer(model, convolutions[12].input[1], lambda value: value * 1.05)


def half_l2norm(model: ModelProto) -> None:
    """The sum of squares of L2Norm in half precision, where the largest become infinite.

    This network's are small: they are summed up as if the activations were 16 times as large.
    """
    sums = next(n for n in model.graph.node if n.op_type == "ReduceSum")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(256), "planted_256"))
    name = sums.output[0]
    steps = [
        helper.make_node("Mul", [name, "planted_256"], ["planted_large"]),
        helper.make_node("Cast", ["planted_large"], ["planted_half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["planted_half"], ["planted_single"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["planted_single", "planted_256"], ["planted_sum"]),
    ]
    splice(model, name, steps, "planted_sum")


def rolled_classes(classes: int) -> Graph:
    """The columns of conf one further, each class in the place of the next."""

    def roll(value: Any) -> Any:
        by_anchor = value.reshape(-1, classes, *value.shape[1:])
        return np.roll(by_anchor, 1, axis=1).reshape(value.shape)

    def change(model: ModelProto) -> None:
        for tensor in list(model.graph.initializer):
            if tensor.name.startswith("conf."):
                initializer(model, tensor.name, roll)

    return change


def sigmoid_for_softmax(model: ModelProto) -> None:
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]


def other_variances(model: ModelProto) -> None:
    """0.1 for 0.2 of the sizes."""
    initializer(model, f"{BODY}size_variance", lambda value: value / 2)


def priors_of(priors: Any) -> Graph:
    """Other prior boxes ``[P, 4]``."""

    def change(model: ModelProto) -> None:
        initializer(model, f"{BODY}prior_centre", lambda value: priors[:, :2].reshape(value.shape))
        initializer(model, f"{BODY}prior_size", lambda value: priors[:, 2:].reshape(value.shape))

    return change


def suppression(place: int, change: Callable[[Any], Any]) -> Graph:
    """An input of NonMaxSuppression: 2 the cap per class, 3 the IoU, 4 the score."""

    def apply(model: ModelProto) -> None:
        node = next(n for n in model.graph.node if n.op_type == "NonMaxSuppression")
        value = next(t for t in model.graph.initializer if t.name == node.input[place])
        own = numpy_helper.from_array(
            np.asarray(change(numpy_helper.to_array(value)), np.float32), f"planted_{place}"
        )
        model.graph.initializer.append(own)
        node.input[place] = own.name

    return apply


def just_below(value: Any) -> Any:
    return np.nextafter(value, np.float32(-1))


def iou_or_equal(model: ModelProto) -> None:
    """An IoU of the threshold suppresses."""
    suppression(3, just_below)(model)


def score_or_equal(model: ModelProto) -> None:
    """A score of the threshold is kept."""
    threshold = None
    for node in model.graph.node:
        if node.op_type == "Greater" and threshold is None:
            node.op_type, threshold = "GreaterOrEqual", node.input[1]
    suppression(4, just_below)(model)


def without_pixel(model: ModelProto) -> None:
    """IoU without the pixel that is added to widths and heights."""
    for tensor in list(model.graph.initializer):
        value = numpy_helper.to_array(tensor)
        if value.shape == (4,) and value.tolist() == [0, 0, 1, 1]:
            initializer(model, tensor.name, np.zeros_like)


def label_off_by_one(model: ModelProto) -> None:
    """Each detection with the label of the next class."""
    node = next(n for n in model.graph.node if "labels" in n.output)
    node.output[0] = "planted_labels"
    one = numpy_helper.from_array(np.int32(1), "planted_one")
    model.graph.initializer.append(one)
    model.graph.node.append(helper.make_node("Add", ["planted_labels", one.name], ["labels"]))


def clipped_boxes(model: ModelProto) -> None:
    """Boxes end at the edge of the picture before NMS."""
    boxes = next(n for n in model.graph.node if n.op_type == "Concat" and BODY in n.output[0])
    for value in (0, 1):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), f"edge_{value}"))
    clip = helper.make_node("Clip", [boxes.output[0], "edge_0", "edge_1"], ["planted_clipped"])
    splice(model, boxes.output[0], [clip], "planted_clipped")


def half_the_logits(model: ModelProto) -> None:
    """Softmax of half the logits, as with a temperature of 2."""
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "planted_half"))
    mul = helper.make_node("Mul", [softmax.input[0], "planted_half"], ["planted_logits"])
    splice(model, softmax.input[0], [mul], "planted_logits")


def last_class_for_background(classes: int) -> Graph:
    """The last class is never detected, and the background is."""

    def change(model: ModelProto) -> None:
        for tensor in list(model.graph.initializer):
            value = numpy_helper.to_array(tensor)
            if value.dtype == np.bool_ and value.size == classes:
                last = np.arange(classes).reshape(value.shape) != classes - 1
                initializer(model, tensor.name, lambda value, last=last: last)

    return change


def unclipped(description: Any) -> Any:
    """Prior boxes ``[P, 4]`` of a description as they are before they are clipped."""
    return replace(description, clip="none").priors


#: the classic ones; priors that are not clipped need the description, see :func:`priors_of`
FAULTS = (
    Fault("no mean, in the sidecar", "mean", told("preprocessing", mean=[0.0, 0.0, 0.0])),
    Fault("mean, 20 levels off in the graph", "mean", None, subtract_from_input(20, 20, 20)),
    Fault("divided by std", "scale", told("preprocessing", std=[58.0, 57.0, 57.0])),
    Fault("RGB for BGR", "colour_order", told("preprocessing", color_order="RGB")),
    Fault(
        "RGB for BGR, mean in that order",
        "colour_order",
        told("preprocessing", color_order="RGB", mean=[123.68, 116.78, 103.94]),
    ),
    Fault("nearest for linear", "resize", told("preprocessing", interpolation="nearest")),
    Fault("a convolution times 1.05", "network", None, scaled_convolution),
    Fault("L2Norm in fp16", "network", None, half_l2norm),
    Fault("sigmoid for softmax", "activation", None, sigmoid_for_softmax),
    Fault("variance 0.1 for 0.2", "decode_boxes", None, other_variances),
    Fault("names one class on", "labels", labels_off_by_one),
    Fault("columns of conf one class on", "labels", None, rolled_classes(11)),
    Fault("labels one class on", "labels", None, label_off_by_one),
    Fault("IoU threshold halved", "nms", None, suppression(3, lambda value: value / 2)),
    Fault("IoU `>=` for `>`", "nms", None, iou_or_equal),
    Fault("score `>=` for `>`", "nms", None, score_or_equal),
    Fault("IoU without the pixel", "nms", None, without_pixel, coco=True),
)
