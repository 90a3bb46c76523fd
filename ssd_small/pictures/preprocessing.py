"""Preprocessing: how the pixels of a picture become network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..requirements import require
from .placement import FITS, Fit, Placement, placement_from_sizes
from .reading import Image
from .resampling import antialiased_from_image, float32_from_image

#: pixel levels, 0 to 255, uint8 or float32
Levels = npt.NDArray[Any]
COLOR_ORDERS = ("BGR", "RGB")
INTERPOLATIONS = ("linear", "area", "cubic", "nearest", "lanczos4")
RESIZES = ("uint8", "float32")
#: fields that describe resizing, which are written only if they differ from the default
RESIZING = ("resize", "antialias", "fit", "pad")
#: limit for means and, with its inverse, for stds, so that every result fits float32
_MOST = 1e6
#: most pixels that a network of pictures takes at once, over all of a batch, such as 8192 x 8192;
#: with the float32 made from them they take 1 GB
MOST_INPUT_PIXELS = 1 << 26
#: and longest side: rows are chosen before columns, twice as many as the network has
MOST_INPUT_SIDE = 1 << 16


def is_too_large(height: int, width: int) -> bool:
    """Whether a picture of this size is too large for a network of pictures."""
    return height * width > MOST_INPUT_PIXELS or max(height, width) > MOST_INPUT_SIDE


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes network input: resize, subtract mean, divide by std.

    Attributes:
        height, width: input size in pixels.
        color_order: order of the channels with which the network was trained.
        mean: subtracted per channel, in that order, on the 0..255 scale.
        std: divisor per channel, in the same order.
        interpolation: OpenCV's method of resizing. The published evaluation drew it at random
            per image; linear is this project's choice.
        resize: type of the levels during resizing: uint8, or float32, which is not rounded, as in
            torch's ``interpolate`` (used by ``torchvision``'s own detectors). Applying mean and
            std before or after makes no difference except for rounding.
        antialias: resize as Pillow does, from all pixels (``torchvision``'s ``Resize`` of a PIL
            image); else as OpenCV or torch do, from the pixels next to each position.
        fit: how a picture of another shape is fitted to the input.
        pad: levels of the frame of a letterbox, in the order of ``color_order``.
        reduced_decoding: decode large JPEG files at a half, a quarter or an eighth of their sides,
            at least twice the input's (:mod:`ssd_small.pictures.decoded`); the published
            evaluation decodes them in full.
    """

    height: int = 300
    width: int = 300
    color_order: Literal["BGR", "RGB"] = "BGR"
    mean: tuple[float, float, float] = (103.94, 116.78, 123.68)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["linear", "area", "cubic", "nearest", "lanczos4"] = "linear"
    resize: Literal["uint8", "float32"] = "uint8"
    antialias: bool = False
    fit: Fit = "stretch"
    pad: tuple[int, int, int] = (0, 0, 0)
    reduced_decoding: bool = False

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
        self._check_resizing()

    def _check_resizing(self) -> None:
        """Refuse a way of resizing that does not exist, with UsageError."""
        pad_fits = len(self.pad) == 3 and all(
            type(level) is int and 0 <= level <= 255 for level in self.pad
        )
        known = self.resize in RESIZES and type(self.antialias) is bool and self.fit in FITS
        if not (pad_fits and known):
            raise UsageError(
                f"resize {self.resize!r}, antialias {self.antialias!r}, fit {self.fit!r}, pad "
                f"{self.pad!r}: expected resize {' or '.join(RESIZES)}, antialias True or False, "
                f"fit {', '.join(FITS)}, and three whole grey levels of 0 to 255"
            )
        if self.interpolation != "linear" and (self.resize, self.antialias) != ("uint8", False):
            raise UsageError(
                f"interpolation {self.interpolation} with resize {self.resize} and antialias "
                f"{self.antialias}: expected linear, which is the one that is done so"
            )
        if self.fit != "letterbox" and any(self.pad):
            raise UsageError(f"pad {self.pad} with fit {self.fit}: expected it with letterbox")
        if type(self.reduced_decoding) is not bool:
            raise UsageError(f"reduced_decoding {self.reduced_decoding!r}: expected True or False")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.height, self.width

    @property
    def resizing(self) -> dict[str, Any]:
        """Those of resize, antialias, fit and pad that differ from the default, JSON-ready."""
        usual = Preprocessing()
        own = {name: getattr(self, name) for name in RESIZING}
        told = {name: value for name, value in own.items() if value != getattr(usual, name)}
        return told | ({"pad": list(self.pad)} if "pad" in told else {})

    @property
    def is_usual(self) -> bool:
        """Whether pictures are stretched to the input in uint8, as OpenCV does it."""
        return not self.resizing

    def placement(self, height: int, width: int) -> Placement:
        """Where a picture of this size lies on the input.

        Raises:
            UsageError: see :func:`~.placement.placement_from_sizes`.
        """
        return placement_from_sizes(self.fit, (height, width), self.size)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name; fields on resizing only if not the default.

        ``reduced_decoding`` is included only if true.
        """
        own = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        kept = {name: value for name, value in own.items() if name not in RESIZING}
        if not kept.pop("reduced_decoding"):
            return kept | self.resizing
        return kept | self.resizing | {"reduced_decoding": True}


@dataclass(frozen=True)
class PictureInput:
    """An input that takes pictures as they are: uint8 ``[N, height, width, 3]``, BGR.

    Resizing and normalisation (mean, std) are then inside the network.

    Attributes:
        height, width: the only size that pictures may have, in pixels; None for any size.
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
        """Height and width; None for any size."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def check(self, height: int, width: int) -> None:
        """Refuse a picture of a size that the network does not accept.

        Raises:
            UsageError: the size is not accepted; says which is.
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
    """Convert an image ``[H, W, 3]`` uint8 BGR to network input ``[3, height, width]`` float32."""
    return input_from_levels(resized_from_image(image, preprocessing), preprocessing)


