"""Decodes pictures for a network's input: large JPEG files at a half, a quarter or an eighth.

A JPEG stores its pixels as spectra of 8x8 blocks; the lowest 4x4, 2x2 or 1x1 frequencies give a
block at a half, a quarter or an eighth of its sides (libjpeg's scaled decoding). This takes less
time than decoding in full and is closer to the mean of an area than a few of its pixels are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import BadFile, UsageError
from ..requirements import require
from .headers import declared_extent
from .placement import Placement
from .preprocessing import Preprocessing
from .reading import Image, bytes_of_image, image_from_bytes, is_whole_jpeg

#: factors by which the decoder can divide the sides, largest first
REDUCTIONS = (8, 4, 2)
#: a reduced side is at least this many times the input's, so that resizing has enough pixels
LEAST_RATIO = 2


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of a picture, in full or at a fraction of its size.

    Attributes:
        pixels: ``[H / reduction, W / reduction, 3]`` uint8 BGR.
        reduction: factor by which both sides were divided, without remainder: 1, 2, 4 or 8.
    """

    pixels: Image
    reduction: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the full picture in pixels."""
        height, width = self.pixels.shape[:2]
        return height * self.reduction, width * self.reduction


def decoded_from_file(
    path: str | Path,
    preprocessing: Preprocessing | None = None,
    *,
    apply_orientation: bool = True,
    max_pixels: int | None = None,
) -> Decoded:
    """Decode an image file for a network's input.

    Args:
        path, apply_orientation, max_pixels: see :func:`~.reading.read_image`; the limit applies to
            the full picture.
        preprocessing: preprocessing of the network; None, or one without ``reduced_decoding``,
            decodes in full.

    Raises:
        BadFile: see :func:`~.reading.read_image`.
    """
    require("cv2", "reading images")
    content = bytes_of_image(path, max_pixels)
    return decoded_from_bytes(
        content, path, preprocessing, apply_orientation=apply_orientation, max_pixels=max_pixels
    )


def decoded_from_bytes(
    content: bytes,
    path: str | Path,
    preprocessing: Preprocessing | None = None,
    *,
    apply_orientation: bool = True,
    max_pixels: int | None = None,
) -> Decoded:
    """As :func:`decoded_from_file`, from the content of a file; ``path`` is for messages."""

    def decode(reduction: int) -> Image:
        return image_from_bytes(
            content,
            path,
            apply_orientation=apply_orientation,
            max_pixels=max_pixels,
            reduction=reduction,
        )

    told = declared_extent(content) if _may_be_reduced(content, preprocessing) else None
    if told is None or preprocessing is None:
        return Decoded(decode(1))
    width, height, _ = told
    if (reduction := reduction_from_size(height, width, preprocessing)) > 1:
        try:
            found = Decoded(decode(reduction), reduction)
        except BadFile:  # full decoding reports what is wrong
            return Decoded(decode(1))
        if found.size in ((height, width), (width, height)):  # the latter if turned by EXIF
            return found
    return Decoded(decode(1))


def _may_be_reduced(content: bytes, preprocessing: Preprocessing | None) -> bool:
    """Whether reduction is asked for and the file is a JPEG with its end marker.

    Without the marker, only decoding in full tells whether any of the picture is missing.
    """
    return preprocessing is not None and preprocessing.reduced_decoding and is_whole_jpeg(content)


def reduction_from_size(height: int, width: int, preprocessing: Preprocessing) -> int:
    """The factor by which a JPEG of this size is reduced: 8, 4 or 2, or 1 for not at all.

    Both sides are divided without remainder, so that the decoded pixels cover the picture exactly
    and positions in the unit square stay the same. And both sides are at least twice as long as at
    the input, however the picture is turned.
    """
    try:
        turned = [preprocessing.placement(*size) for size in ((height, width), (width, height))]
    except UsageError:  # it cannot be cropped, which is reported later
        return 1
    sizes = list(zip(turned, ((height, width), (width, height)), strict=True))
    for reduction in REDUCTIONS:
        divided = height % reduction == 0 and width % reduction == 0
        if divided and all(_suffices(placed, *size, reduction) for placed, size in sizes):
            return reduction
    return 1


def _suffices(placed: Placement, height: int, width: int, reduction: int) -> bool:
    least = LEAST_RATIO * reduction
    return height >= least * placed.height and width >= least * placed.width
