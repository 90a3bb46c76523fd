"""Compare average precision of two result lists on the same pictures, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.score import Scores, score
from .match_tables import match_tables
from .resampling import Intervals95, paired_intervals

if TYPE_CHECKING:
    from ..datasets.coco import Annotations

_METRICS = {"all": "AP", "small": "AP_small", "medium": "AP_medium", "large": "AP_large"}


def map_difference(
    annotations: Annotations,
    reference: Sequence[dict[str, Any]],
    engine: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """JSON-ready COCO AP of both, the engine's minus the reference's, and a 95 % interval of that.

    For all objects, by object size, and (without intervals) by class; None without ground truth.

    Args:
        annotations: annotations of the pictures that both could read.
        reference, engine: COCO result entries.

    Raises:
        MissingRequirement: a package needed for scoring is missing.
    """
    before, after = score(annotations, reference), score(annotations, engine)
    intervals = paired_intervals(
        match_tables(annotations, reference),
        match_tables(annotations, engine),
        len(annotations.images),
    )
    rows = {area: _row(area, before, after, intervals) for area in _METRICS}
    return {
        **rows.pop("all"),
        "resamples": intervals.resamples,
        **rows,
        "classes": [
            {"name": one.name, **_both(one.ap, other.ap)}
            for one, other in zip(before.classes, after.classes, strict=True)
        ],
    }


def _row(area: str, before: Scores, after: Scores, intervals: Intervals95) -> dict[str, Any]:
    metric, interval = _METRICS[area], intervals.by_area[area]
    return {
        **_both(before.metrics[metric], after.metrics[metric]),
        "interval": None if interval is None else list(interval),
    }


def _both(reference: float | None, engine: float | None) -> dict[str, Any]:
    difference = None if reference is None or engine is None else engine - reference
    return {"reference": reference, "engine": engine, "difference": difference}
