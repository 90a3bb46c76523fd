"""Augmentation of the published recipe: crop, photometric distortion, expansion, mirror.

The geometry of a picture is drawn first, as rectangles; then the wanted part of the picture is
resized once, straight into its place on the network's input. It never exists at four times its
size, and the filling around it is exactly the mean. The order of the recipe differs, which is
distort, expand, mirror, resize; distortion works pixel by pixel, so nothing but rounding does.

What ``torchvision.transforms.v2`` does differently, and why it is the reference of the tests
rather than the engine:

- ``RandomIoUCrop`` asks the least overlap of one object, the recipe of all, so that dense
  pictures stay whole or are cropped at will; it tries 40 times, the recipe 50.
- ``RandomPhotometricDistort``: see :mod:`.photometric`.
- ``RandomZoomOut`` is the recipe's expansion, on an enlarged copy of the picture.
- ``SanitizeBoundingBoxes`` drops boxes by a side of at least one pixel, the recipe by a fraction
  of the input, and it may leave a picture without objects, which the recipe forbids.
- All of them draw from torch's global generator, so that the pictures would depend on what else
  draws from it. Here each picture has its own generator and the global one is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import UsageError
from ..preprocess import Image, Preprocessing
from ..requirements import require
from .crop import Rectangle, random_crop
from .dataset import Sample
from .photometric import distorted

_INTERPOLATIONS = ("linear", "cubic", "area", "nearest", "lanczos4")


@dataclass(frozen=True, eq=False)
class Example:
    """What the network is shown, and what it is to find there.

    Attributes:
        image: ``[3, H, W]`` float32, preprocessed as :func:`ssd_small.preprocess.input_from_image`
            does it.
        boxes_xyxy: ``[G, 4]`` float32 in the unit square, sides positive.
        labels: ``[G]`` int64, 1 and up.
    """

    image: Tensor
    boxes_xyxy: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random; the defaults are the published recipe.

    Attributes:
        crop: SSD crop, see :func:`.crop.random_crop`.
        photometric: brightness, contrast, hue and saturation, see :func:`.photometric.distorted`.
        expand: probability that the picture shrinks into a frame of the mean colour.
        max_expand: by how much at most, per side.
        mirror: probability that left and right are exchanged.
        random_interpolation: resize by a method drawn per picture instead of the network's own.
        min_side: objects of which a side is at most this fraction of the input are left out, if
            others remain.
    """

    crop: bool = True
    photometric: bool = True
    expand: float = 0.6
    max_expand: float = 4.0
    mirror: float = 0.5
    random_interpolation: bool = True
    min_side: float = 0.01

    def __post_init__(self) -> None:
        fractions = (self.expand, self.mirror, self.min_side)
        if not all(0 <= v <= 1 for v in fractions) or not 1 <= self.max_expand <= 100:
            raise UsageError(
                f"{self}: expected expand, mirror and min_side from 0 to 1, max_expand from 1 "
                "to 100"
            )

    @classmethod
    def none(cls) -> Augmentation:
        """Nothing is changed: the picture as at inference, with all of its objects."""
        return cls(False, False, 0.0, 1.0, 0.0, False, 0.0)


Transform = Callable[[Sample, np.random.Generator], Example]


@dataclass(frozen=True)
class _Geometry:
    """Where the pixels go.

    Attributes:
        source: part of the picture that is shown, in its pixels.
        target: where it is shown, in pixels of the network's input.
        mirrored: whether the whole input is mirrored afterwards.
    """

    source: Rectangle
    target: Rectangle
    mirrored: bool

    def boxes(
        self, boxes_xyxy: npt.NDArray[np.float32], size: tuple[int, int]
    ) -> npt.NDArray[np.float64]:
        """Boxes ``[G, 4]`` of the picture in the unit square of the input (height, width)."""
        s, t = self.source, self.target
        offset = np.array([s.left, s.top] * 2, np.float64)
        scale = np.array([t.width / s.width, t.height / s.height] * 2)
        place = np.array([t.left, t.top] * 2, np.float64)
        inside = (boxes_xyxy - offset).clip(0, np.array([s.width, s.height] * 2))
        unit = (inside * scale + place) / np.array([size[1], size[0]] * 2)
        if self.mirrored:
            unit[:, [0, 2]] = 1 - unit[:, [2, 0]]
        return np.asarray(unit, np.float64)


