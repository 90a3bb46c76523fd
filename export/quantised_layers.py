"""The cost of each INT8 convolution: the error of the heads if it alone is in INT8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ..artefacts.tensors import HEADS, INPUT
from ..runtimes.cuts import session_from_model

Array = npt.NDArray[Any]
_ALONE = "/alone"
_DQ = {"DequantizeLinear"}


@dataclass(frozen=True)
class LayerCost:
    """The effect of one INT8 convolution on the heads of a network that is otherwise in float32.

    Attributes:
        name: name of the Conv node.
        error: root mean square of the difference in ``loc`` and in ``conf``, each relative to the
            root mean square of its values; the larger of the two.
    """

    name: str
    error: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values by field name."""
        return asdict(self)


def layer_costs(
    reference: ModelProto, quantised: ModelProto, inputs: Sequence[Array]
) -> list[LayerCost]:
    """Rank the INT8 convolutions of a network by the cost of each alone, most expensive first.

    Args:
        reference: model in float32 with batch norms folded, ending in the heads; its Conv nodes
            have the same names as in ``quantised``.
        quantised: the same model with Q/DQ.
        inputs: preprocessed pictures ``[1, 3, H, W]``.
    """
    expected = [_heads(reference, images) for images in inputs]
    found = []
    for name, model in _alone(reference, quantised):
        session = session_from_model(model)
        pairs = [
            (right, session.run(list(HEADS), {INPUT: images}))
            for images, right in zip(inputs, expected, strict=True)
        ]
        found.append(LayerCost(name, float(f"{max(_error(*pair) for pair in pairs):.6g}")))
    return sorted(found, key=lambda one: -one.error)


def _heads(model: ModelProto, images: Array) -> list[Array]:
    found: list[Array] = session_from_model(model).run(list(HEADS), {INPUT: images})
    return found


def _error(right: Sequence[Array], own: Sequence[Array]) -> float:
    shares = []
    for a, b in zip(right, own, strict=True):
        scale = float(np.sqrt(np.mean(np.square(a), dtype=np.float64)))
        off = float(np.sqrt(np.mean(np.square(a - b), dtype=np.float64)))
        shares.append(off / scale if scale else off)
    return max(shares)


def _alone(reference: ModelProto, quantised: ModelProto) -> Iterator[tuple[str, ModelProto]]:
    """Yield, for each quantised convolution, its name and the reference with it alone quantised."""
    constants = {t.name: t for t in quantised.graph.initializer}
    made_by = {name: node for node in quantised.graph.node for name in node.output}
    own = {node.name for node in reference.graph.node if node.op_type == "Conv"}
    for conv in quantised.graph.node:
        makers = [made_by.get(name) for name in conv.input[:2]]
        if conv.op_type != "Conv" or conv.name not in own:
            continue
        data, weight = makers
        if data is None or weight is None or {data.op_type, weight.op_type} != _DQ:
            continue
        yield conv.name, _with_one(reference, conv.name, (data, weight), constants)


def _with_one(
    reference: ModelProto,
    name: str,
    makers: tuple[NodeProto, NodeProto],
    constants: dict[str, Any],
) -> ModelProto:
    """Copy the reference, with Q/DQ for the input and weight of one Conv node."""
    model = ModelProto()
    model.CopyFrom(reference)
    graph = model.graph
    place = next(i for i, node in enumerate(graph.node) if node.name == name)
    conv = graph.node[place]
    data, weight = makers
    own = {}
    for node in makers:
        for tensor in node.input:
            if tensor in constants:
                own[tensor] = numpy_helper.from_array(
                    numpy_helper.to_array(constants[tensor]), tensor + _ALONE
                )
    graph.initializer.extend(own.values())
    scales = [one + _ALONE for one in data.input[1:]]
    levels, back, weights = (f"{name}{_ALONE}/{part}" for part in ("levels", "input", "weight"))
    added = [
        helper.make_node("QuantizeLinear", [conv.input[0], *scales], [levels]),
        helper.make_node("DequantizeLinear", [levels, *scales], [back]),
        helper.make_node(
            "DequantizeLinear",
            [one + _ALONE for one in weight.input],
            [weights],
            **{a.name: helper.get_attribute_value(a) for a in weight.attribute},
        ),
    ]
    conv.input[0], conv.input[1] = back, weights
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    nodes[place:place] = added
    del graph.node[:]
    graph.node.extend(nodes)
    return model