def resized_from_image(image: Image, preprocessing: Preprocessing) -> Levels:
    """Resize an image ``[H, W, 3]`` uint8 BGR to the input's size, ``[height, width, 3]`` BGR.

    The levels, 0 to 255, are uint8 or float32, as given by ``preprocessing.resize``.

    Raises:
        UsageError: the picture has a shape that cannot be cropped.
    """
    placed = preprocessing.placement(*image.shape[:2])
    seen = _resampled(image, preprocessing, placed)
    if preprocessing.fit != "letterbox" or placed.is_whole:
        return seen
    pad = preprocessing.pad if preprocessing.color_order == "BGR" else preprocessing.pad[::-1]
    framed = np.empty((*preprocessing.size, 3), seen.dtype)
    framed[:] = pad
    framed[placed.covered] = seen
    return framed


def _resampled(image: Image, preprocessing: Preprocessing, placed: Placement) -> Levels:
    """The part of the resized image that lies on the input."""
    size = (placed.height, placed.width)
    if preprocessing.antialias:
        whole = antialiased_from_image(image, size, rounded=preprocessing.resize == "uint8")
    elif preprocessing.resize == "float32":
        return float32_from_image(image, size, placed.seen)
    else:
        cv2 = require("cv2", "preprocessing images")
        method = getattr(cv2, f"INTER_{preprocessing.interpolation.upper()}")
        whole = cv2.resize(image, size[::-1], interpolation=method)
    part: Levels = whole[placed.seen]
    return part


def levels_from_image(image: Image, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """As :func:`resized_from_image`, but with levels, 0 to 255, always as float32."""
    return np.asarray(resized_from_image(image, preprocessing), np.float32)


def input_from_levels(
    levels: npt.NDArray[Any], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """Convert levels ``[height, width, 3]`` BGR to network input ``[3, height, width]``."""
    one: npt.NDArray[np.float32] = inputs_from_levels([levels], preprocessing)[0]
    return one


def inputs_from_levels(
    levels: Sequence[npt.NDArray[Any]], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    """Convert N arrays of levels ``[height, width, 3]`` BGR to input ``[N, 3, height, width]``.

    Levels are uint8 or float32. Results are written directly into the batch, since touching new
    memory costs more than the arithmetic.
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
