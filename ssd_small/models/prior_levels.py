"""A configuration's prior boxes: checking STEPS, SIZES and ASPECT_RATIOS, and making levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..configs.network import NetworkConfig, Ratio
from .spec import AnyLevel, Level, ListedLevel

#: plausible range of steps, sides and ratios
_LEAST, _MOST = 1e-6, 1e6


def levels_from_config(
    config: NetworkConfig, maps: Sequence[tuple[int, int]]
) -> tuple[AnyLevel, ...]:
    """Return the prior boxes of each feature map.

    Args:
        config: the configuration.
        maps: (rows, columns) of each feature map.

    Raises:
        ValueError: the length of a list does not fit the number of maps, or a value is implausible.
    """
    lists = {"ASPECT_RATIOS": len(config.aspect_ratios)}
    if config.steps:
        lists["STEPS"] = len(config.steps)
    for name, length in lists.items():
        if length != len(maps):
            raise ValueError(
                f"{name} has {length} entries for {len(maps)} feature levels; expected one a level"
            )
    sides = _sides(config, len(maps))
    height, width = config.image_size
    steps = config.steps or tuple((height / rows, width / columns) for rows, columns in maps)
    return tuple(
        _level(config, step, side, following, ratios)
        for step, side, following, ratios in zip(
            steps, sides, sides[1:], config.aspect_ratios, strict=False
        )
    )


def _sides(config: NetworkConfig, levels: int) -> list[float]:
    """Return the square side of each level, and one more, in pixels of the input's height."""
    height, width = config.image_size
    limits = [size for size in config.sizes if not isinstance(size, tuple)]
    if limits:
        if len(limits) != 2 or len(config.sizes) != 2:
            raise ValueError(
                f"SIZES {list(config.sizes)}: expected two numbers, or pairs of height and width"
            )
        if levels < 2:
            raise ValueError("SIZES of two numbers spans two levels or more; there is one")
        least, most = (_plausible("SIZES", limit) for limit in limits)
        scales = [least + (most - least) * k / (levels - 1) for k in range(levels)]
        return [scale * height for scale in (*scales, 1.0)]
    if len(config.sizes) != levels + 1:
        raise ValueError(
            f"SIZES has {len(config.sizes)} entries for {levels} feature levels; expected "
            f"{levels + 1}, one more than levels"
        )
    # min(high / height, wide / width) of the published source, times height
    pairs = [size for size in config.sizes if isinstance(size, tuple)]
    return [
        min(_plausible("SIZES", high), _plausible("SIZES", wide) * height / width)
        for high, wide in pairs
    ]


def _level(
    config: NetworkConfig,
    step: tuple[float, float],
    side: float,
    following: float,
    ratios: tuple[Ratio, ...],
) -> AnyLevel:
    """Make a level, in the short form where squares come first and both directions are alike."""
    height, width = config.image_size
    down, across = (_plausible("STEPS", one) for one in step)
    mean = math.sqrt(side * following)
    pairs = [ratio for ratio in ratios if not isinstance(ratio, int)]
    whole = [ratio for ratio in ratios if isinstance(ratio, int)]
    if not ratios or (pairs and whole):
        raise ValueError(
            f"ASPECT_RATIOS {list(ratios)}: expected whole numbers, or pairs of width and height"
        )
    if height == width and down == across and whole[:1] == [1] and 1 not in whole[1:]:
        return Level(down, (side, mean), tuple(_plausible("ASPECT_RATIOS", a) for a in whole[1:]))
    boxes: list[tuple[float, float]] = []  # (width, height) in units of the height
    for ratio in ratios:
        if not isinstance(ratio, int):
            wide, high = (_plausible("ASPECT_RATIOS", one) for one in ratio)
            boxes.append((side * wide, side * high))
        elif ratio == 1:
            boxes += [(side, side), (mean, mean)]
        else:
            root = math.sqrt(_plausible("ASPECT_RATIOS", ratio))
            boxes += [(side * root, side / root), (side / root, side * root)]
    # the published boxes are square in the unit square, whatever the input's shape
    return ListedLevel((down, across), tuple((w * width / height, h) for w, h in boxes))


def _plausible(name: str, value: float) -> float:
    if not _LEAST <= value <= _MOST:
        raise ValueError(f"{name} holds {value:g}; expected {_LEAST:g} to {_MOST:g}")
    return float(value)