def training_transform(
    preprocessing: Preprocessing, augmentation: Augmentation | None = None
) -> Transform:
    """A function ``(sample, generator) -> Example``; see :func:`example_from_sample`.

    It can be sent to worker processes.
    """
    return partial(
        example_from_sample,
        preprocessing=preprocessing,
        augmentation=augmentation or Augmentation(),
    )


def example_from_sample(
    sample: Sample,
    rng: np.random.Generator,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
) -> Example:
    """A picture at random as the network is shown it.

    An object is kept if its centre lies in the crop, clipped to it. A picture with objects keeps
    at least one: where none is larger than ``min_side`` the picture is shown whole and unchanged
    instead, with all of its objects.

    Args:
        sample: left as it is.
        rng: the same state gives the same example.
        preprocessing: what the network expects.
        augmentation: what may be changed.
    """
    size = (preprocessing.height, preprocessing.width)
    height, width = sample.image.shape[:2]
    whole = Rectangle(0, 0, width, height)
    source, kept = whole, np.ones(len(sample.labels), bool)
    if augmentation.crop:
        source, kept = random_crop(width, height, sample.boxes_xyxy, rng)
    target = _place(size, augmentation, rng)
    geometry = _Geometry(source, target, bool(rng.random() < augmentation.mirror))
    boxes = geometry.boxes(sample.boxes_xyxy[kept], size)
    labels = sample.labels[kept]
    large = (boxes[:, 2:] - boxes[:, :2] > augmentation.min_side).all(axis=1)
    if len(sample.labels) and not large.any():
        geometry = _Geometry(whole, Rectangle(0, 0, size[1], size[0]), mirrored=False)
        boxes, labels = geometry.boxes(sample.boxes_xyxy, size), sample.labels
        augmentation = Augmentation.none()
    else:
        boxes, labels = boxes[large], labels[large]
    return Example(
        torch.from_numpy(_draw(sample.image, geometry, preprocessing, augmentation, rng)),
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(labels.copy()),
    )


def _place(
    size: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> Rectangle:
    """Where in an input of (height, width) the picture goes, on whole pixels."""
    height, width = size
    if rng.random() >= augmentation.expand:
        return Rectangle(0, 0, width, height)
    ratio = rng.uniform(1.0, augmentation.max_expand)
    shown_width, shown_height = (max(1, round(side / ratio)) for side in (width, height))
    left = int(rng.integers(0, width - shown_width + 1))
    top = int(rng.integers(0, height - shown_height + 1))
    return Rectangle(left, top, shown_width, shown_height)


def _draw(
    image: Image,
    geometry: _Geometry,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """The network's input ``[3, H, W]``."""
    cv2 = require("cv2", "augmenting pictures")
    s, t = geometry.source, geometry.target
    method: str = preprocessing.interpolation
    if augmentation.random_interpolation:
        method = _INTERPOLATIONS[int(rng.integers(len(_INTERPOLATIONS)))]
    part = cv2.resize(
        image[s.top : s.top + s.height, s.left : s.left + s.width],
        (t.width, t.height),
        interpolation=getattr(cv2, f"INTER_{method.upper()}"),
    )
    if augmentation.photometric:
        part = distorted(part, rng)
    canvas = np.zeros((3, preprocessing.height, preprocessing.width), np.float32)
    channels = (0, 1, 2) if preprocessing.color_order == "RGB" else (2, 1, 0)
    for plane, channel, mean, std in zip(
        canvas, channels, preprocessing.mean, preprocessing.std, strict=True
    ):
        # plane by plane: the operations of input_from_image, in a fifth of the time
        shown = plane[t.top : t.top + t.height, t.left : t.left + t.width]
        np.subtract(part[:, :, channel], np.float32(mean), out=shown, dtype=np.float32)
        if std != 1.0:
            shown /= np.float32(std)
    return np.ascontiguousarray(canvas[:, :, ::-1]) if geometry.mirrored else canvas
