"""Which nodes of a network stay in float32 when the rest becomes half, as named by the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from onnx import ModelProto, NodeProto

from ..errors import UsageError, quoted

#: operators that a runtime fuses with the convolution before them
FUSED = ("BatchNormalization", "Relu", "Clip")


def check_named_nodes(model: ModelProto, names: Iterable[str], path: Path) -> None:
    """Refuse names that no node of a graph has.

    Args:
        model: the model in the file ``path``, unchanged.
        names: names given by ``--keep-fp``.

    Raises:
        UsageError: there is no node of a name; the message suggests the most similar one.
    """
    known = [node.name for node in model.graph.node if node.name]
    for name in sorted(set(names) - set(known)):
        near = get_close_matches(name, known, 1)
        advice = f"did you mean {quoted(near[0])}?" if near else f"one is {quoted(known[0])}"
        raise UsageError(
            f"--keep-fp {quoted(name)}: {path} has no node of that name; {advice}"
            if known
            else f"--keep-fp {quoted(name)}: the nodes of {path} have no names; export it again"
        )


def nodes_to_keep(model: ModelProto, names: Sequence[str]) -> list[str]:
    """Find the nodes that must stay in float32 so that the named ones' results are not rounded.

    These are the named nodes, those that a runtime fuses with them, and those that read the result:
    otherwise a value too large for half would become infinity between two nodes.

    Args:
        model: the model before folding; DecodeNms computes in float32 anyway and is skipped.
        names: names of its nodes.
    """
    readers: dict[str, list[NodeProto]] = {}
    made_by: dict[str, NodeProto] = {}
    for node in model.graph.node:
        made_by.update(dict.fromkeys(node.output, node))
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept: dict[str, None] = {}
    waiting = [node for node in model.graph.node if node.name in names]
    for node in waiting:
        # it will be folded into the convolution before it, whose name remains
        while node.op_type in FUSED and node.input[0] in made_by:
            node = made_by[node.input[0]]
            kept[node.name] = None
    while waiting:
        node = waiting.pop()
        kept[node.name] = None
        for reader in (reader for name in node.output for reader in readers.get(name, [])):
            if reader.op_type in FUSED and reader.name not in kept:
                waiting.append(reader)
            kept[reader.name] = None
    return [node.name for node in model.graph.node if node.name in kept and not node.domain]
