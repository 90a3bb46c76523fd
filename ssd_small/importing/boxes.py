"""Prior boxes that families have in common, as tables.

Sizes are squares in pixels of a 300 x 300 input; ``sqrt(size * next size)`` is the second square of
a cell (Liu et al. 2016, section 2.2). With another input they grow with it, and steps are what its
maps divide it into: the rule of the six networks, whose tables are of 300 too.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from ..models.shapes import feature_maps
from ..models.spec import AnyLevel, Level, ListedLevel, ModelSpec

#: of VGG16 and ResNet: steps and ratios of levels of 38, 19, 10, 5, 3 and 1 cells
STEPS_300 = (8, 16, 32, 64, 100, 300)
RATIOS_300 = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
SIZES_VOC = (30, 60, 111, 162, 213, 264, 315)
SIZES_COCO = (21, 45, 99, 153, 207, 261, 315)


def levels_from_sizes(
    sizes: tuple[float, ...], steps: tuple[float, ...], ratios: tuple[tuple[float, ...], ...]
) -> tuple[Level, ...]:
    """Levels with two squares each; ``sizes`` has one more than there are levels."""
    pairs = itertools.pairwise(sizes)
    return tuple(
        Level(float(step), (float(size), math.sqrt(size * larger)), tuple(map(float, ratio)))
        for step, (size, larger), ratio in zip(steps, pairs, ratios, strict=True)
    )


def with_input_size(spec: ModelSpec, size: tuple[int, int] | None) -> ModelSpec:
    """A spec for another input, its priors grown with it; as it is for None or its own size."""
    if size is None or size == spec.input_size:
        return spec
    before = spec.input_size
    height, width = size
    resized = replace(spec, preprocessing=replace(spec.preprocessing, height=height, width=width))
    maps = [(shape.height, shape.width) for shape in feature_maps(resized)[1]]
    levels = tuple(
        _grown(level, before, size, (max(rows, 1), max(columns, 1)))
        for level, (rows, columns) in zip(spec.levels, maps, strict=True)
    )
    return replace(resized, levels=levels)


def _grown(
    level: AnyLevel, before: tuple[int, int], size: tuple[int, int], cells: tuple[int, int]
) -> AnyLevel:
    """A level of the table in an input of another size."""
    growth = [now / then for now, then in zip(size, before, strict=True)]
    steps = (size[0] / cells[0], size[1] / cells[1])
    if isinstance(level, Level) and size[0] == size[1] and before[0] == before[1]:
        return replace(level, step=steps[0], sizes=tuple(s * growth[0] for s in level.sizes))
    boxes = level.boxes if isinstance(level, ListedLevel) else _boxes(level)
    return ListedLevel(steps, tuple((w * growth[1], h * growth[0]) for w, h in boxes))


def _boxes(level: Level) -> tuple[tuple[float, float], ...]:
    """Widths and heights of a level's priors, in their order."""
    first, roots = level.sizes[0], [math.sqrt(ratio) for ratio in level.aspect_ratios]
    squares = [(size, size) for size in level.sizes]
    others = [pair for r in roots for pair in ((first * r, first / r), (first / r, first * r))]
    return (*squares, *others)
