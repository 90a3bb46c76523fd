"""Tiles inside the network: one large picture in, the heads of all its tiles out.

The tiles of all pictures form one batch of the network, so it runs once. Their concatenated heads
are those of a network whose prior boxes are each tile's, shifted. One DecodeNms then suppresses
over the whole picture, seams included.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..artefacts.onnx_sizes import check_memory
from ..artefacts.tensors import HEADS, INPUT, TILE_COLUMNS, TILE_ROWS, TILES
from ..errors import BadFile, UsageError

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..pictures.tile_grid import TileGrid

#: name of the batch dimension inside the network, where each tile counts
_TILE_BATCH = "batch_tiles"


def prepend_tiles(model: ModelProto, description: Description) -> None:
    """Let a heads model for one tile take the pictures of ``description.tiles`` and cut them.

    ``images [N, 3, H, W]`` -> Gather of rows -> Gather of columns -> Transpose -> Reshape ->
    ``network_tiles [N * T, 3, height, width]`` -> network -> Reshape -> ``loc [N, T * P, 4]`` and
    ``conf [N, T * P, C]``.
    """
    tiles = description.tiles
    assert tiles is not None
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    heads = {name: f"{TILES}/{name}" for name in HEADS}
    _rename(graph.node, {INPUT: TILES, **heads})
    _rename_batch(model, batch)
    cut = _cut(model, tiles)
    network = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    joined = [_join(model, name, of_tiles, tiles.count) for name, of_tiles in heads.items()]
    del graph.node[:]
    graph.node.extend([*cut, *network, *joined])
    shape = [batch, 3, *tiles.size]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape))
    for output in graph.output:
        dims = output.type.tensor_type.shape.dim
        dims[0].dim_param = batch
        dims[1].dim_value *= tiles.count


def _rename(nodes: list[NodeProto], names: dict[str, str]) -> None:
    for node in nodes:
        for tensors in (node.input, node.output):
            for place, name in enumerate(tensors):
                tensors[place] = names.get(name, name)


def _rename_batch(model: ModelProto, batch: str) -> None:
    """Rename the inner batch: runtimes share memory between tensors with equally named sides."""
    for value in model.graph.value_info:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == batch:
                dim.dim_param = _TILE_BATCH


def _cut(model: ModelProto, tiles: TileGrid) -> list[NodeProto]:
    """Make the nodes from INPUT to TILES: rows and columns, each in one step for all tiles."""
    rows, columns = tiles.indices
    shape = np.array([-1, 3, tiles.height, tiles.width], np.int64)
    constants = {TILE_ROWS: rows, TILE_COLUMNS: columns, f"{TILES}/shape": shape}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Gather", [INPUT, TILE_ROWS], f"{TILES}/rows", {"axis": 2}),
        # [N, 3, rows, height, W] -> [N, 3, rows, height, columns, width]
        ("Gather", [f"{TILES}/rows", TILE_COLUMNS], f"{TILES}/columns", {"axis": 4}),
        ("Transpose", [f"{TILES}/columns"], f"{TILES}/ordered", {"perm": [0, 2, 4, 1, 3, 5]}),
        ("Reshape", [f"{TILES}/ordered", f"{TILES}/shape"], TILES, {}),
    ]
    return [
        helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes)
        for kind, inputs, output, attributes in steps
    ]


def _join(model: ModelProto, name: str, of_tiles: str, count: int) -> NodeProto:
    """Make the node that joins the heads ``[N * T, P, .]`` of tiles to ``[N, T * P, .]``."""
    value = next(one for one in model.graph.output if one.name == name)
    _, priors, last = (dim.dim_value for dim in value.type.tensor_type.shape.dim)
    shape = f"{TILES}/{name}/shape"
    sides = np.array([-1, count * priors, last], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(sides, shape))
    return helper.make_node("Reshape", [of_tiles, shape], [name], name=f"{name}/Reshape")


def check_tiles_memory(model: ModelProto, tiles: TileGrid) -> None:
    """Refuse more tiles than readers of the file would run at once.

    Raises:
        UsageError: there are too many tiles; the message says how many bytes they would take.
    """
    try:
        check_memory(model, Path(f"a network of {tiles.columns}x{tiles.rows} tiles"))
    except BadFile as error:
        reason = error.command_line.rpartition(";")[0]
        raise UsageError(
            f"{reason}; export fewer tiles, or the network as it is for detect --tiles"
        ) from error
