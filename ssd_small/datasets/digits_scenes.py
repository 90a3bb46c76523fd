"""Draw pictures of handwritten digits on photographs from a random generator.

One scene is a crop of a photograph with digits "printed" on it in ink. The digits are the real
8x8 scans of scikit-learn's copy of the UCI set; the photographs come in the wheels of scikit-learn
and scikit-image, so nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..pictures.reading import Image
from ..requirements import require

Split = Literal["train", "val"]

#: photographs by split, as ``package/path``; the splits share none
PHOTOS: dict[Split, tuple[str, ...]] = {
    "train": (
        "sklearn/datasets/images/china.jpg",
        "skimage/data/astronaut.png",
        "skimage/data/brick.png",
        "skimage/data/camera.png",
        "skimage/data/coffee.png",
        "skimage/data/grass.png",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/ihc.png",
        "skimage/data/retina.jpg",
    ),
    "val": (
        "sklearn/datasets/images/flower.jpg",
        "skimage/data/chelsea.png",
        "skimage/data/coins.png",
        "skimage/data/gravel.png",
        "skimage/data/rocket.jpg",
    ),
}
#: val is the last fifth, not a random one: the set is unshuffled and a sample's nearest look-alike
#: is typically less than 100 places away (1-nearest-neighbour accuracy .956, random split .987)
FIRST_VAL_DIGIT = 1437
#: width and height of the pictures; none is the network's 300x300, so each is resized
PICTURE_SIZES = ((320, 320), (360, 300), (300, 360))
#: digit heights in pixels, and how many of each a picture gets (lowest, highest)
HEIGHTS = {"small": (8.0, 24.0), "medium": (36.0, 80.0), "large": (118.0, 165.0)}
COUNTS = {"small": (7, 16), "medium": (1, 4), "large": (0, 1)}
#: least opacity of ink that counts as drawn; boxes are tight around such pixels
DRAWN = 0.4
#: least luminance difference of ink and ground, on top of the ground's standard deviation
MIN_CONTRAST = 60.0
_LUMINANCE = np.array([0.114, 0.587, 0.299], np.float32)  # BGR


@dataclass(frozen=True, eq=False)
class Material:
    """What scenes of one split are made of.

    Attributes:
        glyphs: one float32 array ``[h, w]`` per digit sample, 0 (paper) to 1 (ink), without
            margins.
        names: ``[D]`` the digit (0..9) that each sample shows.
        samples: ``[D]`` index of each sample in scikit-learn's set.
        photos: BGR uint8 ``[H, W, 3]``.
    """

    glyphs: tuple[npt.NDArray[np.float32], ...]
    names: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    photos: tuple[Image, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture.

    Attributes:
        image: BGR uint8 ``[H, W, 3]``.
        boxes_xyxy: ``[D, 4]`` int64 pixels, right and bottom exclusive, tight around the ink.
        names: ``[D]`` the digit in each box.
        samples: ``[D]`` its index in scikit-learn's set.
    """

    image: Image
    boxes_xyxy: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]


def load_material(split: Split) -> Material:
    """Digits and photographs of a split; the two splits share neither.

    Raises:
        MissingRequirement: scikit-learn, scikit-image or OpenCV is not installed.
    """
    purpose = "the digits data set"
    digits = require("sklearn.datasets", purpose).load_digits()
    train = np.arange(len(digits.target)) < FIRST_VAL_DIGIT
    samples = np.flatnonzero(train if split == "train" else ~train)
    glyphs = tuple(_without_margins(digits.images[i] / 16.0) for i in samples)
    photos = tuple(_read_photo(name, purpose) for name in PHOTOS[split])
    return Material(glyphs, np.asarray(digits.target[samples], np.int64), samples, photos)


