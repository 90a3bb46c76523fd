"""From image file to network input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes network input: resize (aspect not kept), subtract mean, divide by std.

    Attributes:
        height, width: input size in pixels.
        color_order: order of the channels the network was trained with.
        mean: subtracted per channel, in that order, on the 0..255 scale.
        std: divided by per channel.
        interpolation: OpenCV's name of the resize method.
    """

    height: int = 300
    width: int = 300
    color_order: str = "BGR"
    mean: tuple[float, float, float] = (103.94, 116.78, 123.68)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "linear"
