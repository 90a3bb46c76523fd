"""Where a picture lies at a network's input, and what its boxes are in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

#: how a picture of another shape than the input's gets into it; crop: its short side fills the
#: input, the middle of the long one is seen; letterbox: all of it, in a frame
Fit = Literal["stretch", "crop", "letterbox"]
FITS: tuple[Fit, ...] = ("stretch", "crop", "letterbox")
#: of a picture that is resized to be cropped; one so long shows next to nothing of itself
_MOST_SIDE = 1 << 16


@dataclass(frozen=True)
class Placement:
    """A resized picture on the input, in pixels of the input.

    Attributes:
        height, width: of the whole picture after resizing.
        top, left: of its corner; negative where that is cut off.
        input_height, input_width: of the input.
    """

    height: int
    width: int
    top: int
    left: int
    input_height: int
    input_width: int

    @property
    def is_whole(self) -> bool:
        """Whether picture and input are one."""
        return (self.height, self.width) == (self.input_height, self.input_width)

    @property
    def seen(self) -> tuple[slice, slice]:
        """Rows and columns of the resized picture that lie on the input."""
        rows = slice(max(0, -self.top), min(self.height, self.input_height - self.top))
        return rows, slice(max(0, -self.left), min(self.width, self.input_width - self.left))

    @property
    def covered(self) -> tuple[slice, slice]:
        """Rows and columns of the input that they lie on."""
        rows = slice(max(0, self.top), min(self.input_height, self.top + self.height))
        return rows, slice(max(0, self.left), min(self.input_width, self.left + self.width))

    def picture_from_input(self, boxes_xyxy: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Boxes ``[..., 4]`` in the unit square of the picture, given in that of the input.

        The same array, to the bit, where picture and input are one. Boxes keep their type; they may
        reach beyond the picture.
        """
        return boxes_xyxy if self.is_whole else self._moved(boxes_xyxy, inverse=False)

    def input_from_picture(self, boxes_xyxy: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of :meth:`picture_from_input`, but for rounding."""
        return boxes_xyxy if self.is_whole else self._moved(boxes_xyxy, inverse=True)

    def _moved(self, boxes_xyxy: npt.NDArray[Any], *, inverse: bool) -> npt.NDArray[Any]:
        inputs = np.array([self.input_width, self.input_height] * 2, np.float64)
        sides = np.array([self.width, self.height] * 2, np.float64)
        corner = np.array([self.left, self.top] * 2, np.float64)
        boxes = boxes_xyxy.astype(np.float64)
        # networks may give what is not finite
        with np.errstate(over="ignore", invalid="ignore"):
            moved = (
                (boxes * sides + corner) / inputs if inverse else (boxes * inputs - corner) / sides
            )
            return moved.astype(boxes_xyxy.dtype)


def sizes_seen(
    fit: Fit, sizes: npt.NDArray[np.float64], network_input: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Heights and widths ``[B, 2]`` of pictures with the frame of a letterbox, without what a crop
    cuts off: what becomes the input, but for rounding to pixels.
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
    """Where a picture comes to lie.

    Crop: the longer side has the whole part of what its ratio asks for, and the middle is cut out,
    as ``torchvision``'s ``Resize`` and ``CenterCrop`` do. Letterbox: sides rounded to whole pixels,
    in the middle; of an odd frame the larger half is below and on the right.

    Args:
        fit: see :data:`Fit`.
        picture: height and width in pixels.
        network_input: of the input.

    Raises:
        UsageError: the picture is so long that what is cut out is next to nothing of it.
    """
    (height, width), (high, wide) = picture, network_input
    if fit == "stretch":
        return Placement(high, wide, 0, 0, high, wide)
    # of the two ratios high / height and wide / width, compared in whole numbers
    by_height = (high * width >= wide * height) == (fit == "crop")
    if fit == "crop":
        new = (high, high * width // height) if by_height else (wide * height // width, wide)
        if max(new) > _MOST_SIDE:
            raise UsageError(
                f"a picture of {width}x{height} pixels: resized to be cropped it is "
                f"{new[1]}x{new[0]}; expected at most {_MOST_SIDE} of a side: cut it up first"
            )
        # as torchvision rounds, half to even
        top, left = (-round((new[i] - network_input[i]) / 2) for i in (0, 1))
    else:
        new = (
            (high, max(1, round(width * high / height)))
            if by_height
            else (max(1, round(height * wide / width)), wide)
        )
        top, left = ((network_input[i] - new[i]) // 2 for i in (0, 1))
    return Placement(*new, top, left, high, wide)
