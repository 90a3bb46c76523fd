"""Bilinear resizing that reproduces other tools: torch in float32, Pillow with antialias."""

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
    """Resize as ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``.

    There is no antialias: each position is computed from four pixels. Products are summed in
    torch's order; torch may fuse some, so the last bits differ (by at most 1.8e-7 of 255 in tests).

    Args:
        image: ``[H, W, 3]`` uint8.
        size: height and width to which the whole image is resized.
        part: rows and columns of the result to compute.

    Returns:
        Levels, 0 to 255, ``[rows, columns, 3]`` float32.
    """
    (upper, lower, *down), (left, right, *across) = (
        _neighbours(length, new, wanted)
        for length, new, wanted in zip(image.shape[:2], size, part, strict=True)
    )

    # choosing single levels is faster than choosing pixels of three
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
    """The two pixels next to each position of a resized axis, and their weights in float32.

    The position of a pixel's centre is rounded to float32 once, as by torch's fused product.
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
    """Resize as Pillow's ``Image.resize(..., BILINEAR)``, which ``torchvision``'s ``Resize`` uses.

    Args:
        image: ``[H, W, 3]`` uint8.
        size: height and width of the result.
        rounded: round to uint8 after each direction, as for a picture; else float32 throughout.

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
