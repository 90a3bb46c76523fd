"""Tiles that are cut inside a network: a fixed number, each of the size of its own input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .tiles import USUAL_OVERLAP, Tiling, Window


@dataclass(frozen=True)
class TileGrid:
    """Columns and rows of tiles into which a network cuts its input picture.

    Attributes:
        columns, rows: number of columns and rows, at least two tiles in all.
        width, height: size of a tile in pixels.
        overlap: share of a tile that it has in common with its neighbour, from 0 to under 1.
    """

    columns: int
    rows: int
    width: int
    height: int
    overlap: float = USUAL_OVERLAP

    def __post_init__(self) -> None:
        if self.columns < 1 or self.rows < 1 or self.count < 2:
            raise UsageError(
                f"a grid of {self.columns}x{self.rows} tiles: expected at least two of them"
            )
        _ = self.tiling  # Tiling checks its own values

    @property
    def tiling(self) -> Tiling:
        """How the picture is cut."""
        return Tiling(self.width, self.height, self.overlap)

    @property
    def count(self) -> int:
        """Number of tiles of a picture."""
        return self.columns * self.rows

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture that the tiles cover exactly."""
        across, down = self.tiling.stride
        return self.height + (self.rows - 1) * down, self.width + (self.columns - 1) * across

    @property
    def windows(self) -> tuple[Window, ...]:
        """The tiles, row by row."""
        return tuple(self.tiling.windows(*self.size))

    @property
    def indices(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows ``[rows, height]`` and columns ``[columns, width]`` of the picture, by tile."""
        windows = self.windows
        down = np.asarray([one.y for one in windows[:: self.columns]], np.int64)
        across = np.asarray([one.x for one in windows[: self.columns]], np.int64)
        return down[:, None] + np.arange(self.height), across[:, None] + np.arange(self.width)

    def tiles_of(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Cut ``[N, C, H, W]`` into tiles ``[N * T, C, height, width]``, picture by picture."""
        rows, columns = self.indices
        cut = images[:, :, rows][..., columns]  # [N, C, rows, height, columns, width]
        ordered = cut.transpose(0, 2, 4, 1, 3, 5)
        return np.ascontiguousarray(ordered).reshape(-1, images.shape[1], self.height, self.width)

    @property
    def shifts(self) -> npt.NDArray[np.float32]:
        """Corners of the tiles ``[T, 2]`` (x, y), in units of a tile's sides."""
        corners = [(one.x / self.width, one.y / self.height) for one in self.windows]
        return np.asarray(corners, np.float32)

    @property
    def box_scale(self) -> npt.NDArray[np.float32]:
        """Factors ``[4]`` that convert x1, y1, x2, y2 from tile units to the unit square."""
        height, width = self.size
        return np.asarray([self.width / width, self.height / height] * 2, np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)
