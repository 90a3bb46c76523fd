"""Large JPEG files at a half, a quarter or an eighth: when, and that nothing else changes by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detection_doubles import MadeUpRuntime

cv2 = pytest.importorskip("cv2")
pytest.importorskip("PIL", reason="needs PIL")
from PIL import Image as PilImage  # noqa: E402

from ssd_small.artefacts.description import Description  # noqa: E402
from ssd_small.detection.detector import Detector  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.pictures.annotated import AnnotatedPicture  # noqa: E402
from ssd_small.pictures.decoded import (  # noqa: E402
    decoded_from_bytes,
    decoded_from_file,
    reduction_from_size,
)
from ssd_small.pictures.fetched import FetchedPicture  # noqa: E402
from ssd_small.pictures.limits import TooManyPixels  # noqa: E402
from ssd_small.pictures.pixels import decoded_from_picture, pixels_from_picture  # noqa: E402
from ssd_small.pictures.preprocessing import PictureInput, Preprocessing  # noqa: E402
from ssd_small.pictures.reading import read_image  # noqa: E402

ON = Preprocessing(30, 40, reduced_decoding=True)
ORIENTATION = 0x0112


def _smooth(height: int, width: int) -> np.ndarray:
    """What a fraction shows as well as the whole does: ``[height, width, 3]`` uint8."""
    coarse = np.random.default_rng(3).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _write(path: Path, height: int = 480, width: int = 640, orientation: int = 1) -> Path:
    rgb = np.ascontiguousarray(_smooth(height, width)[:, :, ::-1])
    exif = PilImage.Exif()
    exif[ORIENTATION] = orientation
    how: dict[str, Any] = {"quality": 95} if path.suffix == ".jpg" else {}
    PilImage.fromarray(rgb).save(path, exif=exif, **how)
    return path


@pytest.mark.parametrize(
    ("size", "reduction"),
    [
        # 8 * 2 * 40: for an input of 30x40, however the picture is turned
        ((640, 640), 8),
        ((640, 639), 1),
        ((632, 640), 4),
        ((639, 640), 1),
        ((320, 320), 4),
        ((312, 320), 2),
        ((324, 644), 4),
        ((322, 642), 2),
        ((160, 160), 2),
        ((158, 160), 1),
        ((24, 24000), 1),
    ],
)
def test_sides_are_divided_without_a_rest_and_stay_twice_the_input(
    size: tuple[int, int], reduction: int
) -> None:
    assert reduction_from_size(*size, ON) == reduction
    assert reduction_from_size(*size[::-1], ON) == reduction


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("seed", range(4))
def test_a_place_of_the_fraction_is_that_of_the_whole(fit: Any, seed: int) -> None:
    """Boxes come back through the picture's size in full: both must lie alike at the input."""
    rng = np.random.default_rng(seed)
    seen = 0
    for _ in range(300):
        side, other = rng.integers(8, 700, 2)
        how = Preprocessing(int(side), int(other), fit=fit, reduced_decoding=True)
        height, width = (int(8 * one) for one in rng.integers(20, 900, 2))
        reduction = reduction_from_size(height, width, how)
        whole = how.placement(height, width)
        assert how.placement(height // reduction, width // reduction) == whole
        seen += reduction > 1
        if reduction > 1:
            assert height // reduction >= 2 * whole.height
            assert width // reduction >= 2 * whole.width
    assert seen > 20


def test_off_is_the_usual_and_decodes_in_full(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg")
    assert Preprocessing().reduced_decoding is False
    for how in (None, replace(ON, reduced_decoding=False)):
        found = decoded_from_file(path, how)
        assert found.reduction == 1
        assert np.array_equal(found.pixels, read_image(path))


def test_it_shows_what_the_whole_shows(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg")
    found = decoded_from_file(path, ON)
    assert (found.reduction, found.size, found.pixels.shape) == (4, (480, 640), (120, 160, 3))
    area = cv2.resize(read_image(path), (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(found.pixels.astype(int) - area).max() <= 4


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.tif"])
def test_other_formats_are_decoded_in_full_whatever_they_are_called(
    name: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / name)
    renamed = path.rename(tmp_path / "b.jpg")
    found = decoded_from_file(renamed, ON)
    assert found.reduction == 1
    assert np.array_equal(found.pixels, read_image(renamed))
    jpeg = _write(tmp_path / "c.jpg").rename(tmp_path / "c.png")
    assert decoded_from_file(jpeg, ON).reduction == 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_the_whole_is(orientation: int, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg", orientation=orientation)
    found, whole = decoded_from_file(path, ON), read_image(path)
    assert found.reduction == 4
    assert found.size == whole.shape[:2]
    height, width = found.pixels.shape[:2]
    area = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(found.pixels.astype(int) - area).max() <= 4
    # as annotated: as it is stored, or as people see it
    for size in ((480, 640), whole.shape[:2]):
        annotated = AnnotatedPicture(path, (float(size[0]), float(size[1])))
        own = decoded_from_picture(annotated, preprocessing=ON)
        assert own.size == pixels_from_picture(annotated).shape[:2]
        assert own.reduction == 4


def _broken(content: bytes) -> dict[str, bytes]:
    end = b"\xff\xd9"
    return {
        "no end marker": content.removesuffix(end),
        "cut off": content[: len(content) // 2],
        "cut off, with an end": content[: len(content) // 2] + end,
        "padded": content + bytes(40),
        "damaged": content[:300] + bytes(60) + content[360:],
        "frame of another size": content.replace(b"\x01\xe0\x02\x80", b"\x01\xe0\x02\x78", 1),
    }


@pytest.mark.parametrize("kind", [*_broken(b"")])
def test_what_is_wrong_with_a_file_is_wrong_with_its_fraction(kind: str, tmp_path: Path) -> None:
    content = _broken(_write(tmp_path / "a.jpg").read_bytes())[kind]

    def outcome(how: Preprocessing | None) -> object:
        try:
            return decoded_from_bytes(content, "a.jpg", how).size
        except BadFile as error:
            return str(error)

    assert outcome(ON) == outcome(None)


def test_the_limit_counts_the_pixels_of_the_whole(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg")
    with pytest.raises(TooManyPixels, match="640x480"):
        decoded_from_file(path, ON, max_pixels=640 * 480 - 1)
    assert decoded_from_file(path, ON, max_pixels=640 * 480).reduction == 4


class _Sees(MadeUpRuntime):
    """Keeps what it is given."""

    def __init__(self, description: Description | None = None) -> None:
        super().__init__()
        told = replace(self.description.preprocessing, reduced_decoding=True)
        self.description = description or replace(self.description, preprocessing=told)
        self.given: list[np.ndarray] = []

    def infer_batch(self, images):  # type: ignore[no-untyped-def]
        self.given.extend(images)
        return super().infer_batch(images)


def test_boxes_are_of_the_picture_in_full_and_the_same_with_its_pixels(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{n}.jpg", 480 + 8 * n, 640, orientation=n) for n in range(1, 9)]
    fetched = [FetchedPicture(one.name, one.read_bytes) for one in paths]
    usual, kept, elsewhere = _Sees(), _Sees(), _Sees()
    found = list(Detector(usual, workers=2).outcomes(paths))
    drawn = list(Detector(kept, workers=2).outcomes(paths, keep_pixels=True))
    told = list(Detector(elsewhere, workers=2).outcomes(fetched))
    for index, path in enumerate(paths):
        whole = read_image(path)
        assert found[index][0].size == whole.shape[:2]
        assert np.array_equal(drawn[index][0].pixels, whole)
        # the first detection is of the unit square's (0.1, 0.2, 0.5, 0.6)
        x1, y1, *_ = found[index][1].boxes[0]
        assert (x1, y1) == pytest.approx((0.1 * whole.shape[1], 0.2 * whole.shape[0]), rel=1e-6)
        for other in (drawn, told):
            assert np.array_equal(found[index][1].boxes, other[index][1].boxes)
        for runtime in (kept, elsewhere):
            assert np.array_equal(usual.given[index], runtime.given[index])


def test_a_network_of_pictures_is_given_the_fraction_unless_it_takes_one_size(
    tmp_path: Path,
) -> None:
    path = _write(tmp_path / "a.jpg")
    own = _Sees().description
    for size, seen in (((), (60, 80, 3)), ((480, 640), (480, 640, 3))):
        runtime = _Sees(replace(own, pictures=PictureInput(*size)))
        (found,) = Detector(runtime, workers=2)([path])
        assert runtime.given[0].shape == seen
        assert (found.height, found.width) == (480, 640)


def test_what_was_exported_says_it_and_an_older_version_refuses_it() -> None:
    on, off = _Sees().description, MadeUpRuntime().description
    assert on.to_dict()["format"] == 6
    assert off.to_dict()["format"] < 6
    assert "reduced_decoding" not in json.dumps(off.to_dict())
    assert Description.from_dict(on.to_dict(), "x").preprocessing.reduced_decoding
    for wrong in ("yes", 1, [True]):
        told = on.to_dict()
        told["preprocessing"]["reduced_decoding"] = wrong
        with pytest.raises(BadFile, match="reduced_decoding"):
            Description.from_dict(told, "x")
    with pytest.raises(BadFile, match="format"):
        Description.from_dict(on.to_dict() | {"format": 5}, "x")
