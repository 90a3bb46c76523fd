"""Estimate how much a difference in AP depends on the choice of pictures: a paired bootstrap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..evaluation.matching import AREAS
from .match_tables import MatchTable

Numbers = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]

#: recall values at which precision is read, as in cocoeval.py (Params)
_RECALLS = np.linspace(0.0, 1.0, 101)
_SEED = 17
_RESAMPLES, _FEWEST = 1000, 100
#: limit of table elements times resamples: less than a minute on one core
_WORK = 4_000_000_000
#: number of elements processed at a time
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Intervals95:
    """Intervals that contain the difference in 95 % of the resamples.

    Attributes:
        resamples: how many were drawn.
        by_area: low and high end by name of :data:`~ssd_small.evaluation.matching.AREAS`; None
            if there are no objects.
    """

    resamples: int
    by_area: Mapping[str, tuple[float, float] | None]


def paired_intervals(
    reference: Sequence[MatchTable], engine: Sequence[MatchTable], images: int
) -> Intervals95:
    """Intervals of the engine's AP minus the reference's, over pictures drawn with replacement.

    Both are scored on the same draws, which never change for a given number of pictures; large data
    sets get fewer draws, to limit the time.
    """
    size = sum(len(table.images) for table in (*reference, *engine))
    resamples = int(np.clip(_WORK // max(size, 1), _FEWEST, _RESAMPLES))
    draws = np.random.default_rng(_SEED).multinomial(
        images, np.full(images, 1 / images), size=resamples
    )
    known: dict[tuple[bytes, ...], Numbers] = {}
    before, after = (mean_precisions(tables, draws, known) for tables in (reference, engine))
    by_area: dict[str, tuple[float, float] | None] = {}
    for area in AREAS:
        difference = after[area] - before[area]
        difference = difference[~np.isnan(difference)]
        low_high = np.percentile(difference, (2.5, 97.5)).tolist() if len(difference) else None
        by_area[area] = None if low_high is None else (low_high[0], low_high[1])
    return Intervals95(resamples, by_area)


def mean_precisions(
    tables: Sequence[MatchTable],
    draws: npt.NDArray[np.int64],
    known: dict[tuple[bytes, ...], Numbers] | None = None,
) -> dict[str, Numbers]:
    """COCO's AP ``[R]`` for each range of areas; NaN for a draw without objects.

    Args:
        tables: tables of one detector.
        draws: ``[R, I]`` how often each image was drawn.
        known: cache of results by table content: most tables of an engine equal those of its
            network.
    """
    known = {} if known is None else known
    # exact in single precision up to 2**24 detections
    weights = np.ascontiguousarray(draws, np.float32)
    sums: dict[str, Numbers] = defaultdict(lambda: np.zeros(len(draws)))
    numbers: dict[str, Numbers] = defaultdict(lambda: np.zeros(len(draws)))
    for table in tables:
        key = tuple(one.tobytes() for one in (table.images, table.right, table.boxes))
        precision = known.get(key)
        if precision is None:
            precision = known[key] = _precisions(table, weights)
        is_known = ~np.isnan(precision)
        sums[table.area] += np.where(is_known, precision, 0)
        numbers[table.area] += is_known
    with np.errstate(invalid="ignore"):
        return {area: sums[area] / numbers[area] for area in AREAS}


def _precisions(table: MatchTable, weights: Weights) -> Numbers:
    """Average precision ``[R]`` of one table; NaN where no object was drawn."""
    step = max(1, _CHUNK // max(1, len(table.images)))
    parts = [_of_draws(table, weights[i : i + step]) for i in range(0, len(weights), step)]
    return np.concatenate(parts)


def _of_draws(table: MatchTable, weights: Weights) -> Numbers:
    """Average precision of some draws; a picture drawn twice counts as two pictures.

    Copies of a detection share the precision at the last one, so weights can stand for copies.
    """
    objects = weights @ table.boxes.astype(np.float64)
    result = np.where(objects > 0, 0.0, np.nan)
    if not len(table.right):
        return result
    of_each = weights[:, table.images]  # [R, n]
    right = np.cumsum(of_each[:, table.right], axis=1, dtype=np.float64)  # [R, m]
    ahead = np.cumsum(of_each, axis=1)[:, table.right].astype(np.float64)
    precision = right / (ahead + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / objects[:, None]
    reached = np.searchsorted(_RECALLS, np.nan_to_num(recall), side="right")
    newly = np.diff(reached, axis=1, prepend=0)
    average = (newly * envelope).sum(axis=1) / len(_RECALLS)
    return np.where(objects > 0, average, result)
