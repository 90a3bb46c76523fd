"""Removing what no output of a graph needs."""

from __future__ import annotations

from onnx import ModelProto


def drop_unused(model: ModelProto) -> None:
    """Remove the nodes, initializers and shape information that no output needs."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    unused = []
    for node in reversed(graph.node):  # sorted: the node that makes a tensor precedes its readers
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            unused.append(node)
    for node in unused:
        graph.node.remove(node)
    for entries in (graph.initializer, graph.value_info):
        for entry in [entry for entry in entries if entry.name not in needed]:
            entries.remove(entry)
