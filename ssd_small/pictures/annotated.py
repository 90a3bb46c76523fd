"""Pictures in the orientation in which they were annotated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadFile
from .decoded import Decoded, decoded_from_file
from .preprocessing import Preprocessing
from .reading import Image

#: factor by which width/height may differ from the annotated one, to allow for rounding in a
#: picture that was scaled after annotation
_ASPECT_TOLERANCE = 1.02


class OtherPicture(BadFile):
    """The file is readable but cannot be the picture that was annotated."""


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture file with the size to which its annotations refer.

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
    """Decode a picture that was annotated as (height, width) ``size`` to ``[H, W, 3]`` uint8 BGR.

    Raises:
        BadFile, OtherPicture: see :func:`decoded_annotated`.
    """
    return decoded_annotated(path, size, max_pixels).pixels


def decoded_annotated(
    path: str | Path,
    size: tuple[float, float],
    max_pixels: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Decoded:
    """Decode a picture that was annotated as (height, width) ``size``, for a network's input.

    Annotation tools disagree on whether to apply the EXIF orientation: some use the picture turned
    as people see it, others the pixels as stored. The annotated size decides. If it matches both (a
    square, a half turn, a mirror), or both at another scale, the picture is turned as people see
    it. A picture of another scale is not resized.

    Raises:
        BadFile: see :func:`~ssd_small.pictures.decoded.decoded_from_file`.
        OtherPicture: its aspect ratio is not the annotated one.
    """
    shown = decoded_from_file(path, preprocessing, max_pixels=max_pixels)
    if shown.size == tuple(size):
        return shown
    stored = decoded_from_file(path, preprocessing, apply_orientation=False, max_pixels=max_pixels)
    return shown if is_turned(path, shown.size, stored.size, size) else stored


def is_turned(
    path: str | Path,
    shown: tuple[int, ...],
    stored: tuple[int, ...],
    size: tuple[float, float],
) -> bool:
    """Whether a picture was annotated as people see it, not as it is stored.

    Args:
        path: the file, for the message.
        shown, stored: (height, width) as people see it, and as stored.
        size: annotated (height, width).

    Raises:
        OtherPicture: its aspect ratio is not the annotated one.
    """
    for turned, own in ((True, shown), (False, stored)):
        if own == tuple(size):
            return turned
    for turned, own in ((True, shown), (False, stored)):
        if _stretch(own, size) <= _ASPECT_TOLERANCE:
            return turned
    raise OtherPicture(
        f"image {path} is {shown[1]}x{shown[0]} but annotated as {size[1]:g}x{size[0]:g}; correct "
        "the annotations or restore the picture"
    )


def check_frame(path: str | Path, own: tuple[int, int], size: tuple[float, float]) -> None:
    """Refuse a picture of (height, width) ``own`` that does not match the annotated ``size``.

    It was turned as people see it but annotated as stored, or is another picture.

    Raises:
        OtherPicture: its aspect ratio is not the annotated one.
    """
    is_turned(path, own, own, size)


def _stretch(own: tuple[int, ...], size: tuple[float, float]) -> float:
    """How much the aspect ratio differs from the annotated one, as a factor of at least 1."""
    stretch = float((own[1] / own[0]) / (size[1] / size[0]))
    return max(stretch, 1 / stretch)
