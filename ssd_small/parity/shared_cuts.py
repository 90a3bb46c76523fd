"""Where two graphs of one network can be cut alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from ..artefacts.tensors import BOUNDARY

#: what ONNX Runtime and its converter to half put before and behind the name of a tensor whose
#: type they change
_PREFIXES, _SUFFIXES = ("InsertedPrecisionFreeCast_", "InsertedCast_"), ("_cast_to_fp16", "_cast")
#: of several nodes that an engine runs as one, the one that has the weights gives the name
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Cut:
    """A place between nodes, by the tensors that pass it: what comes later needs no others.

    Attributes:
        reference: names of the tensors in the reference; outputs of the network among them from
            where they are made on.
        engine: the same tensors in the engine.
        nodes: of the reference between the cut before this one and this one.
    """

    reference: tuple[str, ...]
    engine: tuple[str, ...]
    nodes: tuple[NodeProto, ...]

    @property
    def node(self) -> NodeProto:
        """The node that the layer before this cut is called by."""
        return next((node for node in self.nodes if is_weighted(node)), self.nodes[0])


def is_weighted(node: NodeProto) -> bool:
    """Whether an operator sums products with weights."""
    return node.op_type in _WEIGHTED


def shared_cuts(reference: ModelProto, engine: ModelProto) -> list[Cut]:
    """The cuts that both graphs have, from the input, which is the first, on to the outputs.

    Tools fold and fuse nodes and change types on the way to an engine, but what a fused group
    ends in keeps its name, but for what they put before or behind it, or its node does.

    Args:
        reference: of a network; its nodes are sorted.
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
    """Each node that computes on pictures, and the tensors that pass the place behind it."""
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
    """What the tensors of the reference are called in the engine, as far as they are there."""
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
    """What stands for a tensor behind Q/DQ, where nobody reads it before them."""
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
    """A tensor as the engine may call it, what has been rounded last of all first."""
    for prefix in _PREFIXES:
        yield prefix + name
    yield name
    for suffix in _SUFFIXES:
        yield name + suffix


def _end_of_group(
    node: NodeProto, readers: dict[str, list[NodeProto]], by_node: dict[str, str]
) -> str:
    """The tensor in which a node ends together with those behind it that the engine has not."""
    behind = readers.get(node.output[0], [])
    while len(behind) == 1 and behind[0].name not in by_node:
        node = behind[0]
        behind = readers.get(node.output[0], [])
    end: str = node.output[0]
    return end