def _without_margins(glyph: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    rows, columns = np.nonzero(glyph > DRAWN)
    return np.asarray(
        glyph[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], np.float32
    )


def _read_photo(name: str, purpose: str) -> Image:
    """Read a photograph as BGR, with Pillow: OpenCV's libpng prints a warning for one of them."""
    package, _, path = name.partition("/")
    root = require(package, purpose).__file__
    assert root is not None
    with require("PIL.Image", purpose).open(Path(root).parent / path) as file:
        return np.ascontiguousarray(np.asarray(file.convert("RGB"))[:, :, ::-1])


def draw_scene(material: Material, rng: np.random.Generator, crowding: int = 1) -> Scene:
    """Draw a new picture; the same state of ``rng`` gives the same picture.

    Args:
        material: digits and photographs to choose from.
        rng: the only source of randomness.
        crowding: multiplies the number of digits; training learns more from a full picture.
    """
    width, height = PICTURE_SIZES[rng.integers(len(PICTURE_SIZES))]
    image = _background(material, rng, width, height).astype(np.float32)
    boxes: list[tuple[int, int, int, int]] = []
    drawn: list[int] = []
    for kind in ("large", "medium", "small"):
        for _ in range(crowding * int(rng.integers(COUNTS[kind][0], COUNTS[kind][1] + 1))):
            which = int(rng.integers(len(material.glyphs)))
            ink, tight = _stretch(material.glyphs[which], rng, _height(rng, kind))
            place = _free_place(boxes, tight, (width, height), rng)
            if place is None:
                continue
            _print(image, ink, (place[0] - tight[0], place[1] - tight[1]), rng)
            boxes.append(place)
            drawn.append(which)
    order = np.asarray(drawn, np.int64)
    return Scene(
        np.clip(np.rint(image), 0, 255).astype(np.uint8),
        np.asarray(boxes, np.int64).reshape(-1, 4),
        material.names[order],
        material.samples[order],
    )


def _height(rng: np.random.Generator, kind: str) -> float:
    """A digit height in pixels, uniform in the logarithm."""
    low, high = HEIGHTS[kind]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _background(
    material: Material, rng: np.random.Generator, width: int, height: int
) -> npt.NDArray[Any]:
    """A random crop of a random photograph, mirrored, dimmed and tinted at random."""
    cv2 = require("cv2", "the digits data set")
    photo = material.photos[rng.integers(len(material.photos))]
    largest = min(photo.shape[1] / width, photo.shape[0] / height)
    scale = rng.uniform(min(0.5, largest), min(2.0, largest))
    w, h = int(width * scale), int(height * scale)
    x = int(rng.integers(photo.shape[1] - w + 1))
    y = int(rng.integers(photo.shape[0] - h + 1))
    crop = photo[y : y + h, x : x + w]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=method)
    gain = rng.uniform(0.7, 1.1) * rng.uniform(0.85, 1.15, 3)
    return np.asarray(np.clip(resized * gain + rng.uniform(-15, 25), 0, 255))


def _stretch(
    glyph: npt.NDArray[np.float32], rng: np.random.Generator, height: float
) -> tuple[npt.NDArray[np.float32], tuple[int, int, int, int]]:
    """Enlarge a glyph to an opacity map about ``height`` pixels high, slightly turned and slanted.

    Returns:
        The map ``[h, w]`` and the tight box (x1, y1, x2, y2) of its drawn pixels.
    """
    cv2 = require("cv2", "the digits data set")
    rows, columns = glyph.shape
    # never so thin that strokes fall between pixels
    aspect = np.clip(columns / rows * rng.uniform(0.9, 1.3), 0.3, 1.3)
    scale = np.array([height * aspect / columns, height / rows])
    angle, slant = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(-0.15, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, slant], [0, 1]]) @ np.diag(scale)
    corners = np.array([[x, y] for x in (-1, columns) for y in (-1, rows)]) @ matrix.T
    low = corners.min(axis=0)
    w, h = (int(v) for v in np.ceil(corners.max(axis=0) - low) + 1)
    ink = cv2.warpAffine(
        glyph, np.column_stack([matrix, -low]), (w, h), flags=cv2.INTER_CUBIC, borderValue=0
    )
    # a soft threshold gives the enlarged scan the edge of a pen stroke, two pixels wide at most
    slope = np.clip(height / 16.0, 1.3, 5.0)
    ink = np.clip((ink - 0.5) * slope + 0.5, 0, 1)
    ys, xs = np.nonzero(ink > DRAWN)
    return ink, (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)


def _free_place(
    taken: list[tuple[int, int, int, int]],
    tight: tuple[int, int, int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
    margin: int = 3,
) -> tuple[int, int, int, int] | None:
    """A box the size of ``tight`` inside the picture, ``margin`` pixels away from all others."""
    w, h = tight[2] - tight[0], tight[3] - tight[1]
    for _ in range(20):
        x = int(rng.integers(2, size[0] - w - 1))
        y = int(rng.integers(2, size[1] - h - 1))
        if all(
            x >= x2 + margin or x + w + margin <= x1 or y >= y2 + margin or y + h + margin <= y1
            for x1, y1, x2, y2 in taken
        ):
            return x, y, x + w, y + h
    return None


def _print(
    image: npt.NDArray[np.float32],
    ink: npt.NDArray[np.float32],
    corner: tuple[int, int],
    rng: np.random.Generator,
) -> None:
    """Blend ink into the picture with its upper left corner at ``corner`` (may lie outside)."""
    x1, y1 = max(corner[0], 0), max(corner[1], 0)
    x2 = min(corner[0] + ink.shape[1], image.shape[1])
    y2 = min(corner[1] + ink.shape[0], image.shape[0])
    part = ink[y1 - corner[1] : y2 - corner[1], x1 - corner[0] : x2 - corner[0], None]
    ground = image[y1:y2, x1:x2]
    color = _ink_color(ground, rng)
    opacity = part * np.float32(rng.uniform(0.88, 1.0))
    ground += (color - ground) * opacity


def _ink_color(
    ground: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A random BGR colour that stands out from the ground; near-black or near-white if need be."""
    luminance = ground @ _LUMINANCE
    mean = float(luminance.mean())
    needed = MIN_CONTRAST + min(float(luminance.std()), 40.0)
    for _ in range(8):
        color = rng.uniform(0, 255, 3).astype(np.float32)
        if abs(float(color @ _LUMINANCE) - mean) >= needed:
            return color
    return np.full(3, 15.0 if mean > 120 else 240.0, np.float32)
