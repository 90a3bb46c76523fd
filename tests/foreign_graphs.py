"""One small detector as the exporters of several projects would write it in ONNX.

The network and its heads are always the same numbers; what differs is the form of the graph: order
of dimensions and of box offsets, what follows the heads, operator set, where constants stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: pixels of the input, cells of the two feature maps, priors of a cell, classes with background
SIDE, MAPS, ANCHORS, CLASSES = 32, (4, 2), 2, 4
PRIORS = sum(side * side for side in MAPS) * ANCHORS
LABELS = ("cat", "dog", "cow")
#: of a class with the background's name as TensorFlow's lists have it
SWAPPED = [1, 0, 3, 2]


def priors() -> np.ndarray:
    """Boxes ``[P, 4]`` (cx, cy, w, h), two of a cell, of which no rule of ours says the numbers."""
    boxes = []
    for side in MAPS:
        for row in range(side):
            for column in range(side):
                centre = ((column + 0.5) / side, (row + 0.5) / side)
                boxes += [(*centre, 0.9 / side, 0.7 / side), (*centre, 0.3333 / side, 1.1 / side)]
    return np.array(boxes, np.float32)


@dataclass(frozen=True)
class Form:
    """How the graph is written.

    Attributes:
        channels_last: the input is ``[N, H, W, 3]``.
        batch: that is written down; None for any.
        layout: order of the box offsets, ``xywh`` or ``yxhw``.
        loc, conf: shape of the heads: ``plain`` ``[N, P, K]``, ``unit`` ``[N, P, 1, K]``, ``flat``
            ``[N, P * K]``, ``first`` ``[N, K, P]``.
        activation: ``Softmax`` or ``Sigmoid`` before ``conf``; None for logits.
        ending: ``nms`` decodes and suppresses behind the heads, ``custom`` has an operator there
            that only another tool knows; None ends in the heads.
        opset, ir: versions.
        listed: initializers are inputs too.
        half: half precision.
        kind: of the input's numbers.
    """

    channels_last: bool = False
    batch: int | None = None
    layout: str = "xywh"
    loc: str = "plain"
    conf: str = "plain"
    activation: str | None = None
    ending: str | None = None
    opset: int = 19
    ir: int = 10
    listed: bool = False
    half: bool = False
    kind: int = TensorProto.FLOAT


class _Graph:
    def __init__(self, form: Form) -> None:
        self.form, self.nodes, self.tensors = form, [], []
        self.rng = np.random.default_rng(3)

    def constant(self, array: np.ndarray, name: str) -> str:
        if self.form.half and array.dtype == np.float32:
            array = array.astype(np.float16)
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        output = out or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def conv(self, given: str, name: str, shape: tuple[int, ...], stride: int) -> str:
        scale = 1.5 / np.sqrt(np.prod(shape[1:]))
        weights = (self.rng.normal(size=shape) * scale).astype(np.float32)
        bias = (self.rng.normal(size=shape[0]) * 0.3).astype(np.float32)
        if name.startswith("loc") and self.form.layout == "yxhw":
            rows = np.arange(shape[0]).reshape(-1, 4)[:, SWAPPED].reshape(-1)
            weights, bias = weights[rows], bias[rows]
        kernel = [shape[2], shape[3]]
        return self.node(
            "Conv",
            *(given, self.constant(weights, f"{name}/w"), self.constant(bias, f"{name}/b")),
            strides=[stride, stride],
            kernel_shape=kernel,
        )

    def head(self, maps: list[str], what: str, columns: int) -> str:
        parts = []
        for level, (feature, cells) in enumerate(zip(maps, MAPS, strict=True)):
            name = f"{what}{level}"
            one = self.conv(feature, name, (ANCHORS * columns, 8, 1, 1), 1)
            rows = self.node("Transpose", one, perm=[0, 2, 3, 1])
            first = self.form.batch or 0
            shape = [first, cells * cells * ANCHORS, columns]
            shape[1:] = [shape[1], 1, columns] if self._of(what) == "unit" else shape[1:]
            if self._of(what) == "flat":
                shape = [first, cells * cells * ANCHORS * columns]
            given = self.constant(np.array(shape, np.int64), f"{name}/shape")
            parts.append(self.node("Reshape", rows, given))
        joined = self.node("Concat", *parts, axis=1, out=f"heads/{what}")
        if self._of(what) == "first":
            joined = self.node("Transpose", joined, perm=[0, 2, 1], out=f"heads/{what}_first")
        return joined

    def _of(self, what: str) -> str:
        return self.form.loc if what == "loc" else self.form.conf


def foreign(form: Form = Form()) -> tuple[onnx.ModelProto, str, str]:
    """The model, with the names of its box offsets and class scores."""
    graph = _Graph(form)
    sides = [3, SIDE, SIDE]
    sides = [*sides[1:], 3] if form.channels_last else sides
    batch: int | str = form.batch or "n"
    kind = TensorProto.FLOAT16 if form.half else form.kind
    images = helper.make_tensor_value_info("pixels", kind, [batch, *sides])
    given = "pixels"
    if form.kind == TensorProto.UINT8:
        given = graph.node("Cast", given, to=TensorProto.FLOAT)
        scale = graph.constant(np.array(1 / 255, np.float32), "scale")
        given = graph.node("Mul", given, scale)
    if form.channels_last:
        given = graph.node("Transpose", given, perm=[0, 3, 1, 2])
    one = graph.node("Relu", graph.conv(given, "a", (8, 3, 8, 8), 8))
    two = graph.node("Relu", graph.conv(one, "b", (8, 8, 2, 2), 2))
    loc, conf = graph.head([one, two], "loc", 4), graph.head([one, two], "conf", CLASSES)
    if form.activation is not None:
        attributes = {"axis": 2} if form.activation == "Softmax" else {}
        conf = graph.node(form.activation, conf, out="heads/scores", **attributes)
    outputs = _ending(graph, loc, conf)
    made = helper.make_graph(graph.nodes, "theirs", [images], outputs, graph.tensors)
    if form.listed:
        made.input.extend(
            helper.make_tensor_value_info(one.name, one.data_type, one.dims)
            for one in graph.tensors
        )
    opsets = [helper.make_opsetid("", form.opset)]
    if form.ending == "custom":
        opsets.append(helper.make_opsetid("custom.tflite", 1))
    return helper.make_model(made, opset_imports=opsets, ir_version=form.ir), loc, conf


def _ending(graph: _Graph, loc: str, conf: str) -> list[onnx.ValueInfoProto]:
    form = graph.form
    kind = TensorProto.FLOAT16 if form.half else TensorProto.FLOAT
    if form.ending is None:
        return [helper.make_tensor_value_info(name, kind, None) for name in (loc, conf)]
    boxes = priors()
    if form.layout == "yxhw":
        boxes = boxes[:, SWAPPED]
    graph.constant(boxes, "anchors")
    if form.ending == "custom":
        graph.nodes.append(
            helper.make_node(
                "TFL_Detection_PostProcess",
                [loc, conf, "anchors"],
                ["detections"],
                domain="custom.tflite",
            )
        )
        return [helper.make_tensor_value_info("detections", kind, None)]
    # Liu et al. 2016, eq. 2, solved for the box; corners in the order of the offsets
    split = graph.constant(np.array([2, 2], np.int64), "two")
    names = [f"{what}_{part}" for what in ("offset", "prior") for part in ("centre", "side")]
    graph.nodes.append(helper.make_node("Split", [loc, split], names[:2], axis=2))
    graph.nodes.append(helper.make_node("Split", ["anchors", split], names[2:], axis=1))
    tenth, fifth, half = (graph.constant(np.array(v, np.float32), f"v{v}") for v in (0.1, 0.2, 0.5))
    moved = graph.node("Mul", graph.node("Mul", names[0], tenth), names[3])
    centre = graph.node("Add", moved, names[2])
    side = graph.node("Mul", graph.node("Exp", graph.node("Mul", names[1], fifth)), names[3])
    reach = graph.node("Mul", side, half)
    first, last = graph.node("Sub", centre, reach), graph.node("Add", centre, reach)
    graph.node("Concat", first, last, axis=2, out="decoded")
    classes = graph.node("Transpose", conf, perm=[0, 2, 1])
    limits = [
        graph.constant(np.array([v], dtype), f"limit{v}")
        for v, dtype in ((100, np.int64), (0.5, np.float32), (0.01, np.float32))
    ]
    graph.node("NonMaxSuppression", "decoded", classes, *limits, out="selected")
    return [
        helper.make_tensor_value_info("decoded", kind, None),
        helper.make_tensor_value_info("selected", TensorProto.INT64, None),
    ]


def write_foreign(folder: Path, form: Form = Form()) -> tuple[Path, list[str]]:
    """The file in a folder, with the options that name its heads."""
    model, loc, conf = foreign(form)
    path = folder / "theirs.onnx"
    onnx.save(model, path)
    return path, ["--loc", loc, "--conf", conf]
