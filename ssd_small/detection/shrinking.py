"""Warns of pictures so large that a network can hardly see their objects at its input."""

from __future__ import annotations

import math

import numpy as np

from ..artefacts.description import Description
from ..pictures.placement import sizes_seen
from ..pictures.tiles import TINY, Tiling


class ShrunkPictures:
    """Counts pictures in which objects of the size in training shrink below 8 pixels.

    Without ground truth, objects are assumed to be as large, in pixels of the picture, as the
    median object of the training pictures. If the network does not record that size, nothing is
    counted.
    """

    def __init__(self, description: Description, tiling: Tiling | None) -> None:
        self._learned, self._tiling = description.object_size, tiling
        self._input = description.preprocessing.height, description.preprocessing.width
        self._fit = description.preprocessing.fit
        self._least, self._count = math.inf, 0

    def add(self, height: int, width: int) -> None:
        """Take a picture of this size into account."""
        if self._learned is None or not height * width:
            return
        seen = height, width
        if self._tiling is not None:
            seen = min(height, self._tiling.height), min(width, self._tiling.width)
        sizes = np.array([seen], np.float64)
        seen = sizes_seen(self._fit, sizes, self._input)[0].tolist()
        side = self._learned.picture * math.sqrt(math.prod(self._input) / math.prod(seen))
        if side < min(TINY, self._learned.network):
            self._count += 1
            self._least = min(self._least, side)

    def line(self, pictures: int) -> str | None:
        """A message about the counted pictures, out of ``pictures``; None if there are none."""
        if not self._count or self._learned is None:
            return None
        height, width = self._input
        return (
            f"{self._count} of {pictures} images are so large that objects of "
            f"{self._learned.picture:.1f} px, as this network has learned them, shrink below "
            f"{TINY:g} px at its input ({self._least:.1f} px at {width}x{height}, "
            f"{self._learned.network:.1f} px in training): pass --tiles auto, with --object-size "
            "where they are of another size"
        )
