"""Measure how far the heads of two networks differ, level by level, in bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from .recording import Heads

#: differences are counted by the leading 16 of their 32 bits: sign, exponent and seven bits of the
#: mantissa, so a percentile is too high by at most 2**-7 of itself
_SHIFT, _BINS = 16, 1 << 15
_SHARE = 0.999


class HeadDifferences:
    """Largest and 99.9th percentile difference per feature level, relative to the output's scale.

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
        """Add the heads of one picture."""
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
                # NaN of either sign is counted in the last bin
                bins = np.minimum(bits, _BINS - 1)
                self._counts[output, level] += np.bincount(bins, minlength=_BINS)
                start = end

    def to_list(self) -> list[dict[str, Any]] | None:
        """JSON-ready rows, one per level, None for non-finite numbers; None without pictures.

        If the prior boxes are stored without levels, there is one row for all, whose level is None.
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
    """Largest finite absolute value; 0 if there is none."""
    return float(np.max(np.abs(output), where=np.isfinite(output), initial=0.0))


def _percentile(counts: npt.NDArray[np.int64]) -> float:
    """Upper end of the bin that holds the 99.9th percentile."""
    place = int(np.searchsorted(np.cumsum(counts), _SHARE * counts.sum()))
    if not place:
        return 0.0
    end = np.array([(place + 1) << _SHIFT], np.uint32).view(np.float32)[0]
    return float(end) if np.isfinite(end) else math.inf


def _finite(number: float) -> float | None:
    return float(f"{number:.6g}") if math.isfinite(number) else None
