"""Find the objects of a picture that are visible in each of its tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..pictures.tiles import Tiling, Window
from .object_sizes import ROUNDING

#: least share of an object in a tile for it to be learned: not below the IoU above which NMS
#: suppresses (0.6 in both presets), so that a detection of the cut object gives way to one of the
#: whole object in the next tile
USUAL_VISIBLE = 0.6


@dataclass(frozen=True, eq=False)
class TileObjects:
    """The objects of a tile, which lies in a picture at ``window``.

    Attributes:
        window: place of the tile, in pixels of the picture as it was annotated.
        rows: ``[K]`` indices of the objects among those of the picture.
        boxes_xyxy: ``[K, 4]`` in pixels of the tile, clipped to its edges.
        visible: ``[K]`` share of the object's area that lies in the tile.
        kept: ``[K]`` whether that is enough to be learned; the other objects are ignored.
    """

    window: Window
    rows: npt.NDArray[np.int64]
    boxes_xyxy: npt.NDArray[np.float64]
    visible: npt.NDArray[np.float64]
    kept: npt.NDArray[np.bool_]


def check_visible(share: float) -> None:
    """Raise UsageError unless ``share`` is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise UsageError(f"min-visible {share:g}: expected a share above 0, 1 at most")


def objects_of_tiles(
    boxes_xyxy: npt.NDArray[np.float64],
    size: tuple[int, int],
    tiling: Tiling,
    min_visible: float = USUAL_VISIBLE,
) -> Iterator[TileObjects]:
    """Yield the tiles of a picture, row by row, each with its objects.

    Args:
        boxes_xyxy: ``[G, 4]`` in pixels of the picture; parts beyond its edges do not count.
        size: height and width of the picture.
        tiling: how the picture is cut; its window of the whole picture is not a tile here.
        min_visible: least share of an object for it to be kept.
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
        # the tolerance lets a whole object reach a share of 1 despite rounding
        yield TileObjects(window, found, inside[found], part, part >= min_visible - 1e-9)
