"""Bilinear resizing with the numbers of other tools: torch in float32, Pillow with antialias."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..requirements import require
from .reading import Image

FloatArray = npt.NDArray[np.float32]


def float32_from_image(
    image: Image, size: tuple[int, int], part: tuple[slice, slice]
) -> FloatArray:
    """What ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` gives.

    No antialias: each place is made of four pixels. Products are summed in torch's order; it may
    fuse some, so the last bits differ (1.8e-7 of 255 at most, where tried).

    Args:
        image: ``[H, W, 3]`` uint8.
        size: height and width that the whole image is resized to.
        part: rows and columns of the result that are wanted; no others are made.

    Returns:
        Grey levels, 0 to 255, ``[rows, columns, 3]``.
    """
    (upper, lower, *down), (left, right, *across) = (
        _neighbours(length, new, wanted)
        for length, new, wanted in zip(image.shape[:2], size, part, strict=True)
    )

    # single levels are chosen faster than pixels of three
    flat = image.reshape(len(image), -1)
    channels = np.arange(3)

    def lines(rows: npt.NDArray[np.intp], weight: FloatArray) -> FloatArray:
        chosen = flat[rows]
        first, second = (
            chosen.take((3 * columns[:, None] + channels).ravel(), axis=1) * np.repeat(share, 3)
            for columns, share in ((left, across[0]), (right, across[1]))
        )
        first += second
        first *= weight[:, None]
        return np.asarray(first, np.float32)

    levels = lines(upper, down[0])
    levels += lines(lower, down[1])
    return levels.reshape(len(upper), len(left), 3)


def _neighbours(length: int, size: int, wanted: slice) -> tuple[Any, ...]:
    """For places of a resized axis the two pixels beside each, and their weights in float32.

    The place of a pixel's centre is rounded to float32 once, as torch's is by a fused product.
    """
    scale = float(np.float32(length) / np.float32(size))
    centres = (np.arange(size)[wanted] + 0.5) * scale - 0.5
    places = np.maximum(centres.astype(np.float32), np.float32(0))
    first = np.minimum(places.astype(np.intp), length - 1)
    second = np.minimum(first + 1, length - 1)
    weights = np.minimum(places - first.astype(np.float32), np.float32(1))
    return first, second, np.float32(1) - weights, weights


def antialiased_from_image(
    image: Image, size: tuple[int, int], *, rounded: bool
) -> npt.NDArray[Any]:
    """What Pillow's ``Image.resize(..., BILINEAR)`` gives, as ``torchvision``'s ``Resize`` does.

    Args:
        image: ``[H, W, 3]`` uint8.
        size: height and width of the result.
        rounded: to uint8 after either direction, as of a picture; else float32 throughout.

    Raises:
        MissingRequirement: Pillow is not installed.
    """
    pillow = require("PIL.Image", "resizing pictures with antialias")
    to = (size[1], size[0])
    if rounded:
        resized = pillow.fromarray(np.ascontiguousarray(image)).resize(to, pillow.BILINEAR)
        return np.asarray(resized, np.uint8)
    planes = [
        np.asarray(
            pillow.fromarray(plane.astype(np.float32)).resize(to, pillow.BILINEAR), np.float32
        )
        for plane in image.transpose(2, 0, 1)
    ]
    return np.stack(planes, axis=2)
