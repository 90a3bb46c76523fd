"""The COCO metric of results: the twelve numbers, also per class and by object size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..datasets.coco import Annotations
from ..pictures.placement import Fit
from .columns import (
    Floats,
    Found,
    ResultColumns,
    TruthColumns,
    columns_from_annotations,
    columns_from_results,
)
from .curves import IOUS, coco_curves, mean_of_known
from .feature_levels import LevelScore, PriorGrid, scores_by_level
from .matching import AREAS, MOST, matches_by_class
from .operating_point import IOU, BestThresholds, Matches, best_thresholds, operating_point
from .sizes import (
    SizeCurve,
    SizeScore,
    areas_at_input,
    size_areas,
    size_curves,
    sizes_from_curves,
)

#: the twelve numbers, in pycocotools' order
METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)
#: areas in square pixels, both ends included, as in COCO: all, small, medium, large
_AREAS = [list(one) for one in AREAS.values()]


@dataclass(frozen=True, eq=False)
class ClassScore:
    """A metric for one class, over boxes of all sizes.

    Attributes:
        name: of the category.
        aps: ``AP`` as the metric defines it, and for COCO also ``AP50``; None without ground truth.
        boxes: number of ground-truth boxes that count, without crowds (or difficult objects).
        detections: number of result entries.
        matches: which of its detections are right at IoU 0.5.
    """

    name: str
    aps: Mapping[str, float | None]
    boxes: int
    detections: int
    matches: Matches

    @property
    def ap(self) -> float | None:
        """Average precision: COCO's is the mean over IoU 0.50 to 0.95, VOC's that at 0.5."""
        return self.aps["AP"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form with ``ap`` and ``ap50`` for any metric; for VOC both are its AP."""
        return {
            "name": self.name,
            **self.aps,
            "ap": self.ap,
            "ap50": self.aps.get("AP50", self.ap),
            "boxes": self.boxes,
            "detections": self.detections,
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores that a metric gives.

    Attributes:
        metrics: the twelve COCO numbers, or VOC's ``AP``, 0 to 1; None where there is no ground
            truth (of that size).
        classes: each category, in the order of their ids.
        by_size: one row per object size, smallest first; empty for VOC's metric.
        curves: precision over recall for objects of all, small, medium and large size; empty for
            VOC's metric.
        by_level: one row per feature level, finest first; None if the network is not known, and
            for VOC's metric.
    """

    metrics: dict[str, float | None]
    classes: tuple[ClassScore, ...]
    by_size: tuple[SizeScore, ...] = ()
    curves: tuple[SizeCurve, ...] = ()
    by_level: tuple[LevelScore, ...] | None = None

    def operating_point(self, thresholds: Sequence[float]) -> dict[str, Any]:
        """Precision and recall at a score threshold per class; see :func:`operating_point`."""
        names = [one.name for one in self.classes]
        return operating_point(names, [one.matches for one in self.classes], thresholds)

    def best_thresholds(self, least: float) -> BestThresholds:
        """The score thresholds of highest F1; see :func:`best_thresholds`."""
        names = [one.name for one in self.classes]
        return best_thresholds(names, [one.matches for one in self.classes], least)

    @property
    def surplus(self) -> int:
        """Number of detections that do not count: their class and image have 100 better ones."""
        return sum(one.detections - len(one.matches.scores) for one in self.classes)


def score(
    annotations: Annotations,
    results: Found,
    input_size: tuple[int, int] | None = None,
    grids: Sequence[PriorGrid] = (),
    tile: tuple[int, int] | None = None,
    fit: Fit = "stretch",
) -> Scores:
    """COCO's metric of result entries (:mod:`ssd_small.evaluation.coco_results`).

    Args:
        annotations: ground truth.
        results: entries, or their columns; ids as in the annotations.
        input_size: height and width of the network's input, if known: ``by_size`` then has rows at
            that scale too.
        grids: prior boxes of each feature level, for ``by_level``; requires ``input_size``.
        tile: height and width of the tiles that are resized to it, if pictures are cut.
        fit: how pictures of other aspect ratios are fitted into the input.

    Raises:
        MissingRequirement: hotcoco is missing.
    """
    truth, found = columns_from_annotations(annotations), columns_from_results(results)
    precision, recall = coco_curves(truth, found, [*_AREAS, *size_areas()], [1, 10, MOST])
    # [T, R, K, A, M] -> [T, R, K, A] at the largest number of detections
    by_size = sizes_from_curves(
        *(precision[:, :, :, len(_AREAS) :, -1], recall[:, :, len(_AREAS) :, -1]),
        *(truth.areas[~truth.crowds], "picture"),
    )
    by_level = None
    if input_size is not None:
        areas = areas_at_input(truth, found, input_size, tile, fit)
        at_input = coco_curves(truth, found, size_areas(), [MOST], areas)
        by_size += sizes_from_curves(
            *(at_input[0][..., -1], at_input[1][..., -1]), areas[0][~truth.crowds], "network"
        )
        by_level = scores_by_level(truth, found, grids, input_size, fit) if grids else None
    classes = _classes(annotations, truth, found, precision[:, :, :, 0, -1])
    half = IOUS.tolist().index(IOU)
    curves = size_curves(precision[half, :, :, : len(_AREAS), -1])
    return Scores(_metrics(precision, recall), classes, by_size, curves, by_level)


def _metrics(precision: Floats, recall: Floats) -> dict[str, float | None]:
    """The twelve numbers, each the mean of the same elements as in cocoeval.py (summarize)."""
    steps = IOUS.tolist()
    half, three_quarters = steps.index(IOU), steps.index(0.75)
    by_area = range(1, len(_AREAS))
    values = (
        mean_of_known(precision[:, :, :, 0, -1]),
        *(mean_of_known(precision[t, :, :, 0, -1]) for t in (half, three_quarters)),
        *(mean_of_known(precision[:, :, :, a, -1]) for a in by_area),
        *(mean_of_known(recall[:, :, 0, m]) for m in range(recall.shape[-1])),
        *(mean_of_known(recall[:, :, a, -1]) for a in by_area),
    )
    return dict(zip(METRICS, values, strict=True))


def _classes(
    annotations: Annotations, truth: TruthColumns, found: ResultColumns, precision: Floats
) -> tuple[ClassScore, ...]:
    """Scores of each class; ``precision`` is ``[T, R, K]`` for objects of all sizes."""
    names = {category["id"]: str(category["name"]) for category in annotations.categories}
    detections = Counter(found.category_ids.tolist())
    half = IOUS.tolist().index(IOU)
    classes = []
    for k, (key, matches) in enumerate(
        zip(truth.category_ids.tolist(), matches_by_class(truth, found), strict=True)
    ):
        aps = {
            "AP": mean_of_known(precision[:, :, k]),
            "AP50": mean_of_known(precision[half, :, k]),
        }
        classes.append(ClassScore(names[key], aps, matches.boxes, detections[key], matches))
    return tuple(classes)
