"""Pictures decoded for a network's input: large JPEG files at a half, a quarter or an eighth.

A JPEG holds its pixels as spectra of 8x8 blocks; of a block the lowest 4x4, 2x2 or 1x1 frequencies
give the block at a half, a quarter or an eighth (libjpeg's scaled decoding), which takes less time
than all of it and is nearer to the area's mean than a few pixels are.
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

#: by which a decoder divides sides, the largest first
REDUCTIONS = (8, 4, 2)
#: a decoded side is so many times the input's at least: resizing then has pixels to choose from
LEAST_RATIO = 2


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of a picture, in full or at a fraction.

    Attributes:
        pixels: ``[H / reduction, W / reduction, 3]`` uint8 BGR.
        reduction: by which its sides were divided, without a rest: 1, 2, 4 or 8.
    """

    pixels: Image
    reduction: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the picture in full."""
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
        path, apply_orientation, max_pixels: see :func:`~.reading.read_image`; the limit counts the
            pixels of the picture in full.
        preprocessing: of the network; None, as without ``reduced_decoding``, decodes in full.

    Raises:
        BadFile: see there.
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
    """As :func:`decoded_from_file`, of what a file holds; ``path`` is for the message."""

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
        except BadFile:  # what is wrong with it is told of the whole
            return Decoded(decode(1))
        if found.size in ((height, width), (width, height)):  # the latter turned by its EXIF data
            return found
    return Decoded(decode(1))


def _may_be_reduced(content: bytes, preprocessing: Preprocessing | None) -> bool:
    """Whether it is asked for and the file is a JPEG with its end.

    Of one without, only decoding in full tells whether anything of the picture is missing.
    """
    return preprocessing is not None and preprocessing.reduced_decoding and is_whole_jpeg(content)


def reduction_from_size(height: int, width: int, preprocessing: Preprocessing) -> int:
    """By how much a JPEG of this size is reduced: 8, 4 or 2, or 1 for not at all.

    Either side is divided without a rest, so that what is decoded covers the picture exactly: a
    place in the unit square of the one is that of the other. And either side is at least twice as
    long as at the input, however the picture is turned.
    """
    try:
        turned = [preprocessing.placement(*size) for size in ((height, width), (width, height))]
    except UsageError:  # it cannot be cropped, which is told later
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
