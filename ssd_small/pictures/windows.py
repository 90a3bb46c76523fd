"""Pictures that are read by windows: from memory or, for large TIFF files, from the file."""

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
    """A source of the pixels of a picture's windows, which several threads may read at once."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""

    def pixels(self, window: Window) -> Image:
        """Pixels ``[h, w, 3]`` uint8 BGR of a window.

        Raises:
            BadFile: this part of the file cannot be decoded.
        """


@dataclass(frozen=True, eq=False)
class PictureInMemory:
    """A decoded picture as a source of windows.

    Attributes:
        image: ``[H, W, 3]`` uint8 BGR.
    """

    image: Image

    @property
    def size(self) -> tuple[int, int]:
        """See :class:`WindowSource`."""
        return self.image.shape[0], self.image.shape[1]

    def pixels(self, window: Window) -> Image:
        """See :class:`WindowSource`; returns a view of the picture's memory."""
        rows, columns = (
            slice(start, start + length)
            for start, length in ((window.y, window.height), (window.x, window.width))
        )
        return self.image[rows, columns]


@contextmanager
def open_windows(
    picture: Any, color: ColorOrder = "BGR", max_pixels: int | None = None
) -> Iterator[WindowSource]:
    """Open one picture to read windows of it.

    It is decoded whole, unless it is a large TIFF file (see :mod:`.tiff_windows`). Such a file may
    have more pixels than ``max_pixels``, which then limits each segment and each window.

    Args:
        picture, color, max_pixels: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`.

    Raises:
        BadFile, UsageError: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`; for a large
            TIFF of 16 bits, that few bits are in use is only known at the end of the block.
        MissingRequirement: a TIFF file has more than ``max_pixels``, and no package to read it is
            installed.
    """
    check_color(color)
    with ExitStack() as stack:
        source: WindowSource | None = None
        if is_path(picture):
            source = _from_large_tiff(stack, picture, most_pixels(max_pixels))
        yield source or PictureInMemory(pixels_from_picture(picture, color, max_pixels))


def _from_large_tiff(stack: ExitStack, picture: Any, most: int) -> TiffWindows | None:
    """Windows of a large TIFF file; None for a picture that is decoded whole."""
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
