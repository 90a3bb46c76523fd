"""Augmentation of the published recipe: crop, photometric distortion, expansion, mirror.

All but the crop is made of ``torchvision.transforms.v2``. Where that differs from the published
code (Liu et al. 2016, section 2.2, in the variant of Mudassar & Mukhopadhyay, BMVC 2019):

- The crop is :func:`.crop.random_crop`: ``RandomIoUCrop`` wants one object of the least overlap,
  the published code all of them, which leaves dense pictures whole or cropped at will.
- ``ColorJitter`` scales the brightness by up to an eighth where the recipe adds up to 32 levels,
  takes the contrast about the mean grey instead of black, and mixes with grey for saturation where
  the recipe scales it in HSV; hue turns alike. ``RandomPhotometricDistort`` is the same with
  channels permuted, which the recipe does not do and which takes away colours that tell classes
  apart.
- A picture is resized to the network's input right after the crop, not at the end: light is
  changed on a fifth of the pixels, and an expanded picture is resized twice.
- The frame of an expanded picture is the mean rounded to whole levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..errors import UsageError
from ..pictures.preprocessing import Preprocessing, input_from_image, resized_from_image
from .crop import random_crop
from .dataset import Sample


@dataclass(frozen=True, eq=False)
class Example:
    """What the network is shown, and what it is to find there.

    Attributes:
        image: ``[3, H, W]`` float32, preprocessed as
            :func:`ssd_small.pictures.preprocessing.input_from_image` does it.
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
        photometric: brightness, contrast, saturation and hue, each with probability one half.
        expand: probability that the picture shrinks into a frame of the mean colour.
        max_expand: by how much at most, per side.
        mirror: probability that left and right are exchanged.
        random_interpolation: resize by a method drawn per picture instead of the network's own.
        min_side: objects of which a side is less than this fraction of the input's shorter side,
            or less than a pixel, are left out, if others remain.
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
        rng: the same state gives the same example. torchvision draws from torch's global
            generator, which is seeded from here and put back afterwards.
        preprocessing: what the network expects.
        augmentation: what may be changed.
    """
    if augmentation == Augmentation.none():
        return _unchanged(sample, preprocessing)
    cropped = _cropped(sample, rng) if augmentation.crop else sample
    cropped = _brought(cropped, preprocessing)
    height, width = cropped.image.shape[:2]
    picture = {
        "image": tv_tensors.Image(torch.from_numpy(cropped.image.transpose(2, 0, 1).copy())),
        "boxes": tv_tensors.BoundingBoxes(
            torch.from_numpy(cropped.boxes_xyxy.copy()), format="XYXY", canvas_size=(height, width)
        ),
        "labels": torch.from_numpy(cropped.labels.copy()),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        changed = _transforms(preprocessing, augmentation)(picture)
    if len(sample.labels) and not len(changed["labels"]):
        return _unchanged(sample, preprocessing)
    return _example(
        changed["image"].permute(1, 2, 0).numpy(),
        changed["boxes"].as_subclass(Tensor),
        changed["labels"],
        preprocessing,
    )


@lru_cache(maxsize=8)
def _transforms(preprocessing: Preprocessing, augmentation: Augmentation) -> v2.Compose:
    """What follows the crop; ends at the size of the network's input."""
    size = (preprocessing.height, preprocessing.width)
    resize = _resize(size, random=augmentation.random_interpolation)
    steps: list[v2.Transform] = [resize]
    if augmentation.photometric:
        jitters: tuple[dict[str, float], ...] = (
            {"brightness": 0.125},
            {"contrast": 0.5},
            {"saturation": 0.5},
            {"hue": 0.1},
        )
        steps += [v2.RandomApply([v2.ColorJitter(**jitter)], p=0.5) for jitter in jitters]
    if augmentation.expand > 0:
        mean = preprocessing.mean
        fill = [round(m) for m in (mean if preprocessing.color_order == "RGB" else mean[::-1])]
        expand = v2.RandomZoomOut(fill, (1.0, augmentation.max_expand), augmentation.expand)
        steps += [expand, resize]
    steps += [
        v2.RandomHorizontalFlip(augmentation.mirror),
        v2.ClampBoundingBoxes(),
        # a pixel is the least that torchvision takes
        v2.SanitizeBoundingBoxes(min_size=max(augmentation.min_side * min(size), 1.0)),
    ]
    return v2.Compose(steps)


