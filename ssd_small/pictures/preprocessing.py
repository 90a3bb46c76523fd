"""From image file to network input."""

from __future__ import annotations

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


def input_from_image(image: Image, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """One image ``[H, W, 3]`` uint8 BGR as network input ``[3, height, width]`` float32."""
    return input_from_levels(levels_from_image(image, preprocessing), preprocessing)


def levels_from_image(image: Image, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """One image ``[H, W, 3]`` uint8 BGR in the size of the input, ``[height, width, 3]`` BGR.

    Float32 grey levels, 0 to 255.
    """
    cv2 = require("cv2", "preprocessing images")
    method = getattr(cv2, f"INTER_{preprocessing.interpolation.upper()}")
    size = (preprocessing.width, preprocessing.height)
    return np.asarray(cv2.resize(image, size, interpolation=method), np.float32)


def input_from_levels(
    levels: npt.NDArray[np.float32], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """Network input ``[3, height, width]`` of grey levels ``[height, width, 3]`` BGR."""
    if preprocessing.color_order == "RGB":
        levels = levels[:, :, ::-1]
    mean, std = (np.asarray(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
    return np.ascontiguousarray(((levels - mean) / std).transpose(2, 0, 1))
