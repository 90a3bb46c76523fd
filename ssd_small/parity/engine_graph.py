"""Split an ONNX engine where its stages meet: pictures, network, activation, boxes, NMS.

The stages are found from how the tensors are connected, not from what an engine says about itself:
what counts is what is executed.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from ..artefacts.decode_nms import find_decode_nms
from ..artefacts.description import Description
from ..artefacts.tensors import BOUNDARY, DETECTIONS, HEADS, INPUT
from ..errors import BadFile
from ..export.decode_nms_node import inlined
from ..runtimes.cuts import Piece, Shape, Start, element_type, last_own_tensor

#: operators that may lie between pictures and network, and those that change the picture there
#: (arithmetic only with constants)
_BEFORE = ("Cast", "Transpose", "Resize", "Round", "Gather", "Identity", "Clip")
_CHANGING = ("Transpose", "Resize", "Gather", "Sub", "Add", "Mul", "Div")


@dataclass(frozen=True, eq=False)
class EngineGraph:
    """The parts of an ONNX engine.

    Attributes:
        pictures: from the engine's input to what the first convolution reads; None if there is
            nothing in between.
        takes_pixels: whether the engine's input is uint8 ``[N, H, W, 3]`` BGR; else it is float32
            ``[N, 3, height, width]``.
        heads: from there to ``loc [N, P, 4]`` and ``conf [N, P, C]``.
        activation: from conf to scores ``[N, P, C]`` or ``[N, C, P]``; None if scores are conf.
        boxes: from loc to boxes ``[N, P, 4]``; None if the boxes cannot be separated.
        nms: from boxes and scores to the outputs of DecodeNms; None in the same case.
        rest: from loc and conf to the outputs of DecodeNms; None without decode + NMS inside.
    """

    pictures: Piece | None
    takes_pixels: bool
    heads: Piece
    activation: Piece | None = None
    boxes: Piece | None = None
    nms: Piece | None = None
    rest: Piece | None = None


def graph_from_model(
    model: ModelProto, description: Description, threads: int = 0
) -> EngineGraph | None:
    """Split an engine into its parts; None if its heads have lost their names.

    Args:
        model: see :func:`~ssd_small.runtimes.graph_files.model_from_file`.
        description: description of the engine.
        threads: threads of ONNX Runtime; 0 for one per core.

    Raises:
        BadFile: a part cannot be executed.
    """
    if find_decode_nms(model) is not None:
        model = inlined(model)
    made = {name for node in model.graph.node for name in node.output}
    if not made.issuperset(HEADS):
        return None
    size = description.preprocessing
    begin = model.graph.input[0]
    takes_pixels = element_type(begin) == "uint8"
    frame: Shape = (None, 3, size.height, size.width)
    boundary = _boundary(model)
    pictures = None
    if boundary != INPUT:
        shape: Shape = (None, None, None, 3) if takes_pixels else frame
        pictures = Piece(model, {INPUT: (element_type(begin), shape)}, [boundary], threads)
    kind = element_type(begin) if pictures is None else pictures.types[0]
    heads = Piece(model, {boundary: (kind, frame)}, HEADS, threads)
    if not description.has_decode_nms:
        return EngineGraph(pictures, takes_pixels, heads)
    return EngineGraph(pictures, takes_pixels, heads, *_ending(model, heads, description, threads))


def _ending(
    model: ModelProto, heads: Piece, description: Description, threads: int
) -> tuple[Piece | None, Piece | None, Piece | None, Piece]:
    """Activation, boxes, NMS, and all three together."""
    priors, classes = len(description.priors), description.num_classes
    loc, conf = HEADS
    given: dict[str, Start] = {
        loc: (heads.types[0], (None, priors, 4)),
        conf: (heads.types[1], (None, priors, classes)),
    }
    rest = Piece(model, given, DETECTIONS, threads)
    scores, boxes = last_own_tensor(model, conf, [loc]), last_own_tensor(model, loc, [conf])
    if boxes == loc:
        return None, None, None, rest
    try:
        activation = None
        if scores != conf:
            activation = Piece(model, {conf: given[conf]}, [scores], threads)
        decode = Piece(model, {loc: given[loc]}, [boxes], threads)
        kinds = (decode.types[0], heads.types[1] if activation is None else activation.types[0])
        shapes: tuple[Shape, Shape] = ((None, priors, 4), (None, None, None))
        begins = dict(zip((boxes, scores), zip(kinds, shapes, strict=True), strict=True))
        return activation, decode, Piece(model, begins, DETECTIONS, threads), rest
    except BadFile:
        return None, None, None, rest


def _boundary(model: ModelProto) -> str:
    """The tensor where the network begins: our own name for it, else found by operators."""
    if any(BOUNDARY in node.output for node in model.graph.node):
        return BOUNDARY
    readers: dict[str, list[NodeProto]] = {}
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    name, found = INPUT, INPUT
    while len(readers.get(name, ())) == 1:
        node = readers[name][0]
        values = [one for one in node.input if one and one != name]
        arithmetic = node.op_type in _CHANGING and not any(one in made_by for one in values)
        if not arithmetic and node.op_type not in _BEFORE:
            break
        name = node.output[0]
        found = name if node.op_type in _CHANGING else found
    return found
