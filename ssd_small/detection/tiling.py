"""How pictures are cut into tiles, from the user's options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np

from ..artefacts.description import Description
from ..artefacts.tiled import check_no_tiles
from ..errors import UsageError, quoted
from ..pictures.tiles import USUAL_OVERLAP, Tiling

#: (width, height) of a tile in pixels of the picture; auto: chosen so that objects are as large at
#: the network's input as they were in training
Tiles = tuple[int, int] | Literal["auto"]
_AUTO = "auto"


def tiling_from_options(
    tiles: Tiles | None,
    overlap: float | None,
    whole: bool,
    object_size: float | None,
    description: Description,
) -> Tiling | None:
    """How pictures are cut for a network; None if they are not cut.

    Args:
        tiles: see :data:`Tiles`; None for no tiles.
        overlap: share of a tile that it has in common with its neighbour; None: a fifth.
        whole: add the whole picture as one more view.
        object_size: for ``auto``: side of an object in the pictures, in pixels (the square root of
            its area); None: as in training.
        description: description of the network.

    Raises:
        UsageError: the options do not go together, or for ``auto``, the network does not record
            how large its objects were.
    """
    if tiles is None:
        check_not_cut(overlap, whole, object_size)
        return None
    if not isinstance(whole, bool):
        raise UsageError(f"whole {whole!r}: expected True or False")
    check_no_tiles(description, "--tiles")
    if description.preprocessing.fit != "stretch":
        raise UsageError(
            f"--tiles: pictures get into this network by {description.preprocessing.fit}; tiles "
            "are stretched, as the pictures of other networks: leave --tiles out"
        )
    shared = USUAL_OVERLAP if overlap is None else _number(overlap, "overlap")
    if isinstance(tiles, str):
        if tiles != _AUTO:
            raise _no_tiles(tiles)
        width, height = _sides_of_auto(object_size, description)
    else:
        if object_size is not None:
            raise UsageError("--object-size goes with --tiles auto, which chooses the tile by it")
        if not _is_pair_of_sides(tiles):
            raise _no_tiles(tiles)
        width, height = int(tiles[0]), int(tiles[1])
    return Tiling(width, height, shared, whole)


def check_not_cut(overlap: float | None, whole: bool, object_size: float | None) -> None:
    """Refuse options for tiles if no tiles are asked for, with UsageError."""
    given = {"overlap": overlap, "whole": whole or None, "object-size": object_size}
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--{name} goes with --tiles, which cuts pictures into tiles")


def tiles_of_protocol(tiling: Tiling | None) -> dict[str, Any]:
    """A report's entry on tiles, beside the parameters of decode + NMS; empty without tiles."""
    if tiling is None:
        return {}
    return {"tiles": tiling.to_dict() | {"caps": "of a tile, times the tiles of a picture"}}


def _sides_of_auto(object_size: float | None, description: Description) -> tuple[int, int]:
    """Width and height of the tile that makes objects as large at the input as in training."""
    learned = description.object_size
    if learned is None:
        raise UsageError(
            "--tiles auto: this network does not record how large the objects of its training "
            "were; give the tile in pixels, such as --tiles 300x300"
        )
    side = learned.picture if object_size is None else _number(object_size, "object-size")
    if side <= 0:
        raise UsageError(f"--object-size {side:g}: expected a positive number of pixels")
    size, scale = description.preprocessing, side / learned.network
    return max(1, round(size.width * scale)), max(1, round(size.height * scale))


def _is_pair_of_sides(tiles: Any) -> bool:
    """Whether these are two numbers of pixels; bytes and bools are refused as mistakes."""
    if isinstance(tiles, bytes | bytearray) or not isinstance(tiles, Sequence | np.ndarray):
        return False
    if isinstance(tiles, np.ndarray) and not tiles.ndim:
        return False
    return len(tiles) == 2 and all(
        isinstance(side, int | np.integer) and not isinstance(side, bool) and bool(side >= 1)
        for side in tiles
    )


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise UsageError(f"--{name} {quoted(value)}: expected a number")
    return float(value)


def _no_tiles(tiles: object) -> UsageError:
    return UsageError(
        f"--tiles {quoted(tiles)}: expected width and height in pixels, such as (300, 300), or "
        "'auto'"
    )
