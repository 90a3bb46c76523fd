"""Copies of pictures are found by what they show; different pictures are not taken for copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ssd_small.datasets.near_duplicates import (
    Looks,
    can_compare,
    copies_between,
    copies_within,
    looks_from_image,
)
from ssd_small.pictures.reading import read_image

cv2 = pytest.importorskip("cv2")
pytest.importorskip("imagehash")
Image = npt.NDArray[np.uint8]


def scene(seed: int, height: int = 240, width: int = 320) -> Image:
    """A picture of soft and sharp structure, another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 8, 3), np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for x, y in rng.integers(20, 220, (12, 2)).tolist():
        cv2.circle(picture, (x, y), 9, rng.integers(0, 255, 3).tolist(), -1)
    return np.asarray(picture, np.uint8)


def jpeg(image: Image, quality: int) -> Image:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def half(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def copies(image: Image) -> list[Image]:
    return [half(image), jpeg(image, 50), jpeg(half(image), 50), cv2.resize(image, (300, 300))]


def test_resized_and_reencoded_copies_are_found_and_nothing_else() -> None:
    scenes = [scene(seed) for seed in range(30)]
    first = [looks_from_image(image) for image in scenes[:20]]
    others = [looks_from_image(image) for image in scenes[20:]]
    made = [looks_from_image(copy) for image in scenes[:20] for copy in copies(image)]
    found = copies_between(first, [*others, *made])
    assert found == {10 + number: number // 4 for number in range(80)}


def test_a_later_copy_names_the_earlier_picture() -> None:
    pictures = [scene(1), scene(2), half(scene(1)), scene(3), jpeg(scene(3), 50)]
    assert copies_within([looks_from_image(image) for image in pictures]) == {2: 0, 4: 3}


def test_pictures_of_a_camera_that_does_not_move_differ_by_what_moves() -> None:
    ground = scene(4)
    pictures = [ground.copy() for _ in range(4)]
    for number, picture in enumerate(pictures):
        cv2.rectangle(picture, (40 + 60 * number, 30), (60 + 60 * number, 50), (255, 255, 255), -1)
    looks = [looks_from_image(image) for image in pictures]
    assert copies_within(looks) == {}
    assert copies_between(looks, [looks_from_image(jpeg(half(p), 50)) for p in pictures]) == {
        number: number for number in range(4)
    }


def test_pictures_of_one_colour_are_not_compared() -> None:
    grey = np.full((60, 80, 3), 128, np.uint8)
    assert looks_from_image(grey) is None
    assert copies_within([looks_from_image(grey), looks_from_image(grey), None]) == {}


def test_more_pictures_than_are_compared_at_a_time() -> None:
    rng = np.random.default_rng(0)
    looks = [
        Looks(rng.random(256) < 0.5, rng.integers(0, 255, (32, 32), np.uint8)) for _ in range(600)
    ]
    assert copies_within([*looks, looks[3], looks[590]]) == {600: 3, 601: 590}


def test_without_the_package_nothing_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_compare()
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    assert not can_compare()


@pytest.mark.slow
def test_photographs_are_told_apart_and_their_copies_found(shared_data: Path) -> None:
    """290 photographs of one kind: the two that show one specimen are not counted as copies."""
    images = [read_image(path) for path in sorted(shared_data.glob("bccd/images/*.jpg"))]
    looks = [looks_from_image(image) for image in images]
    assert len(looks) > 280
    assert copies_within(looks) == {}
    for change in (half, lambda image: jpeg(image, 50), lambda image: jpeg(half(image), 50)):
        made = [looks_from_image(change(image)) for image in images[::4]]
        assert copies_between(looks, made) == {i: 4 * i for i in range(len(made))}
