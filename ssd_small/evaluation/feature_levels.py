"""Average precision and recall by the feature level whose prior boxes fit an object best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..pictures.placement import Fit, sizes_seen
from .columns import Floats, Numbers, ResultColumns, TruthColumns
from .curves import coco_curves, mean_of_known
from .matching import MOST

#: prior boxes of one level, ``[rows, columns, A, 4]`` (cx, cy, w, h) in the unit square
PriorGrid = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LevelScore:
    """The metric for the objects of one level, with 100 detections per class and image.

    An object belongs to the level of the prior that has the highest IoU with it (the finest level
    if several tie); this is the prior that learns it in training (Liu et al. 2016, section 2.2,
    matching strategy).

    Attributes:
        level: of the feature map, 0 the finest.
        rows, columns: of the map.
        boxes: number of such objects, without crowds.
        median_px: their median side, the square root of the box's area in pixels of the network's
            input; None without such objects.
        ap, recall: means over IoU 0.50 to 0.95 and the classes; None without such objects. A
            detection that takes no object counts as wrong at the level its own box belongs to.
    """

    level: int
    rows: int
    columns: int
    boxes: int
    median_px: float | None
    ap: float | None
    recall: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def grids_from_description(description: Description) -> tuple[PriorGrid, ...]:
    """The prior boxes of each level of a network; empty if they are data without levels."""
    priors = description.priors
    grids, first = [], 0
    for level, (rows, columns) in description.levels:
        last = first + rows * columns * level.num_anchors
        grids.append(priors[first:last].reshape(rows, columns, level.num_anchors, 4))
        first = last
    return tuple(grids)


def levels_from_boxes(boxes_xywh: Floats, grids: Sequence[PriorGrid]) -> Numbers:
    """``[N]`` level of the prior with the highest IoU with each box; the finest of several.

    Args:
        boxes_xywh: ``[N, 4]`` corner and sides in the unit square.
        grids: prior boxes of each level.
    """
    sides = boxes_xywh[:, 2:]
    centres = boxes_xywh[:, :2] + sides / 2
    levels, best = np.zeros(len(boxes_xywh), np.int64), np.full(len(boxes_xywh), -1.0)
    for level, grid in enumerate(grids):
        for anchor in np.moveaxis(grid.astype(np.float64), 2, 0):
            iou = _best_iou(centres, sides, anchor)
            better = iou > best
            levels[better], best[better] = level, iou[better]
    return levels


def _best_iou(centres: Floats, sides: Floats, anchor: Floats) -> Floats:
    """``[N]`` highest IoU of each box with the priors ``[rows, columns, 4]`` of one shape.

    The closer the centres of two boxes of given shapes are, in x and y separately, the more they
    overlap, so that the nearest cell is the best one.
    """
    shape = anchor[0, 0, 2:]
    overlap = np.ones(len(centres))
    for axis, cells in enumerate((anchor[0, :, 0], anchor[:, 0, 1])):
        # clipped centres may coincide, but they never decrease
        nearest = cells[np.searchsorted((cells[1:] + cells[:-1]) / 2, centres[:, axis])]
        reach = (sides[:, axis] + shape[axis]) / 2 - np.abs(centres[:, axis] - nearest)
        overlap *= np.clip(reach, 0, np.minimum(sides[:, axis], shape[axis]))
    iou: Floats = overlap / (sides.prod(axis=1) + shape.prod() - overlap)
    return iou


def scores_by_level(
    truth: TruthColumns,
    found: ResultColumns,
    grids: Sequence[PriorGrid],
    input_size: tuple[int, int],
    fit: Fit = "stretch",
) -> tuple[LevelScore, ...]:
    """One row per level.

    Args:
        truth: ground truth.
        found: detections.
        grids: prior boxes of each level.
        input_size: height and width of the network's input in pixels.
        fit: how pictures of other aspect ratios are fitted into it.
    """
    of = np.searchsorted(truth.image_ids, found.image_ids)
    own, theirs = (
        _unit_boxes(boxes, truth.image_sizes[images], input_size, fit)
        for boxes, images in ((truth.boxes_xywh, truth.images), (found.boxes_xywh, of))
    )
    levels = levels_from_boxes(own, grids)
    # the ranges of the metric apply to any measure, here the level
    measures = (levels.astype(np.float64), levels_from_boxes(theirs, grids).astype(np.float64))
    ranges = [[float(level)] * 2 for level in range(len(grids))]
    curves = coco_curves(truth, found, ranges, [MOST], measures)
    precision, recall = (one[..., -1] for one in curves)
    sides = np.sqrt(own[:, 2:].prod(axis=1) * float(np.prod(input_size)))
    rows = []
    for level, grid in enumerate(grids):
        objects = sides[(levels == level) & ~truth.crowds]
        rows.append(
            LevelScore(
                level=level,
                rows=grid.shape[0],
                columns=grid.shape[1],
                boxes=len(objects),
                median_px=float(np.median(objects)) if len(objects) else None,
                ap=mean_of_known(precision[..., level]),
                recall=mean_of_known(recall[..., level]),
            )
        )
    return tuple(rows)


def _unit_boxes(boxes_xywh: Floats, sizes: Floats, input_size: tuple[int, int], fit: Fit) -> Floats:
    """Boxes in the unit square of the input; ``sizes [N, 2]`` are each image's height and width.

    Exact up to the rounding of borders, or of what is cut off, to whole pixels.
    """
    seen = sizes_seen(fit, sizes, input_size)
    moved = boxes_xywh.copy()
    moved[:, :2] += ((seen - sizes) / 2)[:, ::-1]
    unit: Floats = moved / seen[:, [1, 0, 1, 0]]
    return unit
