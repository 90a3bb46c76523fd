"""How far the heads of two networks lie apart, level by level, in bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from .recording import Heads

#: a difference is counted by the leading 16 of its 32 bits: sign, exponent and seven of the
#: mantissa, so that a percentile is at most 2**-7 of itself too high
_SHIFT, _BINS = 16, 1 << 15
_SHARE = 0.999


class HeadDifferences:
    """Largest difference and its 99.9th percentile per level, as shares of the output's scale.

    The scale of loc and of conf is its largest absolute value in the reference, over all pictures
    and levels.
    """

    def __init__(self, description: Description) -> None:
        sizes = description.level_sizes
        self._has_levels = description.stored_priors is None
        self._ends = np.cumsum(sizes)
        self._tiles = 1 if description.tiles is None else description.tiles.count
        self._counts = np.zeros((2, len(sizes), _BINS), np.int64)
        self._largest = np.zeros((2, len(sizes)))
        self._scales = np.zeros(2)
        self._pictures = 0

    def add(self, reference: Heads, engine: Heads) -> None:
        """Count the heads of one picture."""
        self._pictures += 1
        for output, (own, other) in enumerate(zip(reference, engine, strict=True)):
            self._scales[output] = np.fmax(self._scales[output], scale_of(own))
            with np.errstate(invalid="ignore"):
                difference = np.abs(own - other)
            difference = difference.reshape(self._tiles, -1, difference.shape[-1])
            start = 0
            for level, end in enumerate(self._ends):
                part = difference[:, start:end].ravel()
                self._largest[output, level] = np.maximum(self._largest[output, level], part.max())
                bits = part.view(np.uint32) >> _SHIFT
                # NaN of any sign is counted with the largest
                bins = np.minimum(bits, _BINS - 1)
                self._counts[output, level] += np.bincount(bins, minlength=_BINS)
                start = end

    def to_list(self) -> list[dict[str, Any]] | None:
        """A row per level, JSON-ready, numbers None where they are not finite; None if none.

        Where no levels say the prior boxes, one row of all of them, whose level is None.
        """
        if not self._pictures:
            return None
        rows = []
        for level in range(len(self._ends)):
            row: dict[str, Any] = {"level": level if self._has_levels else None}
            for output, name in enumerate(("loc", "conf")):
                scale = self._scales[output] or 1.0
                largest = self._largest[output, level]
                percentile = min(_percentile(self._counts[output, level]), largest)
                row[f"{name}_max"] = _finite(largest / scale)
                row[f"{name}_p999"] = _finite(percentile / scale)
            rows.append(row)
        return rows


def scale_of(output: npt.NDArray[np.float32]) -> float:
    """Largest absolute value that is finite; 0 without any."""
    return float(np.max(np.abs(output), where=np.isfinite(output), initial=0.0))


def _percentile(counts: npt.NDArray[np.int64]) -> float:
    """Upper end of the bin in which the share of the values is reached."""
    place = int(np.searchsorted(np.cumsum(counts), _SHARE * counts.sum()))
    if not place:
        return 0.0
    end = np.array([(place + 1) << _SHIFT], np.uint32).view(np.float32)[0]
    return float(end) if np.isfinite(end) else math.inf


def _finite(number: float) -> float | None:
    return float(f"{number:.6g}") if math.isfinite(number) else None
