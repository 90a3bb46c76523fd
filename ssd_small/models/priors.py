"""Prior boxes in numpy: the one place that makes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .spec import Level, ModelSpec


def priors_from_spec(spec: ModelSpec) -> npt.NDArray[np.float32]:
    """Prior boxes ``[P, 4]`` of a network; see :func:`priors_from_levels`."""
    from .shapes import summarize

    maps = [(shape.height, shape.width) for shape in summarize(spec).levels]
    return priors_from_levels(list(zip(spec.levels, maps, strict=True)), spec.input_size, spec.clip)


def priors_from_levels(
    levels: Sequence[tuple[Level, tuple[int, int]]], input_size: tuple[int, int], clip: str
) -> npt.NDArray[np.float32]:
    """Prior boxes of a list of feature levels.

    Args:
        levels: prior parameters and (rows, columns) of each feature map.
        input_size: height and width of the network input in pixels.
        clip: ``"all"`` clamps the four coordinates to [0, 1], ``"size"`` width and height
            only, ``"none"`` nothing.

    Returns:
        ``[P, 4]`` float32 (cx, cy, w, h) in the unit square: levels in order, cells row by row,
        within a cell the squares first, then each aspect ratio and its inverse.
    """
    priors = np.concatenate(
        [_level_priors(level, feature_map, input_size) for level, feature_map in levels]
    )
    if clip == "all":
        priors = priors.clip(0, 1)
    elif clip == "size":
        priors[:, 2:] = priors[:, 2:].clip(0, 1)
    return priors.astype(np.float32)


def _level_priors(
    level: Level, feature_map: tuple[int, int], input_size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Priors of one level, float64 ``[H * W * A, 4]``; Liu et al. 2016, section 2.2."""
    rows, columns = feature_map
    height, width = input_size
    cx = (np.arange(columns) + 0.5) * level.step / width
    cy = (np.arange(rows) + 0.5) * level.step / height
    sides = _cell_sizes(level.sizes, level.aspect_ratios, min(height, width))
    priors = np.empty((rows, columns, len(sides), 4))
    priors[..., 0] = cx[None, :, None]
    priors[..., 1] = cy[:, None, None]
    priors[..., 2:] = sides
    return priors.reshape(-1, 4)


def _cell_sizes(
    sizes: Sequence[float], aspect_ratios: Sequence[float], unit: int
) -> npt.NDArray[np.float64]:
    """Widths and heights ``[A, 2]`` of the priors of one cell, in the unit square."""
    squares = [(size / unit, size / unit) for size in sizes]
    first = sizes[0] / unit
    wide = [(first * math.sqrt(a), first / math.sqrt(a)) for a in aspect_ratios]
    pairs = [pair for w, h in wide for pair in ((w, h), (h, w))]
    return np.asarray(squares + pairs)
