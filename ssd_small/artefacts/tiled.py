"""Adding tiles to the description of a network that is then run on each of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..errors import UsageError
from ..pictures.tile_grid import TileGrid
from ..postprocess.params import MAX_PRIORS
from .description import Description
from .parts import MOST_SIDE


def tiled_description(
    description: Description,
    columns: int,
    rows: int,
    overlap: float,
    kept: Collection[str] = (),
) -> Description:
    """The same network over a fixed grid of tiles, each of the network's input size.

    The cuts of decode + NMS are multiplied by the number of tiles, except those named in ``kept``.
    A single tile gives the network unchanged.

    Raises:
        UsageError: the picture would be too large, or have too many prior boxes.
    """
    if columns * rows == 1:
        return description
    size = description.preprocessing
    tiles = TileGrid(columns, rows, size.width, size.height, overlap)
    height, width = tiles.size
    if max(height, width) > MOST_SIDE:
        raise UsageError(
            f"{columns}x{rows} tiles of {size.width}x{size.height} are a picture of "
            f"{width}x{height} pixels; a network takes at most {MOST_SIDE} of a side: export fewer "
            "tiles, or the network as it is for detect --tiles"
        )
    boxes = tiles.count * sum(description.level_sizes)
    if boxes > MAX_PRIORS:
        raise UsageError(
            f"{columns}x{rows} tiles have {boxes} prior boxes; decode + NMS takes at most "
            f"{MAX_PRIORS}: export fewer tiles, or the network as it is for detect --tiles"
        )
    params = description.postprocess.of_views(tiles.count, kept)
    return with_tiles(replace(description, postprocess=params), tiles)


def with_tiles(description: Description, tiles: TileGrid) -> Description:
    """The same description with these tiles inside."""
    height, width = tiles.size
    size = replace(description.preprocessing, height=height, width=width)
    return replace(description, preprocessing=size, tiles=tiles)


def check_no_tiles(description: Description, doing: str) -> None:
    """Refuse a network that cuts tiles itself.

    Raises:
        UsageError: says what cannot be done, and with which export it can.
    """
    if description.tiles is not None:
        tiles = description.tiles
        raise UsageError(
            f"{doing}: the network cuts its picture into {tiles.columns}x{tiles.rows} tiles "
            "inside; take one exported without --tiles"
        )
