"""A picture of which windows are read: in memory, where it is there anyway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from .pixels import ColorOrder, pixels_from_picture
from .reading import Image
from .tiles import Window


class WindowSource(Protocol):
    """What gives the pixels of a picture's windows; threads may ask for several at once."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""

    def pixels(self, window: Window) -> Image:
        """``[h, w, 3]`` uint8 BGR.

        Raises:
            BadFile: this part of the file cannot be decoded.
        """


@dataclass(frozen=True, eq=False)
class PictureInMemory:
    """A decoded picture.

    Attributes:
        image: ``[H, W, 3]`` uint8 BGR.
    """

    image: Image

    @property
    def size(self) -> tuple[int, int]:
        """See :class:`WindowSource`."""
        return self.image.shape[0], self.image.shape[1]

    def pixels(self, window: Window) -> Image:
        """See :class:`WindowSource`; a view of the picture's memory."""
        rows, columns = (
            slice(start, start + length)
            for start, length in ((window.y, window.height), (window.x, window.width))
        )
        return self.image[rows, columns]


@contextmanager
def open_windows(
    picture: Any, color: ColorOrder = "BGR", max_pixels: int | None = None
) -> Iterator[WindowSource]:
    """Windows of one picture.

    Args:
        picture, color, max_pixels: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`.

    Raises:
        BadFile, UsageError: see there.
    """
    yield PictureInMemory(pixels_from_picture(picture, color, max_pixels))
