"""Which files of a folder are pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.pictures.listing import image_suffixes, list_images  # noqa: E402
from ssd_small.pictures.pixels import each_picture  # noqa: E402
from ssd_small.pictures.reading import read_image  # noqa: E402

#: endings that OpenCV does not write, of formats that it does
ALIASES = dict.fromkeys((".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"), ".jpg")
CODESTREAM = b"\xff\x4f\xff\x51"


def encoded(ending: str) -> bytes:
    """A picture of a format, made by the codec."""
    pixels = np.full((64, 96, 3), 90, np.uint8)
    bare = ending in (".j2k", ".j2c", ".jpc")
    written = ".jp2" if bare else ALIASES.get(ending, ending)
    done, array = cv2.imencode(written, pixels[:, :, 0] if ending in (".pgm", ".pbm") else pixels)
    assert done
    content: bytes = array.tobytes()
    return content[content.index(CODESTREAM) :] if bare else content


def test_every_ending_is_one_that_the_codec_reads(tmp_path: Path) -> None:
    for ending in image_suffixes():
        path = tmp_path / f"a{ending}"
        path.write_bytes(encoded(ending))
        assert read_image(path).shape == (64, 96, 3), ending
    assert [one.suffix for one in list_images(tmp_path).files] == sorted(image_suffixes())
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".ppm"} <= {*image_suffixes()}


def test_what_is_passed_over_is_counted_and_hidden_files_are_nothing(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt", "d.txt", "e.json", "f", "._a.png", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "more.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    listing = list_images(tmp_path)
    assert [one.name for one in listing.files] == ["a.png", "b.JPG"]
    assert listing.passed_over == {
        ".txt": 2,
        ".json": 1,
        "without ending": 1,
        "folder": 1,
        "device or pipe": 1,
    }
    assert listing.note() == (
        "passed over what is no picture by its name: 2 .txt, 1 .json, 1 device or pipe, "
        "1 folder, 1 without ending"
    )
    assert list_images([tmp_path / "a.png"]).note() is None


def test_a_name_that_cannot_be_is_for_the_reader_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png"))
    wrong = tmp_path / ("x" * 300 + ".png")
    assert list_images([wrong, tmp_path]).files == (wrong, tmp_path / "a.png")
    with pytest.raises(BadFile, match="File name too long"):
        read_image(wrong)


def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    with pytest.raises(BadFile, match=r"holds no image .*there is 1 \.txt in it"):
        list_images(tmp_path)


def test_a_folder_is_its_pictures_for_a_detector_too(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.txt"):
        (tmp_path / name).write_bytes(encoded(".png"))
    assert [*each_picture(tmp_path)] == [*each_picture(str(tmp_path))]
    assert [one.name for one in each_picture(tmp_path)] == ["a.jpg", "b.png"]
    assert [*each_picture(tmp_path / "b.png")] == [tmp_path / "b.png"]
