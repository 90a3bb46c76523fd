"""Photometric distortion of the published recipe (Howard 2013; Liu et al. 2016, section 2.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..preprocess import Image
from ..requirements import require

Levels = npt.NDArray[np.float64]

_BRIGHTNESS = 32.0
_CONTRAST = _SATURATION = (0.5, 1.5)
#: in OpenCV's unit of two degrees
_HUE = 18
_LEVELS = np.arange(256, dtype=np.float64)


def distorted(image: Image, rng: np.random.Generator) -> Image:
    """The picture in another light, each change with probability one half.

    Brightness by up to 32 levels, contrast (about black) and saturation by factors of 0.5 to
    1.5, hue by up to 36 degrees. ``torchvision.transforms.v2.RandomPhotometricDistort`` does
    something else: it scales the brightness, takes the contrast about the mean grey, and also
    permutes the channels, which takes away the colours that tell stained cells apart.

    Args:
        image: ``[H, W, 3]`` uint8 RGB; left as it is.
        rng: the same state gives the same picture.

    Returns:
        ``[H, W, 3]`` uint8 RGB.
    """
    # all numbers are drawn whether they are used or not: each change has its own
    chosen = rng.random(4) < 0.5
    brightness = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS) if chosen[0] else 0.0
    contrast = rng.uniform(*_CONTRAST) if chosen[1] else 1.0
    hue = int(rng.integers(-_HUE, _HUE + 1)) if chosen[2] else 0
    saturation = rng.uniform(*_SATURATION) if chosen[3] else 1.0
    return adjusted(image, brightness, contrast, hue, saturation)


def adjusted(
    image: Image, brightness: float, contrast: float, hue: int, saturation: float
) -> Image:
    """Add ``brightness``, multiply by ``contrast``, turn ``hue`` (2 degrees), scale saturation.

    Values are rounded and clipped to 0..255 after each change.
    """
    cv2 = require("cv2", "augmenting pictures")
    if brightness or contrast != 1.0:
        levels = _clipped(_clipped(_LEVELS + brightness) * contrast)
        image = cv2.LUT(image, levels.astype(np.uint8))
    if hue or saturation != 1.0:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        table = np.stack(
            [(_LEVELS + hue) % 180, _clipped(_LEVELS * saturation), _LEVELS], axis=-1
        ).astype(np.uint8)
        image = cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB)
    return np.asarray(image, np.uint8)


def _clipped(levels: Levels) -> Levels:
    return np.asarray(np.rint(levels).clip(0, 255), np.float64)
