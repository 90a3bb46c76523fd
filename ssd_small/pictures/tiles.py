"""Cutting of large pictures into overlapping tiles, each resized to the network's input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import UsageError

#: overlap of neighbouring tiles; an object smaller than a fifth of a tile lies whole in one of them
USUAL_OVERLAP = 0.2
#: side, in pixels of a network's input, below which objects are hardly seen
TINY = 8.0


@dataclass(frozen=True)
class Window:
    """A part of a picture, in its pixels: the upper left corner and the sides."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut into tiles.

    Attributes:
        width, height: size of a tile in pixels of the picture.
        overlap: share of a tile that it has in common with its neighbour, from 0 to under 1.
        whole: add the whole picture as one more view, after its tiles.
    """

    width: int
    height: int
    overlap: float = USUAL_OVERLAP
    whole: bool = False

    def __post_init__(self) -> None:
        sides = (self.width, self.height)
        if not all(isinstance(side, int) and side >= 1 for side in sides):
            raise UsageError(
                f"tiles of {self.width}x{self.height}: expected a width and a height of at least 1 "
                "pixel"
            )
        if not (math.isfinite(self.overlap) and 0 <= self.overlap < 1):
            raise UsageError(f"overlap {self.overlap:g}: expected a share from 0 to under 1")
        if min(self.stride) < 1:
            raise UsageError(
                f"overlap {self.overlap:g} of tiles of {self.width}x{self.height} leaves no step "
                "from one to the next; expected less"
            )

    @property
    def stride(self) -> tuple[int, int]:
        """Distance from one tile to the next in pixels, across and down."""
        return round(self.width * (1 - self.overlap)), round(self.height * (1 - self.overlap))

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Number of columns and rows of tiles in a picture of this size."""
        across, down = self.stride
        return _count(width, self.width, across), _count(height, self.height, down)

    def views(self, height: int, width: int) -> int:
        """Number of views of a picture: its tiles, and the whole if it is an extra view."""
        columns, rows = self.grid(height, width)
        return columns * rows + (self.whole and columns * rows > 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tiling:
        """Rebuild from :meth:`to_dict`; other keys are ignored."""
        return cls(**{one.name: values[one.name] for one in fields(cls)})

    def __str__(self) -> str:
        """The tiling in words."""
        whole = ", and the whole picture" if self.whole else ""
        return f"tiles of {self.width}x{self.height}, overlap {self.overlap:g}{whole}"

    def windows(self, height: int, width: int) -> Iterator[Window]:
        """Views of a picture of this size: its tiles row by row, then the whole if it is a view.

        Tiles cover the picture at full size: the last of a row or column is moved inwards. If a
        side of the picture is shorter than a tile, so are its tiles. A picture of a single tile has
        no other view.
        """
        columns, rows = self.grid(height, width)
        size = min(self.width, width), min(self.height, height)
        across, down = self.stride
        for row in range(rows):
            y = min(row * down, height - size[1])
            for column in range(columns):
                yield Window(min(column * across, width - size[0]), y, *size)
        if self.whole and columns * rows > 1:
            yield Window(0, 0, width, height)


def _count(length: int, tile: int, stride: int) -> int:
    """Number of tiles that cover a side."""
    return 1 if length <= tile else -(-(length - tile) // stride) + 1
