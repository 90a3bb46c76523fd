"""Prior boxes in numpy; the only module that makes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .shapes import levels_from_spec
from .spec import AnyLevel, Level, ModelSpec


def priors_from_spec(spec: ModelSpec) -> npt.NDArray[np.float32]:
    """Make the prior boxes ``[P, 4]`` of a network; see :func:`priors_from_levels`."""
    return priors_from_levels(levels_from_spec(spec), spec.input_size, spec.clip)


def priors_from_levels(
    levels: Sequence[tuple[AnyLevel, tuple[int, int]]], input_size: tuple[int, int], clip: str
) -> npt.NDArray[np.float32]:
    """Make the prior boxes of a list of feature levels.

    Args:
        levels: prior parameters and (rows, columns) of each feature map.
        input_size: height and width of the network input in pixels.
        clip: ``"all"`` clamps the four coordinates to [0, 1], ``"size"`` width and height
            only, ``"none"`` nothing.

    Returns:
        ``[P, 4]`` float32 (cx, cy, w, h) in the unit square; a prior that is square in pixels is
        square here only if the input is. Levels in order, cells row by row, and within a cell the
        squares first, then each aspect ratio and its inverse; a :class:`.spec.ListedLevel` keeps
        the order of its boxes.
    """
    priors = np.concatenate(
        [_level_priors(level, feature_map, input_size) for level, feature_map in levels]
    )
    if clip == "all":
        priors = priors.clip(0, 1)
    elif clip == "size":
        priors[:, 2:] = priors[:, 2:].clip(0, 1)
    return priors.astype(np.float32)


def priors_from_shifts(
    priors: npt.NDArray[np.float32], shifts: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Make the prior boxes ``[T * P, 4]`` of tiles that are processed together, tile by tile.

    The unit remains the tile, so the sides of each prior keep their bits, and ``pixel_offset``
    means the same across and down whatever the picture's shape.

    Args:
        priors: ``[P, 4]`` (cx, cy, w, h) of one tile.
        shifts: ``[T, 2]`` (x, y) of the tiles' corners, in tiles.
    """
    moved = np.repeat(priors[None], len(shifts), axis=0)
    moved[:, :, :2] += shifts[:, None, :]
    return moved.reshape(-1, 4)


def _level_priors(
    level: AnyLevel, feature_map: tuple[int, int], input_size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Make the priors of one level, float64 ``[H * W * A, 4]`` (Liu et al. 2016, section 2.2)."""
    rows, columns = feature_map
    height, width = input_size
    down, across = (level.step, level.step) if isinstance(level, Level) else level.steps
    cx = (np.arange(columns) + 0.5) * across / width
    cy = (np.arange(rows) + 0.5) * down / height
    sides = _cell_sizes(level, input_size)
    priors = np.empty((rows, columns, len(sides), 4))
    priors[..., 0] = cx[None, :, None]
    priors[..., 1] = cy[:, None, None]
    priors[..., 2:] = sides
    return priors.reshape(-1, 4)


def _cell_sizes(level: AnyLevel, input_size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return widths and heights ``[A, 2]`` of the priors of one cell, in the unit square."""
    height, width = input_size
    if not isinstance(level, Level):
        return np.asarray([(w / width, h / height) for w, h in level.boxes])
    squares = [(size / width, size / height) for size in level.sizes]
    w, h = squares[0]
    roots = [math.sqrt(a) for a in level.aspect_ratios]
    others = [pair for r in roots for pair in ((w * r, h / r), (w / r, h * r))]
    return np.asarray(squares + others)
