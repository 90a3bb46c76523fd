"""From image file to network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..requirements import require
from .reading import Image

COLOR_ORDERS = ("BGR", "RGB")
INTERPOLATIONS = ("linear", "area", "cubic", "nearest", "lanczos4")
#: of means and, with its inverse, of stds: whatever is made of a pixel then fits float32
_MOST = 1e6
#: pixels that a network of pictures takes at once, of all in a batch together, as 8192 x 8192: with
#: float32 made of them they are 1 GB
MOST_INPUT_PIXELS = 1 << 26
#: and of a side: rows are chosen before columns, twice as many as the network has
MOST_INPUT_SIDE = 1 << 16


def is_too_large(height: int, width: int) -> bool:
    """Whether a network of pictures cannot take one of this size."""
    return height * width > MOST_INPUT_PIXELS or max(height, width) > MOST_INPUT_SIDE


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes network input: resize (aspect not kept), subtract mean, divide by std.

    Attributes:
        height, width: input size in pixels.
        color_order: order of the channels the network was trained with.
        mean: subtracted per channel, in that order, on the 0..255 scale.
        std: divided by per channel.
        interpolation: OpenCV's method of resizing. The published evaluation drew it at random
            per image; linear is this project's choice.
    """

    height: int = 300
    width: int = 300
    color_order: Literal["BGR", "RGB"] = "BGR"
    mean: tuple[float, float, float] = (103.94, 116.78, 123.68)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["linear", "area", "cubic", "nearest", "lanczos4"] = "linear"

    def __post_init__(self) -> None:
        sizes_fit = all(isinstance(v, int) and v > 0 for v in (self.height, self.width))
        triples_fit = len(self.mean) == len(self.std) == 3
        triples_fit = triples_fit and all(abs(value) <= _MOST for value in self.mean)
        triples_fit = triples_fit and all(1 / _MOST <= value <= _MOST for value in self.std)
        known = self.color_order in COLOR_ORDERS and self.interpolation in INTERPOLATIONS
        if not (sizes_fit and triples_fit and known):
            raise UsageError(
                f"{self}: expected a positive height and width, color_order BGR or RGB, three "
                f"means of at most {_MOST:g} and positive stds of at least {1 / _MOST:g}, and an "
                f"interpolation of {', '.join(INTERPOLATIONS)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class PictureInput:
    """An input that takes pictures as they are: uint8 ``[N, height, width, 3]``, BGR.

    Resizing, mean and standard deviation are inside the network then.

    Attributes:
        height, width: the one size that pictures may have, in pixels; None for any.
    """

    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        sides = (self.height, self.width)
        if sides != (None, None) and not all(isinstance(v, int) and v > 0 for v in sides):
            raise UsageError(
                f"pictures of {self.width}x{self.height} pixels: expected a positive height and "
                "width, or neither"
            )
        if self.height and self.width and is_too_large(self.height, self.width):
            raise UsageError(
                f"pictures of {self.width}x{self.height} pixels: a network takes at most "
                f"{MOST_INPUT_PIXELS} pixels at once, {MOST_INPUT_SIDE} of a side; scale them down"
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width; None for any."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def check(self, height: int, width: int) -> None:
        """Refuse a picture of a size that the network does not take.

        Raises:
            UsageError: says which it takes.
        """
        if self.size not in (None, (height, width)):
            raise UsageError(
                f"a picture of {width}x{height} pixels; this network takes pictures of "
                f"{self.width}x{self.height} only: scale it to that, or export one of any size "
                "(--input uint8 without --picture-size and --tiles)"
            )
        if is_too_large(height, width):
            raise UsageError(
                f"a picture of {width}x{height} pixels; a network of pictures takes at most "
                f"{MOST_INPUT_PIXELS} pixels, {MOST_INPUT_SIDE} of a side: scale it down, or "
                "export the network without --input uint8"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return {"type": "uint8", "layout": "NHWC", "color_order": "BGR"} | asdict(self)


def input_from_image(image: Image, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """One image ``[H, W, 3]`` uint8 BGR as network input ``[3, height, width]`` float32."""
    return input_from_levels(resized_from_image(image, preprocessing), preprocessing)


def resized_from_image(image: Image, preprocessing: Preprocessing) -> Image:
    """One image ``[H, W, 3]`` uint8 BGR in the size of the input, ``[height, width, 3]`` BGR."""
    cv2 = require("cv2", "preprocessing images")
    method = getattr(cv2, f"INTER_{preprocessing.interpolation.upper()}")
    size = (preprocessing.width, preprocessing.height)
    resized: Image = cv2.resize(image, size, interpolation=method)
    return resized


def levels_from_image(image: Image, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """As :func:`resized_from_image`, its grey levels, 0 to 255, as float32."""
    return np.asarray(resized_from_image(image, preprocessing), np.float32)


def input_from_levels(
    levels: npt.NDArray[Any], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """Network input ``[3, height, width]`` of grey levels ``[height, width, 3]`` BGR."""
    one: npt.NDArray[np.float32] = inputs_from_levels([levels], preprocessing)[0]
    return one


def inputs_from_levels(
    levels: Sequence[npt.NDArray[Any]], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """Network input ``[N, 3, height, width]`` of N times grey levels ``[height, width, 3]`` BGR.

    Levels are uint8 or float32. They are written into the batch at once, for memory that is
    touched for the first time costs more than the arithmetic.
    """
    batch = np.empty((len(levels), 3, *levels[0].shape[:2]), np.float32)
    channels = (2, 1, 0) if preprocessing.color_order == "RGB" else (0, 1, 2)
    means, stds = (np.asarray(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
    for one, image in zip(batch, levels, strict=True):
        for plane, channel, mean, std in zip(one, channels, means, stds, strict=True):
            np.subtract(image[:, :, channel], mean, out=plane, dtype=np.float32)
            if std != 1:
                np.divide(plane, std, out=plane)
    return batch
