"""What is timed is what is right: outputs of timed runs against those of an untimed one.

A runtime that answers from a cache, skips work under load or runs into a fault of its own would be
fast and wrong. Benchmarks of the industry sample outputs during the timed run for this reason
(MLPerf's compliance test of accuracy).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckFailed
from ..postprocess.detections import Detections
from ..runtimes import HeadOutputs

#: one of so many timed runs is looked at, drawn by chance, and the first
ONE_OF = 8


class SameOutputs:
    """Compares what timed runs return with what an untimed run returned, to the bit.

    The same engine, input and batch: nothing may differ.

    Args:
        expected: what each stage returned when nothing was timed.
        name: of the network, for messages.
        seed: of the drawing.
    """

    def __init__(self, expected: Sequence[object], name: str, seed: int = 0) -> None:
        # a runtime may give the same memory again
        self._expected = [[array.copy() for array in arrays_of(one)] for one in expected]
        self._name = name
        self._rng = np.random.default_rng(seed)
        #: timed runs, and how many of them were looked at
        self.runs = self.compared = 0

    def __call__(self, results: list[object]) -> None:
        """Look at the results of a timed run, or not, by chance.

        Raises:
            CheckFailed: they differ.
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
    """The arrays of what a stage returned: heads, or detections picture by picture."""
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
