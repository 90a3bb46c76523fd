"""The SSD crop (Liu et al. 2016, section 2.2), in the variant of the published recipe."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from .overlaps import iou_from_columns

#: minimum overlap of every object with the crop; 0: any crop, None: the whole picture
_MODES = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
_TRIES = 50
_MIN_SCALE = 0.3
_MAX_ASPECT = 2.0


class Rectangle(NamedTuple):
    """A part of a picture, in integer pixels."""

    left: int
    top: int
    width: int
    height: int


def random_crop(
    width: int, height: int, boxes_xyxy: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[Rectangle, npt.NDArray[np.bool_]]:
    """Draw a part of a picture with at least one object.

    A mode is drawn: the whole picture, or a crop that **all** objects overlap by an IoU of at
    least 0.1, 0.3, 0.5, 0.7 or 0.9, or any crop (the paper's text requires one such object, the
    published code all). A crop measures 0.3 to 1 times the picture, has an aspect ratio from 1:2
    to 2:1 (in units of the picture's sides), and must contain the centre of an object. If none of
    50 crops meets these conditions, another mode is drawn.

    Args:
        width, height: size of the picture, in pixels.
        boxes_xyxy: ``[G, 4]`` in pixels; a picture without objects stays whole.
        rng: the same state gives the same crop.

    Returns:
        The crop, and ``[G]`` whether each object has its centre in it.
    """
    whole = Rectangle(0, 0, width, height), np.ones(len(boxes_xyxy), bool)
    if not len(boxes_xyxy):
        return whole
    while True:
        least = _MODES[int(rng.integers(len(_MODES)))]
        if least is None:
            return whole
        crops = _random_parts(width, height, rng)  # [T, 4] xyxy
        inside = _holds_centre(crops, boxes_xyxy)
        fits = inside.any(axis=1)
        if least > 0:
            fits &= (_iou_matrix(crops, boxes_xyxy) >= least).all(axis=1)
        if fits.any():
            first = int(fits.argmax())
            left, top, right, bottom = crops[first].tolist()
            return Rectangle(left, top, right - left, bottom - top), inside[first]


def _random_parts(width: int, height: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw the corners ``[T, 4]`` of parts of the picture."""
    scale = rng.uniform(_MIN_SCALE, 1.0, _TRIES)
    # within these bounds neither side exceeds the picture
    low = np.maximum(1 / _MAX_ASPECT, scale**2)
    aspect = np.sqrt(low + (np.minimum(_MAX_ASPECT, scale**-2) - low) * rng.random(_TRIES))
    sides = np.stack([scale * aspect * width, scale / aspect * height], axis=1)
    sizes = np.maximum(1, sides.astype(np.int64))  # [T, 2]
    room = np.array([width, height]) - sizes
    corners = (rng.random((_TRIES, 2)) * (room + 1)).astype(np.int64)
    return np.concatenate([corners, corners + sizes], axis=1)


def _holds_centre(
    crops: npt.NDArray[np.int64], boxes_xyxy: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """``[T, G]``: whether the centre of a box lies in a crop, excluding its border."""
    x, y = ((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2).T
    left, top, right, bottom = crops.T[:, :, None]
    return np.asarray((left < x) & (x < right) & (top < y) & (y < bottom))


def _iou_matrix(
    crops: npt.NDArray[np.int64], boxes_xyxy: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """IoU ``[T, G]`` of crops with boxes."""
    parts = torch.from_numpy(crops.T[:, :, None].astype(np.float64))
    boxes = torch.from_numpy(boxes_xyxy.T.astype(np.float64))
    overlaps: npt.NDArray[np.float64] = iou_from_columns(parts.unbind(), boxes.unbind()).numpy()
    return overlaps
