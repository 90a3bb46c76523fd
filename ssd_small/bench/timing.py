"""The one timer: warm up, repeat for a while, report the median and the tail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Milliseconds of repeated runs.

    Attributes:
        median, p90, p99: percentiles; with few runs p99 is close to the maximum.
        runs: how many were counted.
    """

    median: float
    p90: float
    p99: float
    runs: int

    @classmethod
    def from_seconds(cls, samples: Sequence[float]) -> Timing:
        """Percentiles of durations in seconds."""
        median, p90, p99 = np.percentile(np.asarray(samples) * 1e3, (50, 90, 99)).tolist()
        return cls(median, p90, p99, len(samples))

    def per(self, count: int) -> Timing:
        """The same per item of a batch."""
        return Timing(self.median / count, self.p90 / count, self.p99 / count, self.runs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, rounded to a tenth of a microsecond."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def measure(
    stages: Sequence[Callable[[], object]], seconds: float, *, warm_up: int = 2, least: int = 3
) -> list[Timing]:
    """Time a sequence of stages run one after the other.

    Args:
        stages: called in order, once per run.
        seconds: how long to repeat; at least ``least`` runs are made.
        warm_up: runs that are not counted.

    Returns:
        A timing per stage, and one of the whole at the end.
    """
    samples: list[list[float]] = []

    def run() -> None:
        marks = [time.perf_counter()]
        for stage in stages:
            stage()
            marks.append(time.perf_counter())
        samples.append([b - a for a, b in pairwise(marks)])

    for _ in range(warm_up):
        run()
    samples.clear()
    started = time.perf_counter()
    while len(samples) < least or time.perf_counter() - started < seconds:
        run()
    per_stage = [Timing.from_seconds(column) for column in zip(*samples, strict=True)]
    return [*per_stage, Timing.from_seconds([sum(row) for row in samples])]
