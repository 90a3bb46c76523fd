"""Pictures in the frame in which they were annotated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadFile
from .reading import Image, read_image

#: width/height of a picture may differ from the annotated one by this factor: rounding of a
#: picture that was scaled after it was annotated
_ASPECT_TOLERANCE = 1.02


class OtherPicture(BadFile):
    """The file is readable, but cannot be the picture that was annotated."""


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture file with the size that its annotations are of.

    Attributes:
        path: the file.
        size: annotated (height, width) in pixels.
    """

    path: Path
    size: tuple[float, float]

    def __fspath__(self) -> str:
        return os.fspath(self.path)


def read_annotated(
    path: str | Path, size: tuple[float, float], max_pixels: int | None = None
) -> Image:
    """Decode the picture that was annotated as (height, width) ``size``: ``[H, W, 3]`` uint8 BGR.

    Annotation tools disagree on whether the EXIF orientation counts: some see the picture turned,
    as people do, others see the pixels as they are stored. The annotated size tells; where both
    frames have it (a square, a half turn, a mirror), or where it is that of another scale for both,
    the picture is turned as people see it. A picture of another scale is returned as it is.

    Raises:
        BadFile: see :func:`~ssd_small.pictures.reading.read_image`.
        OtherPicture: its aspect is not the annotated one.
    """
    image = read_image(path, max_pixels=max_pixels)
    if _has_size(image, size):
        return image
    stored = read_image(path, apply_orientation=False, max_pixels=max_pixels)
    if _has_size(stored, size):
        return stored
    for one in (image, stored):
        if _stretch(one, size) <= _ASPECT_TOLERANCE:
            return one
    height, width = image.shape[:2]
    raise OtherPicture(
        f"image {path} is {width}x{height} but annotated as {size[1]:g}x{size[0]:g}; correct the "
        "annotations or restore the picture"
    )


def _has_size(image: Image, size: tuple[float, float]) -> bool:
    return image.shape[:2] == tuple(size)


def _stretch(image: Image, size: tuple[float, float]) -> float:
    """How much wider or narrower a picture is than annotated, as a factor of at least 1."""
    stretch = float((image.shape[1] / image.shape[0]) / (size[1] / size[0]))
    return max(stretch, 1 / stretch)
