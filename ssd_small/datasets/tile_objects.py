"""What of the objects of a picture is seen in one of its tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..pictures.tiles import Tiling, Window
from .object_sizes import ROUNDING

#: least share of an object in a tile that is learned: no less than the IoU above which NMS
#: suppresses (0.6 in both presets), so that what is found of an object that an edge cuts gives way
#: to the whole of it, found in the next tile
USUAL_VISIBLE = 0.6


@dataclass(frozen=True, eq=False)
class TileObjects:
    """The objects of a tile, which lies in a picture at ``window``.

    Attributes:
        window: in pixels of the picture as it was annotated.
        rows: ``[K]`` which of the picture's objects they are.
        boxes_xyxy: ``[K, 4]`` in pixels of the tile, cut at its edges.
        visible: ``[K]`` share of the object's area that is in the tile.
        kept: ``[K]`` whether that is enough to be learned; the rest is passed over.
    """

    window: Window
    rows: npt.NDArray[np.int64]
    boxes_xyxy: npt.NDArray[np.float64]
    visible: npt.NDArray[np.float64]
    kept: npt.NDArray[np.bool_]


def check_visible(share: float) -> None:
    """Refuse what is no share of an object, with UsageError."""
    if not 0 < share <= 1:
        raise UsageError(f"min-visible {share:g}: expected a share above 0, 1 at most")


def objects_of_tiles(
    boxes_xyxy: npt.NDArray[np.float64],
    size: tuple[int, int],
    tiling: Tiling,
    min_visible: float = USUAL_VISIBLE,
) -> Iterator[TileObjects]:
    """The tiles of a picture, row by row, each with its objects.

    Args:
        boxes_xyxy: ``[G, 4]`` in pixels of the picture; what lies beyond it does not count.
        size: height and width of the picture.
        tiling: how it is cut; the whole picture is no tile.
        min_visible: least share of an object that is kept.
    """
    height, width = size
    whole = boxes_xyxy.clip(0, (width, height, width, height))
    areas = (whole[:, 2:] - whole[:, :2]).prod(axis=1)
    columns, rows = tiling.grid(height, width)
    for number, window in enumerate(tiling.windows(height, width)):
        if number == columns * rows:
            return
        corner = (window.x, window.y) * 2
        sides = (window.width, window.height) * 2
        inside = (whole - corner).clip(0, sides)
        seen = (inside[:, 2:] - inside[:, :2] >= ROUNDING).all(axis=1)
        found = np.flatnonzero(seen)
        part = (inside[found, 2:] - inside[found, :2]).prod(axis=1) / areas[found]
        # the whole of an object is its area but for rounding
        yield TileObjects(window, found, inside[found], part, part >= min_visible - 1e-9)
