"""Tables of prior boxes that several families share.

Sizes are squares in pixels of a 300 x 300 input; ``sqrt(size * next size)`` is the second square of
a cell (Liu et al. 2016, section 2.2).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Literal

from ..models.input_size import step_at_size
from ..models.shapes import feature_maps
from ..models.spec import AnyLevel, Level, ListedLevel, ModelSpec

#: for VGG16 and ResNet: steps and ratios of levels of 38, 19, 10, 5, 3 and 1 cells
STEPS_300 = (8, 16, 32, 64, 100, 300)
RATIOS_300 = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
SIZES_VOC = (30, 60, 111, 162, 213, 264, 315)
SIZES_COCO = (21, 45, 99, 153, 207, 261, 315)


def levels_from_sizes(
    sizes: tuple[float, ...], steps: tuple[float, ...], ratios: tuple[tuple[float, ...], ...]
) -> tuple[Level, ...]:
    """Levels with two squares each; ``sizes`` has one entry more than there are levels."""
    pairs = itertools.pairwise(sizes)
    return tuple(
        Level(float(step), (float(size), math.sqrt(size * larger)), tuple(map(float, ratio)))
        for step, (size, larger), ratio in zip(steps, pairs, ratios, strict=True)
    )


def with_input_size(
    spec: ModelSpec,
    size: tuple[int, int] | None,
    *,
    stretched: bool = False,
    steps: Literal["rule", "map", "pixels"] = "rule",
) -> ModelSpec:
    """Adapt a spec to another input size; unchanged for None or its own size.

    Args:
        spec: a spec whose table is for a square input.
        size: height and width in pixels.
        stretched: whether prior boxes scale with height and width separately, as in torchvision,
            or with the shorter side only, as in the networks here.
        steps: distance between the cells of a map: by the rule of the networks here
            (:mod:`ssd_small.models.input_size`), input over map, or the table's number of pixels.
    """
    if size is None or size == spec.input_size:
        return spec
    side = spec.preprocessing.height
    height, width = size
    resized = replace(spec, preprocessing=replace(spec.preprocessing, height=height, width=width))
    maps = [(shape.height, shape.width) for shape in feature_maps(resized)[1]]
    growth = (height / side, width / side) if stretched else (min(size) / side,) * 2
    levels = []
    for level, cells in zip(spec.levels, maps, strict=True):
        assert isinstance(level, Level)
        over_map = [pixels / max(count, 1) for pixels, count in zip(size, cells, strict=True)]
        apart = {
            "rule": [step_at_size(level.step, one) for one in over_map],
            "map": over_map,
            "pixels": [level.step] * 2,
        }[steps]
        levels.append(_grown(level, (apart[0], apart[1]), growth))
    return replace(resized, levels=tuple(levels))


def _grown(level: Level, steps: tuple[float, float], growth: tuple[float, float]) -> AnyLevel:
    """A level with other steps and enlarged boxes; both factors are (down, across)."""
    if steps[0] == steps[1] and growth[0] == growth[1]:
        return replace(level, step=steps[0], sizes=tuple(s * growth[0] for s in level.sizes))
    return ListedLevel(steps, tuple((w * growth[1], h * growth[0]) for w, h in _boxes(level)))


def _boxes(level: Level) -> tuple[tuple[float, float], ...]:
    """Widths and heights of a level's priors, in their order."""
    first, roots = level.sizes[0], [math.sqrt(ratio) for ratio in level.aspect_ratios]
    squares = [(size, size) for size in level.sizes]
    others = [pair for r in roots for pair in ((first * r, first / r), (first / r, first * r))]
    return (*squares, *others)
