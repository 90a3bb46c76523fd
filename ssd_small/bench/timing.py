"""The timer: warm up, repeat for a while, report the median, the tail and the spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

#: number of consecutive parts of a measurement, whose medians show how steady the machine was
PARTS = 5
#: most durations of a measurement that are kept for comparison with another
KEPT = 400


@dataclass(frozen=True)
class Timing:
    """Milliseconds of repeated runs.

    Attributes:
        median, p90, p99, p999: percentiles (50, 90, 99, 99.9); with few runs, the last ones are
            close to the maximum.
        runs: number of counted runs.
        spread: largest divided by smallest median of :data:`PARTS` consecutive parts, minus 1; a
            change due to the machine alone.
        samples: the durations in chronological order, evenly thinned out to :data:`KEPT`.
    """

    median: float
    p90: float
    p99: float
    p999: float
    runs: int
    spread: float
    samples: tuple[float, ...]

    @classmethod
    def from_seconds(cls, seconds: Sequence[float]) -> Timing:
        """Make a timing from durations in seconds, in chronological order."""
        values = np.asarray(seconds) * 1e3
        median, p90, p99, p999 = np.percentile(values, (50, 90, 99, 99.9)).tolist()
        medians = [np.median(part) for part in np.array_split(values, min(PARTS, len(values)))]
        chosen = np.linspace(0, len(values) - 1, min(KEPT, len(values))).round().astype(int)
        spread = float(max(medians) / min(medians) - 1) if min(medians) > 0 else 0.0
        samples = tuple(values[chosen].tolist())
        return cls(median, p90, p99, p999, len(values), spread, samples)

    def per(self, count: int) -> Timing:
        """Return the same timing per item of a batch."""
        return replace(
            self,
            median=self.median / count,
            p90=self.p90 / count,
            p99=self.p99 / count,
            p999=self.p999 / count,
            samples=tuple(value / count for value in self.samples),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values without the samples, rounded to a tenth of a microsecond."""
        names = ("median", "p90", "p99", "p999", "spread")
        return {name: round(getattr(self, name), 4) for name in names} | {"runs": self.runs}


def measure(
    stages: Sequence[Callable[[], object]],
    seconds: float,
    *,
    warm_up: int = 2,
    least: int = 3,
    observe: Callable[[list[object]], None] = lambda results: None,
) -> list[Timing]:
    """Time a sequence of stages that are run one after the other.

    Args:
        stages: called in order, once per run.
        seconds: how long to repeat.
        warm_up: number of runs that are not counted.
        least: smallest number of counted runs.
        observe: called after each counted run with the results of its stages; not timed.

    Returns:
        A timing per stage, followed by one of the whole sequence.
    """
    samples: list[list[float]] = []

    def run() -> list[object]:
        results: list[object] = []
        marks = [time.perf_counter()]
        for stage in stages:
            results.append(stage())
            marks.append(time.perf_counter())
        samples.append([b - a for a, b in pairwise(marks)])
        return results

    for _ in range(warm_up):
        run()
    samples.clear()
    started = time.perf_counter()
    while len(samples) < least or time.perf_counter() - started < seconds:
        observe(run())
    per_stage = [Timing.from_seconds(column) for column in zip(*samples, strict=True)]
    return [*per_stage, Timing.from_seconds([sum(row) for row in samples])]
