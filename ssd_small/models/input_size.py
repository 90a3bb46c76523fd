"""The networks at input sizes other than the published one.

The weights of a convolution do not depend on the input size, so a network takes any input; only its
maps and prior boxes change, by these rules:

- The side of a prior keeps its share of the input's shorter side (Liu et al. 2016, equation 4),
  with the same number of pixels in both directions: what is square at the published input remains
  square in pixels.
- A step that is a power of two is the stride of its map and does not change. The others are the
  distance of the cells of a map that covers its input exactly, so they become input over map again,
  separately across and down.

The paper's own network for 512 has one more level and smaller shares; it is a different network.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..configs.network import NetworkConfig, Ratio
from ..errors import BadFile, UsageError
from .from_config import spec_from_config
from .published import NAMED
from .shapes import feature_maps, small_map_fault
from .spec import ModelSpec

#: largest plausible side of an input
MOST_SIDE = 8192


def spec_for_input(spec: ModelSpec, size: tuple[int, int]) -> ModelSpec:
    """Adapt a network's spec, prior boxes included, to an input of height and width ``size``.

    Raises:
        UsageError: the spec was not made from a configuration, its prior boxes cannot be adapted,
            or the size is too small or too large for it.
    """
    if size == spec.input_size:
        return spec
    height, width = size
    if not all(1 <= side <= MOST_SIDE for side in size):
        raise UsageError(f"input size {width}x{height}: expected sides of 1 to {MOST_SIDE}")
    if spec.config is None:
        raise UsageError(
            f"{spec.name} takes {spec.input_size[1]}x{spec.input_size[0]} pixels only: the prior "
            "boxes of other sizes are known of the networks of 'ssd-small models'"
        )
    sized = replace(spec, preprocessing=replace(spec.preprocessing, height=height, width=width))
    fault = small_map_fault(sized)
    if fault:
        raise UsageError(f"{spec.name} {fault}")
    maps = [(shape.height, shape.width) for shape in feature_maps(sized)[1]]
    try:
        return spec_from_config(
            _resized(spec.config, size, maps), f"{spec.name} at {width}x{height}"
        )
    except BadFile as error:
        raise UsageError(error.command_line) from error


def name_at_published_size(config: NetworkConfig) -> str | None:
    """Return the name of the network that a configuration is, at any input size; None if none."""
    for named in NAMED:
        if named.config.ssds == config.ssds and named.config.nets == config.nets:
            spec = spec_from_config(named.config)
            try:
                if spec_for_input(spec, config.image_size).config == config:
                    return named.name
            except UsageError:
                continue
    return None


def _resized(
    config: NetworkConfig, size: tuple[int, int], maps: list[tuple[int, int]]
) -> NetworkConfig:
    height, width = size
    scale = min(size) / min(config.image_size)
    across = width / height
    sides = [scale * min(pair) for pair in config.sizes if isinstance(pair, tuple)]
    if len(sides) != len(maps) + 1 or len(config.steps) != len(maps):
        raise BadFile("its STEPS and SIZES are not one a level, so they are of one input only")
    steps = tuple(
        (step_at_size(down, height / rows), step_at_size(right, width / columns))
        for (down, right), (rows, columns) in zip(config.steps, maps, strict=True)
    )
    ratios = config.aspect_ratios
    if height != width:
        pairs = zip(sides, sides[1:], ratios, strict=False)
        ratios = tuple(_pairs(side, following, of, across) for side, following, of in pairs)
    return replace(
        config,
        image_size=size,
        steps=steps,
        # the smaller share of the input, of height and width, counts
        sizes=tuple((side, side * across) for side in sides),
        aspect_ratios=ratios,
    )


def step_at_size(published: float, over_map: float) -> float:
    """Return a step in pixels at another input, from the published step and input over map."""
    return published if math.log2(published).is_integer() else over_map


def _pairs(
    side: float, following: float, ratios: tuple[Ratio, ...], across: float
) -> tuple[Ratio, ...]:
    """Return ratios as (width, height) pairs of boxes that keep their shape in pixels."""
    boxes: list[tuple[float, float]] = []
    for ratio in ratios:
        if not isinstance(ratio, int):
            boxes.append(ratio)
        elif ratio == 1:
            mean = math.sqrt(following / side)
            boxes += [(1.0, 1.0), (mean, mean)]
        else:
            root = math.sqrt(ratio)
            boxes += [(root, 1 / root), (1 / root, root)]
    return tuple((wide / across, high) for wide, high in boxes)