def _resize(size: tuple[int, int], *, random: bool) -> v2.Transform:
    """To the input's size, by a method drawn per picture or the one that inference uses."""
    modes = v2.InterpolationMode
    usual = v2.Resize(size, modes.BILINEAR, antialias=False)
    if not random:
        return usual
    return v2.RandomChoice(
        [
            usual,
            v2.Resize(size, modes.NEAREST),
            *(v2.Resize(size, m, antialias=True) for m in (modes.BILINEAR, modes.BICUBIC)),
            v2.Resize(size, modes.BICUBIC, antialias=False),
        ]
    )


def _cropped(sample: Sample, rng: np.random.Generator) -> Sample:
    """A part of the picture and the objects that have their centre in it, clipped."""
    height, width = sample.image.shape[:2]
    part, kept = random_crop(width, height, sample.boxes_xyxy, rng)
    boxes = sample.boxes_xyxy[kept] - np.array([part.left, part.top] * 2, np.float32)
    return Sample(
        sample.image[part.top : part.top + part.height, part.left : part.left + part.width],
        boxes.clip(0, np.array([part.width, part.height] * 2, np.float32)),
        sample.labels[kept],
    )


def _brought(sample: Sample, preprocessing: Preprocessing) -> Sample:
    """A picture in its letterbox or cropped, in the input's size; as it is, if it is stretched.

    Objects that are cut off are left out.
    """
    if preprocessing.fit == "stretch":
        return sample
    levels = resized_from_image(np.ascontiguousarray(sample.image[:, :, ::-1]), preprocessing)
    boxes, kept = _boxes_at_input(sample, preprocessing)
    whole = np.rint(levels).astype(np.uint8)
    return Sample(whole[:, :, ::-1], boxes[kept], sample.labels[kept])


def _boxes_at_input(
    sample: Sample, preprocessing: Preprocessing
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Boxes ``[G, 4]`` in pixels of the input, cut to it, and which of them are still there."""
    height, width = sample.image.shape[:2]
    size = np.array([preprocessing.width, preprocessing.height] * 2, np.float32)
    if preprocessing.fit == "stretch":
        scale = size / np.array([width, height] * 2)
        return (sample.boxes_xyxy * scale.astype(np.float32)), np.ones(len(sample.labels), bool)
    unit = sample.boxes_xyxy.astype(np.float64) / ([width, height] * 2)
    placed = preprocessing.placement(height, width).input_from_picture(unit)
    boxes = (placed.clip(0, 1) * size).astype(np.float32)
    return boxes, np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1), np.bool_)


def _unchanged(sample: Sample, preprocessing: Preprocessing) -> Example:
    """The whole picture as at inference, with all of its objects that are seen then."""
    boxes, kept = _boxes_at_input(sample, preprocessing)
    return _example(
        sample.image,
        torch.from_numpy(boxes[kept]),
        torch.from_numpy(sample.labels[kept]),
        preprocessing,
    )


def _example(
    image_rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    boxes_xyxy: Tensor,
    labels: Tensor,
    preprocessing: Preprocessing,
) -> Example:
    """Of an RGB picture of any size, with boxes in pixels of the network's input."""
    size = torch.tensor([preprocessing.width, preprocessing.height] * 2, dtype=torch.float32)
    bgr = np.ascontiguousarray(image_rgb[:, :, ::-1])
    return Example(
        torch.from_numpy(input_from_image(bgr, preprocessing)),
        (boxes_xyxy / size).clamp(0, 1),  # but for rounding they are inside
        labels,
    )
