"""What image files give, or why they give nothing."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
PilImage = pytest.importorskip("PIL.Image", reason="needs Pillow")

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.pictures.reading import AbsentPicture, read_image  # noqa: E402


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (61, 45)])
def test_a_jpeg_may_lack_its_end_but_nothing_of_the_picture(
    tmp_path: Path, progressive: bool, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    path = tmp_path / "a.jpg"
    PilImage.fromarray(pixels).save(path, progressive=progressive)
    content, whole = path.read_bytes(), read_image(path)
    for missing in (1, 2):
        path.write_bytes(content[:-missing])
        assert np.array_equal(read_image(path), whole)
        assert np.array_equal(cv2.imread(str(path)), whole)
    # a file system fills with zeros what was not written: after the picture, or instead of it
    for zeros in (bytes(512), bytes(20 * len(content))):
        path.write_bytes(content[:-2] + zeros)
        assert np.array_equal(read_image(path), whole)
        path.write_bytes(content + zeros)
        assert np.array_equal(read_image(path), whole)
        path.write_bytes(content[: len(content) // 2] + zeros)
        with pytest.raises(BadFile, match=r"cut off before the picture ends"):
            read_image(path)
    for missing in (8, len(content) // 3, len(content) // 2):
        path.write_bytes(content[:-missing])
        with pytest.raises(BadFile, match=r"cut off before the picture ends"):
            read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC"),
        ("a.jpg", b"\n<!DOCTYPE html><html>", "it is a web page"),
        ("b.jpg", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg">', "no pixels"),
        ("a.png", b"", "it is empty"),
        ("a.jxl", b"\xff\x0a" + bytes(20), "JPEG XL"),
    ],
)
def test_what_a_file_is_instead_is_said(
    tmp_path: Path, name: str, content: bytes, word: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=word):
        read_image(tmp_path / name)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int16])
def test_samples_of_another_type_are_named(tmp_path: Path, dtype: type, channels: int) -> None:
    path = tmp_path / "a.tif"
    assert cv2.imwrite(str(path), np.full((8, 9, channels), 77, dtype))
    kind = "float" if np.dtype(dtype).kind == "f" else "signed"
    words = rf"has {8 * np.dtype(dtype).itemsize}-bit {kind} samples .*convert it to 8 bits"
    with pytest.raises(BadFile, match=words):
        read_image(path)


def test_floats_are_not_cut_to_a_black_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.pfm"
    done, content = cv2.imencode(".pfm", np.full((8, 9, 3), 0.7, np.float32))
    assert done
    path.write_bytes(content.tobytes())
    with pytest.raises(BadFile, match="32-bit float samples"):
        read_image(path)


def tiff(bits: int, sample_format: int, compression: int = 1) -> bytes:
    """A grey picture of 4 x 3 zeros."""
    data = bytes(4 * 3 * bits // 8)
    fields = {256: 4, 257: 3, 258: bits, 259: compression, 262: 1, 273: 0, 277: 1, 278: 3}
    fields |= {279: len(data), 339: sample_format}
    fields[273] = 8 + 2 + 12 * len(fields) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4) + data


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((64, 6), "64-bit complex samples"),
        ((16, 3), "16-bit float samples"),
        ((4, 1), "4-bit unsigned samples"),
        ((8, 1, 50000), "Zstandard compression"),
    ],
)
def test_what_a_tiff_says_of_itself_is_the_reason(
    tmp_path: Path, arguments: tuple[int, ...], words: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(8, 1))
    assert read_image(path).shape == (3, 4, 3)
    path.write_bytes(tiff(*arguments))
    with pytest.raises(BadFile, match=f"TIFF with {words}"):
        read_image(path)
    # of a damaged one nothing is known
    for cut in range(0, len(path.read_bytes()) - 48, 5):
        path.write_bytes(tiff(*arguments)[:cut])
        with pytest.raises(BadFile, match=r"it is empty|not an image, or damaged|TIFF with"):
            read_image(path)


def test_names_that_no_file_can_have_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="File name too long"):
        read_image(tmp_path / ("x" * 300 + ".jpg"))
    with pytest.raises(AbsentPicture, match="does not exist"):
        read_image(tmp_path / "no.jpg")
    with pytest.raises(BadFile, match="null byte"):
        read_image(tmp_path / "a\0.jpg")


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="Is a directory"):
        read_image(tmp_path)
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    with pytest.raises(BadFile, match="No such file"):
        read_image(tmp_path / "link.jpg")


def test_a_picture_may_come_through_a_pipe(tmp_path: Path) -> None:
    content = cv2.imencode(".png", np.full((9, 8, 3), 5, np.uint8))[1].tobytes()
    out, into = os.pipe()
    try:
        os.write(into, content)
        os.close(into)
        assert read_image(f"/dev/fd/{out}").shape == (9, 8, 3)
    finally:
        os.close(out)


@pytest.mark.skipif(os.geteuid() == 0, reason="not executed here: root may read everything")
def test_a_file_that_may_not_be_read_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(BadFile, match="Permission denied"):
        read_image(path)
