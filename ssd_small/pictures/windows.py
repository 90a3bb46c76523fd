"""A picture of which windows are read: in memory, or of a large TIFF from its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import MissingRequirement
from .annotated import AnnotatedPicture, is_turned
from .limits import most_pixels
from .pixels import ColorOrder, check_color, is_path, pixels_from_picture
from .reading import Image
from .tiff_windows import OddTiff, TiffWindows, large_tiff_extent, open_tiff
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

    It is decoded whole, all but large TIFF files (see :mod:`.tiff_windows`): these may have more
    pixels than ``max_pixels``, of which then no segment and no window may have more.

    Args:
        picture, color, max_pixels: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`.

    Raises:
        BadFile, UsageError: see there; at the end, where that can be known of 16 bits only then.
        MissingRequirement: a TIFF file of more than ``max_pixels``, and no package to read it.
    """
    check_color(color)
    with ExitStack() as stack:
        source: WindowSource | None = None
        if is_path(picture):
            source = _from_large_tiff(stack, picture, most_pixels(max_pixels))
        yield source or PictureInMemory(pixels_from_picture(picture, color, max_pixels))


def _from_large_tiff(stack: ExitStack, picture: Any, most: int) -> TiffWindows | None:
    """Windows of a large TIFF file; None for what is decoded whole."""
    path = os.fspath(picture)
    if (extent := large_tiff_extent(path)) is None:
        return None
    try:
        source = stack.enter_context(open_tiff(path, most))
    except (OddTiff, MissingRequirement):
        if extent[0] * extent[1] > most:
            raise
        return None
    if isinstance(picture, AnnotatedPicture):
        turned = is_turned(path, source.size, source.stored_size, picture.size)
        source.turned(turned)
    return source
