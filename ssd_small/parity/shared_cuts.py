"""Find where two graphs of one network can be cut alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from ..artefacts.tensors import BOUNDARY

#: what ONNX Runtime and its half-precision converter put before and after the name of a tensor
#: whose type they change
_PREFIXES, _SUFFIXES = ("InsertedPrecisionFreeCast_", "InsertedCast_"), ("_cast_to_fp16", "_cast")
#: operators with weights; in a group of nodes that an engine fuses, such a node gives the name
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Cut:
    """A place between nodes, given by the tensors that pass it: later nodes need no others.

    Attributes:
        reference: names of these tensors in the reference, including any network outputs already
            computed.
        engine: names of the same tensors in the engine.
        nodes: nodes of the reference between the previous cut and this one.
    """

    reference: tuple[str, ...]
    engine: tuple[str, ...]
    nodes: tuple[NodeProto, ...]

    @property
    def node(self) -> NodeProto:
        """The node that names the layer before this cut."""
        return next((node for node in self.nodes if is_weighted(node)), self.nodes[0])


def is_weighted(node: NodeProto) -> bool:
    """Whether an operator sums products with weights."""
    return node.op_type in _WEIGHTED


def shared_cuts(reference: ModelProto, engine: ModelProto) -> list[Cut]:
    """The cuts that both graphs share, from the input (the first cut) to the outputs.

    Tools fold and fuse nodes and change types on the way to an engine. But the tensor in which a
    fused group ends keeps its name, apart from added prefixes and suffixes, or its node does.

    Args:
        reference: graph of a network, with its nodes sorted topologically.
        engine: another graph of the same network, whatever follows its outputs.
    """
    known = _tensors_by_name(reference, engine)
    images = reference.graph.input[0].name
    cuts = [Cut((images,), (known[images],), ())]
    group: list[NodeProto] = []
    for node, passing in _passing(reference):
        group.append(node)
        names = [known.get(name) for name in passing]
        if passing and all(names):
            found = tuple(name for name in names if name is not None)
            cuts.append(Cut(passing, found, tuple(group)))
            group = []
    return cuts


def _passing(model: ModelProto) -> Iterator[tuple[NodeProto, tuple[str, ...]]]:
    """Yield each node that depends on the input, and the tensors that pass the place behind it."""
    graph = model.graph
    outputs = {output.name for output in graph.output}
    varying = {graph.input[0].name}
    nodes = []
    for node in graph.node:
        if varying.intersection(node.input):
            varying.update(node.output)
            nodes.append(node)
    readers: dict[str, int] = dict.fromkeys(outputs, 1)
    for node in nodes:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    alive: dict[str, None] = {graph.input[0].name: None}
    for node in nodes:
        for name in node.input:
            readers[name] -= 1
            if name in alive and not readers[name]:
                del alive[name]
        alive.update((name, None) for name in node.output if readers.get(name))
        yield node, tuple(alive)


def _tensors_by_name(reference: ModelProto, engine: ModelProto) -> dict[str, str]:
    """Names in the engine of the reference's tensors, for those that exist there."""
    made = {name for node in engine.graph.node for name in node.output}
    images = reference.graph.input[0].name
    found = {images: BOUNDARY if BOUNDARY in made else engine.graph.input[0].name}
    behind = _dequantised(engine)
    by_node = {
        node.name: behind.get(node.output[0], node.output[0])
        for node in engine.graph.node
        if node.name
    }
    readers: dict[str, list[NodeProto]] = {}
    for node in reference.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in reference.graph.node:
        for name in node.output:
            same = next((one for one in _spellings(name) if one in made), None)
            if same is not None:
                found[name] = behind.get(same, same)
        if node.name in by_node and node.output[0] not in found:
            end = _end_of_group(node, readers, by_node)
            found.setdefault(end, by_node[node.name])
    return found


def _dequantised(engine: ModelProto) -> dict[str, str]:
    """Tensor -> its dequantised form behind Q/DQ, if only the quantisation reads the tensor."""
    readers: dict[str, list[NodeProto]] = {output.name: [] for output in engine.graph.output}
    outputs = set(readers)
    for node in engine.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for name, of_name in readers.items():
        if name in outputs or len(of_name) != 1 or of_name[0].op_type != "QuantizeLinear":
            continue
        of_levels = readers.get(of_name[0].output[0], [])
        if name == of_name[0].input[0] and len(of_levels) == 1:
            found[name] = of_levels[0].output[0]
    return found


def _spellings(name: str) -> Iterator[str]:
    """Names that the engine may give a tensor; the form rounded last comes first."""
    for prefix in _PREFIXES:
        yield prefix + name
    yield name
    for suffix in _SUFFIXES:
        yield name + suffix


def _end_of_group(
    node: NodeProto, readers: dict[str, list[NodeProto]], by_node: dict[str, str]
) -> str:
    """The tensor at the end of a node and its successors that do not exist in the engine."""
    behind = readers.get(node.output[0], [])
    while len(behind) == 1 and behind[0].name not in by_node:
        node = behind[0]
        behind = readers.get(node.output[0], [])
    end: str = node.output[0]
    return end
