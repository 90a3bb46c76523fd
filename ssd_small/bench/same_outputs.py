"""Checking that timed runs give the right outputs, those of an untimed run.

A runtime that answers from a cache, skips work under load or has a fault would be fast and wrong.
Industry benchmarks sample outputs during the timed run for this reason (MLPerf's compliance test
of accuracy).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckFailed
from ..postprocess.detections import Detections
from ..runtimes import HeadOutputs

#: on average one in this many timed runs is checked, chosen at random, besides the first
ONE_OF = 8


class SameOutputs:
    """Compares the results of timed runs with those of an untimed run, bit by bit.

    Engine, input and batch are the same, so nothing may differ.

    Args:
        expected: result of each stage in the untimed run.
        name: name of the network, for messages.
        seed: seed of the random choice of runs.
    """

    def __init__(self, expected: Sequence[object], name: str, seed: int = 0) -> None:
        # a runtime may return the same memory again
        self._expected = [[array.copy() for array in arrays_of(one)] for one in expected]
        self._name = name
        self._rng = np.random.default_rng(seed)
        #: number of timed runs, and how many of them were checked
        self.runs = self.compared = 0

    def __call__(self, results: list[object]) -> None:
        """Check the results of a timed run, if it is chosen.

        Raises:
            CheckFailed: the results differ.
        """
        self.runs += 1
        if self.runs > 1 and self._rng.integers(ONE_OF):
            return
        self.compared += 1
        for stage, (own, result) in enumerate(zip(self._expected, results, strict=True)):
            got = arrays_of(result)
            same = len(own) == len(got) and all(
                a.shape == b.shape and a.tobytes() == b.tobytes()
                for a, b in zip(own, got, strict=True)
            )
            if not same:
                raise CheckFailed(
                    f"{self._name}: outputs of timed run {self.runs} (stage {stage + 1}) differ "
                    f"from those of the untimed run{_how_far(own, got)}; the times are of no use: "
                    "run 'ssd-small parity' on this engine"
                )


def arrays_of(result: object) -> list[npt.NDArray[Any]]:
    """Return the arrays in a stage's result: an array, heads, or detections picture by picture."""
    if isinstance(result, HeadOutputs):
        heads = result.as_float32()
        return [heads.loc, heads.conf]
    if isinstance(result, np.ndarray):
        return [result]
    if isinstance(result, list) and all(isinstance(one, Detections) for one in result):
        return [
            array
            for one in result
            for array in (one.boxes, one.scores, one.labels, one.prior_indices)
        ]
    raise TypeError(f"a stage returned {type(result)}")


def _how_far(own: list[npt.NDArray[Any]], got: list[npt.NDArray[Any]]) -> str:
    if [a.shape for a in own] != [b.shape for b in got]:
        return " in number"
    largest = max(
        float(np.abs(a.astype(np.float64) - b).max()) if a.size else 0.0
        for a, b in zip(own, got, strict=True)
    )
    return f" by up to {largest:.3g}"
