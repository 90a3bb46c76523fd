"""Pictures that declare, or hold, more than they should: refused by their first bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from memory_peak import peak_of

from ssd_small.errors import BadFile, UsageError
from ssd_small.pictures import headers, limits
from ssd_small.pictures.reading import read_image

cv2 = pytest.importorskip("cv2")
PilImage = pytest.importorskip("PIL.Image")

#: bytes that refusing a picture may take, and decoding a few pixels: far less than any bomb here
SMALL = 32 << 20
BOMB = zlib.compress(bytes(1 << 28), 9)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes, beside: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (_chunk(b"IHDR", head), beside, _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _tiff(*more: tuple[int, int, int], side: int = 16) -> bytes:
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in (*tags, *more)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + b"".join(entries) + bytes(200)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        *((ending, {}) for ending in ("png", "jpg", "webp", "gif", "bmp", "tif", "jp2", "ppm")),
        ("jpg", {"progressive": True}),
        ("webp", {"lossless": True}),
        ("avif", {}),
    ],
)
def test_the_size_is_read_off_the_head_of_each_format(tmp_path, pixels, ending, options):
    path = tmp_path / f"a.{ending}"
    try:
        PilImage.fromarray(pixels).save(path, **options)
    except (KeyError, OSError, ValueError) as error:
        pytest.skip(f"this Pillow writes no {ending}: {error}")
    extent = headers.declared_extent(path.read_bytes())
    assert extent is not None
    assert extent[:2] == (80, 60)


@pytest.mark.parametrize("ending", ["hdr", "pfm", "ras", "pam", "pgm", "pbm"])
def test_the_size_is_read_off_what_opencv_writes(tmp_path, pixels, ending):
    path = tmp_path / f"a.{ending}"
    image = pixels.astype(np.float32) if ending in ("hdr", "pfm") else pixels
    image = image[:, :, 0] if ending in ("pgm", "pbm") else image
    kind = [cv2.IMWRITE_PAM_TUPLETYPE, cv2.IMWRITE_PAM_FORMAT_RGB] if ending == "pam" else []
    assert cv2.imwrite(str(path), image, kind)
    extent = headers.declared_extent(path.read_bytes())
    assert extent is not None
    assert extent[:2] == (80, 60)


@pytest.mark.parametrize("most", [60 * 80, 60 * 80 - 1])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tif", "ppm"])
def test_the_limit_is_the_pixels_that_are_decoded(tmp_path, pixels, ending, most):
    path = tmp_path / f"a.{ending}"
    PilImage.fromarray(pixels).save(path)
    if most == 60 * 80:
        assert read_image(path, max_pixels=most).shape == (60, 80, 3)
        return
    with pytest.raises(BadFile, match=f"80x60; at most {most} .* max_pixels 4800"):
        read_image(path, max_pixels=most)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("declared.png", _png(32000, 32000, b"")),
        ("full.png", _png(32000, 32000, BOMB)),
        ("a.bmp", b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 32000, -32000, 1, 24, 0)),
        ("a.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(100)),
        ("a.ppm", b"P6 # a remark\n 32000\n#another\n32000 255\n" + bytes(100)),
        ("a.jpg", b"\xff\xd8\xff\xe0\x00\x02\xff\xff\xc2\x00\x11\x08" + b"\xff" * 4 + b"\3"),
        ("tile.tif", _tiff((322, 4, 1 << 15), (323, 4, 1 << 15), (324, 4, 200), (325, 4, 9))),
        ("large.tif", _tiff((273, 4, 200), (279, 4, 100), side=1 << 15)),
        ("a.jp2", b"\xff\x4f\xff\x51\0\x29\0\0" + struct.pack(">4I", 1 << 16, 1 << 16, 0, 0)
         + bytes(16) + b"\0\3" + bytes(100)),
    ],
)  # fmt: skip
def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)

    def refused() -> None:
        with pytest.raises(BadFile, match="too many pixels"):
            read_image(path)

    refused()
    assert peak_of(refused) < SMALL


@pytest.mark.parametrize(
    "beside",
    [
        _chunk(b"zTXt", b"a\0\0" + BOMB),
        _chunk(b"iCCP", b"a\0\0" + BOMB),
        _chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB),
    ],
)
def test_text_and_colour_profiles_do_not_unfold(tmp_path, beside):
    path = tmp_path / "a.png"
    path.write_bytes(_png(4, 4, zlib.compress(bytes(4 * 13)), beside))
    assert read_image(path).shape == (4, 4, 3)
    assert peak_of(lambda: read_image(path)) < SMALL


def test_a_strip_larger_than_the_picture_takes_no_memory(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(_tiff((278, 4, 0xFFFFFFF0), (273, 4, 200), (279, 4, 0xFFFFFF0)))

    def refused() -> None:
        with pytest.raises(BadFile):
            read_image(path)

    refused()
    assert peak_of(refused) < SMALL


def test_data_made_to_take_time_are_refused(tmp_path, pixels):
    path = tmp_path / "a.png"
    path.write_bytes(_png(4, 4, BOMB))
    with pytest.raises(BadFile, match="more compressed data than it has pixels"):
        read_image(path)
    PilImage.fromarray(pixels).save(tmp_path / "p.jpg", progressive=True)
    content = (tmp_path / "p.jpg").read_bytes()
    scan = content[content.rindex(b"\xff\xda") : -2]
    (tmp_path / "scans.jpg").write_bytes(content[:-2] + 600 * scan + content[-2:])
    with pytest.raises(BadFile, match="too many passes"):
        read_image(tmp_path / "scans.jpg")
    # fewer of them over many pixels
    frame = content.index(b"\xff\xc2")
    large = content[: frame + 5] + struct.pack(">HH", 9500, 9500) + content[frame + 9 : -2]
    (tmp_path / "scans.jpg").write_bytes(large + 60 * scan + content[-2:])
    with pytest.raises(BadFile, match="too many passes"):
        read_image(tmp_path / "scans.jpg")


@pytest.mark.parametrize(
    "content",
    [
        b"P7\nENDHDR\n",
        b"P7\n#" + b"a" * 5000 + b"\nWIDTH 32000\nHEIGHT 32000\nENDHDR\n",
        b"P5\n#" + b"a" * 5000 + b"\n32000 32000 255\n",
        b"P4" + b" " * 5000 + b"32700 32700\n",
        b"#?RADIANCE\n" + b"#\n" * 40_000 + b"\n-Y 32000 +X 32000\n",
    ],
)
def test_a_head_of_text_that_tells_no_size_is_refused(tmp_path, content):
    path = tmp_path / "picture"
    path.write_bytes(content + bytes(1000))
    with pytest.raises(BadFile, match="head does not say how many pixels"):
        read_image(path)


def test_offsets_beyond_any_memory_are_damage(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II+\0\x08\0\0\0" + struct.pack("<Q", 1 << 63) + bytes(100))
    assert headers.declared_extent(path.read_bytes()) is None
    with pytest.raises(BadFile, match="not an image, or damaged"):
        read_image(path)


def test_a_file_of_more_bytes_than_pixels_can_have_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole

    def refused() -> None:
        with pytest.raises(BadFile, match="has more than 2147483648 bytes"):
            read_image(path)

    assert peak_of(refused) < SMALL


def test_the_environment_sets_the_limit_of_all_that_is_read(tmp_path, pixels, monkeypatch):
    path = tmp_path / "a.png"
    PilImage.fromarray(pixels).save(path)
    monkeypatch.setenv(limits.ENVIRONMENT, "4799")
    with pytest.raises(BadFile, match="at most 4799"):
        read_image(path)
    assert read_image(path, max_pixels=4800).shape == (60, 80, 3)
    monkeypatch.setenv(limits.ENVIRONMENT, "many")
    with pytest.raises(UsageError, match="SSD_SMALL_MAX_PIXELS='many'"):
        read_image(path)


@pytest.mark.parametrize("number", [0, -1, 1.5, "9", True])
def test_what_is_no_number_of_pixels_is_refused(number):
    with pytest.raises(UsageError, match="max_pixels"):
        limits.check_max_pixels(number)
