"""Where a picture lies on a network's input, and how boxes convert between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

#: how a picture of another shape is fitted to the input; crop: the short side fills the input, and
#: the middle of the long side is seen; letterbox: all of the picture is seen, in a frame
Fit = Literal["stretch", "crop", "letterbox"]
FITS: tuple[Fit, ...] = ("stretch", "crop", "letterbox")
#: longest side of a picture resized for cropping; of a longer one, next to nothing would be seen
_MOST_SIDE = 1 << 16


@dataclass(frozen=True)
class Placement:
    """A resized picture on the input, in pixels of the input.

    Attributes:
        height, width: size of the whole picture after resizing.
        top, left: position of its corner; negative if that is cut off.
        input_height, input_width: size of the input.
    """

    height: int
    width: int
    top: int
    left: int
    input_height: int
    input_width: int

    @property
    def is_whole(self) -> bool:
        """Whether the picture covers the input exactly."""
        return (self.height, self.width) == (self.input_height, self.input_width)

    @property
    def seen(self) -> tuple[slice, slice]:
        """Rows and columns of the resized picture that lie on the input."""
        rows = slice(max(0, -self.top), min(self.height, self.input_height - self.top))
        return rows, slice(max(0, -self.left), min(self.width, self.input_width - self.left))

    @property
    def covered(self) -> tuple[slice, slice]:
        """Rows and columns of the input that are covered by :attr:`seen`."""
        rows = slice(max(0, self.top), min(self.input_height, self.top + self.height))
        return rows, slice(max(0, self.left), min(self.input_width, self.left + self.width))

    def picture_from_input(self, boxes_xyxy: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Convert boxes ``[..., 4]`` from the unit square of the input to that of the picture.

        If the picture covers the input exactly, the same array is returned. Boxes keep their type,
        and may reach beyond the picture.
        """
        return boxes_xyxy if self.is_whole else self._moved(boxes_xyxy, inverse=False)

    def input_from_picture(self, boxes_xyxy: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of :meth:`picture_from_input`, except for rounding."""
        return boxes_xyxy if self.is_whole else self._moved(boxes_xyxy, inverse=True)

    def _moved(self, boxes_xyxy: npt.NDArray[Any], *, inverse: bool) -> npt.NDArray[Any]:
        inputs = np.array([self.input_width, self.input_height] * 2, np.float64)
        sides = np.array([self.width, self.height] * 2, np.float64)
        corner = np.array([self.left, self.top] * 2, np.float64)
        boxes = boxes_xyxy.astype(np.float64)
        # a network may give infinite or NaN coordinates
        with np.errstate(over="ignore", invalid="ignore"):
            moved = (
                (boxes * sides + corner) / inputs if inverse else (boxes * inputs - corner) / sides
            )
            return moved.astype(boxes_xyxy.dtype)


def sizes_seen(
    fit: Fit, sizes: npt.NDArray[np.float64], network_input: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Heights and widths ``[B, 2]`` of what becomes the input, except for rounding to pixels.

    Includes the frame of a letterbox, and leaves out what a crop cuts off.
    """
    if fit == "stretch":
        return sizes
    scales = np.asarray(network_input, np.float64) / sizes
    chosen = scales.max(axis=1) if fit == "crop" else scales.min(axis=1)
    seen: npt.NDArray[np.float64] = np.asarray(network_input) / chosen[:, None]
    return seen


def placement_from_sizes(
    fit: Fit, picture: tuple[int, int], network_input: tuple[int, int]
) -> Placement:
    """Where a picture lies on the input.

    Crop: the longer side is rounded down to whole pixels, and the middle is cut out, as by
    ``torchvision``'s ``Resize`` and ``CenterCrop``. Letterbox: sides are rounded to whole pixels
    and centred; the odd pixel of a frame is below and on the right.

    Args:
        fit: see :data:`Fit`.
        picture: height and width of the picture in pixels.
        network_input: height and width of the input.

    Raises:
        UsageError: the picture is so long that a crop would show next to nothing of it.
    """
    (height, width), (high, wide) = picture, network_input
    if fit == "stretch":
        return Placement(high, wide, 0, 0, high, wide)
    # compares the ratios high / height and wide / width in whole numbers
    by_height = (high * width >= wide * height) == (fit == "crop")
    if fit == "crop":
        new = (high, high * width // height) if by_height else (wide * height // width, wide)
        if max(new) > _MOST_SIDE:
            raise UsageError(
                f"a picture of {width}x{height} pixels: resized to be cropped it is "
                f"{new[1]}x{new[0]}; expected at most {_MOST_SIDE} of a side: cut it up first"
            )
        # half to even, as torchvision rounds
        top, left = (-round((new[i] - network_input[i]) / 2) for i in (0, 1))
    else:
        new = (
            (high, max(1, round(width * high / height)))
            if by_height
            else (max(1, round(height * wide / width)), wide)
        )
        top, left = ((network_input[i] - new[i]) // 2 for i in (0, 1))
    return Placement(*new, top, left, high, wide)
