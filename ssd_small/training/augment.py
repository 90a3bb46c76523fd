"""Augmentation of the published recipe: crop, photometric distortion, expansion, mirroring.

Everything except the crop is built from ``torchvision.transforms.v2``. Compared with the published
code (Liu et al. 2016, section 2.2, in the variant of Mudassar & Mukhopadhyay, BMVC 2019):

- The crop is the same, :func:`.crop.random_crop`. ``RandomIoUCrop`` would require only one object
  to have the minimum overlap; the published code requires it of all objects, so that dense
  pictures are mostly left whole or cropped without an overlap constraint.
- ``ColorJitter`` scales the brightness by up to an eighth where the recipe adds up to 32 levels,
  changes the contrast around the mean grey instead of black, and changes the saturation by mixing
  with grey where the recipe scales it in HSV; hue is rotated in the same way.
  ``RandomPhotometricDistort`` also permutes the channels, which the recipe does not do and which
  destroys colours that distinguish classes.
- A picture is resized to the network's input right after the crop, not at the end: colours are
  changed on a fifth of the pixels, and an expanded picture is resized twice.
- The frame of an expanded picture is filled with the mean colour rounded to whole levels.
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
    """A network input and the objects to be found in it.

    Attributes:
        image: ``[3, H, W]`` float32, preprocessed by
            :func:`ssd_small.pictures.preprocessing.input_from_image`.
        boxes_xyxy: ``[G, 4]`` float32 in the unit square, with positive sides.
        labels: ``[G]`` int64, 1 and up.
    """

    image: Tensor
    boxes_xyxy: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Augmentation:
    """The random changes made to pictures; the defaults are the published recipe.

    Attributes:
        crop: whether to apply the SSD crop, see :func:`.crop.random_crop`.
        photometric: whether to change brightness, contrast, saturation and hue, each with
            probability one half.
        expand: probability that the picture is shrunk into a frame of the mean colour.
        max_expand: largest factor by which it is shrunk, per side.
        mirror: probability that left and right are exchanged.
        random_interpolation: resize by a method drawn per picture instead of the network's own.
        min_side: objects with a side shorter than this fraction of the input's shorter side, or
            shorter than a pixel, are left out if others remain.
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
        """No changes: the picture as at inference, with all of its objects."""
        return cls(False, False, 0.0, 1.0, 0.0, False, 0.0)


Transform = Callable[[Sample, np.random.Generator], Example]


def training_transform(
    preprocessing: Preprocessing, augmentation: Augmentation | None = None
) -> Transform:
    """Return a function ``(sample, generator) -> Example``; see :func:`example_from_sample`.

    The function can be sent to worker processes.
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
    """Augment a picture at random and preprocess it for the network.

    An object is kept if its centre lies in the crop, and is clipped to the crop. A picture with
    objects keeps at least one: if none is as large as ``min_side``, the whole unchanged picture
    with all of its objects is used instead.

    Args:
        sample: picture with its objects; not modified.
        rng: the same state gives the same example. torchvision draws from torch's global
            generator, which is seeded from ``rng`` and restored afterwards.
        preprocessing: the preprocessing that the network expects.
        augmentation: the changes that may be made.
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
    """The transforms after the crop; their result has the size of the network's input."""
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
        # torchvision accepts no less than a pixel
        v2.SanitizeBoundingBoxes(min_size=max(augmentation.min_side * min(size), 1.0)),
    ]
    return v2.Compose(steps)


def _resize(size: tuple[int, int], *, random: bool) -> v2.Transform:
    """Resizing to the input's size, by a method drawn per picture or the one used at inference."""
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
    """Crop the picture at random and keep the objects whose centre is inside, clipped."""
    height, width = sample.image.shape[:2]
    part, kept = random_crop(width, height, sample.boxes_xyxy, rng)
    boxes = sample.boxes_xyxy[kept] - np.array([part.left, part.top] * 2, np.float32)
    return Sample(
        sample.image[part.top : part.top + part.height, part.left : part.left + part.width],
        boxes.clip(0, np.array([part.width, part.height] * 2, np.float32)),
        sample.labels[kept],
    )


def _brought(sample: Sample, preprocessing: Preprocessing) -> Sample:
    """Letterbox or crop a picture to the input's size; unchanged if the fit is "stretch".

    Objects that are cut off entirely are left out.
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
    """Boxes ``[G, 4]`` in input pixels, clipped to the input, and which of them remain."""
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
    """The whole picture as at inference, with all objects that are visible there."""
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
    """Make an example of an RGB picture of any size, with boxes in network input pixels."""
    size = torch.tensor([preprocessing.width, preprocessing.height] * 2, dtype=torch.float32)
    bgr = np.ascontiguousarray(image_rgb[:, :, ::-1])
    return Example(
        torch.from_numpy(input_from_image(bgr, preprocessing)),
        (boxes_xyxy / size).clamp(0, 1),  # they are inside except for rounding
        labels,
    )
