"""detect on pictures of unusual kinds, and on files that are none."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
PilImage = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Readable pictures, all 80 x 60 unless the name says otherwise."""
    folder = tmp_path_factory.mktemp("odd")
    pixels = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    wide = pixels.astype(np.uint16) * 257
    for name, array in {
        "gray.png": pixels[:, :, 0],
        "rgba.png": np.dstack([pixels, pixels[:, :, 0]]),
        "16bit.png": wide,
        "16bit-gray.png": wide[:, :, 0],
        "1x1.png": pixels[:1, :1],
        "10000x10.png": np.zeros((10, 10000, 3), np.uint8),
        "1x10000.png": np.zeros((10000, 1, 3), np.uint8),
    }.items():
        assert cv2.imwrite(str(folder / name), array)
    picture, second = PilImage.fromarray(pixels), PilImage.fromarray(pixels[::-1])
    exif = PilImage.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees to view
    picture.save(folder / "60x80-exif.jpg", exif=exif)
    picture.save(folder / "white space, ünï ☃.jpg")
    for mode, name in (("CMYK", "cmyk.jpg"), ("P", "palette.png"), ("1", "bit.png")):
        picture.convert(mode).save(folder / name)
    for kind in ("gif", "webp", "png"):
        picture.save(folder / f"animated.{kind}", save_all=True, append_images=[second])
    return folder


@pytest.mark.slow
def test_every_readable_kind_is_detected_on(call, engine, odd, tmp_path):
    outcome = call(
        *("detect", "--engine", engine, odd, "--output", tmp_path / "out", "--json")
    ).fits()
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    entries = {entry["image"].rpartition("/")[2]: entry for entry in rows}
    assert set(entries) == {path.name for path in odd.iterdir()}
    sizes = {"1x1.png": (1, 1), "10000x10.png": (10000, 10), "1x10000.png": (1, 10000)}
    sizes["60x80-exif.jpg"] = (60, 80)
    for name, entry in entries.items():
        assert (entry["width"], entry["height"]) == sizes.get(name, (80, 60)), name
    pictures = [entry["picture"] for entry in entries.values()]
    assert len(set(pictures)) == len(pictures) == len(list((tmp_path / "out").iterdir()))
    (line,) = outcome.err.splitlines()
    assert "images have as many detections as decode + NMS keep (keep_topk 200)" in line


def test_values_of_the_kinds_that_are_converted(odd):
    from ssd_small.pictures.reading import read_image

    plain = read_image(odd / "animated.png")
    assert np.array_equal(read_image(odd / "16bit.png"), read_image(odd / "rgba.png"))
    gray = read_image(odd / "gray.png")
    assert np.array_equal(gray, np.repeat(gray[:, :, :1], 3, axis=2))
    assert plain.shape == read_image(odd / "cmyk.jpg").shape == (60, 80, 3)


def _png_header(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture
def bad(tmp_path, odd):
    """Files that cannot be decoded."""
    folder = tmp_path / "bad"
    folder.mkdir()
    jpeg, png = (odd / "cmyk.jpg").read_bytes(), (odd / "rgba.png").read_bytes()
    for name, content in {
        "zero.jpg": b"",
        "text.jpg": b"hello",
        "start.jpg": jpeg[:8],
        "half.png": png[: len(png) // 2],
        "header.png": png[:40],
        "bomb.png": _png_header(60000),
    }.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("zero.jpg", "it is empty"),
        ("text.jpg", "not an image"),
        ("start.jpg", "cut off"),
        ("half.png", "not an image, or damaged"),
        ("header.png", "not an image, or damaged"),
        ("bomb.png", "too many pixels"),
    ],
)
def test_unreadable_picture(name, word, call, engine, bad):
    outcome = call("detect", "--engine", engine, bad / name)
    outcome.fails(4, name, word)
    # libpng writes a remark of its own past every switch of OpenCV
    remarks = [line for line in outcome.err.splitlines() if not line.startswith("libpng")]
    assert len(remarks) == 1


def test_readable_pictures_are_done_all_the_same(call, engine, bad, pictures):
    outcome = call("detect", "--engine", engine, bad, pictures, "--json")
    outcome.fails(4, "6 of 8 images")
    assert sum("cannot decode image" in line for line in outcome.err.splitlines()) == 6
    entries = [json.loads(line) for line in outcome.out.splitlines()]
    assert [e["image"][-5:] for e in entries if "error" not in e] == ["a.jpg", "b.png"]
    failed = [entry for entry in entries if "error" in entry]
    assert all(set(entry) == {"image", "error"} for entry in failed)
    assert [Path(e["image"]).name for e in failed] == sorted(p.name for p in bad.iterdir())


def test_unreadable_by_permission(call, engine, pictures, monkeypatch):
    whole = os.open

    def refuse(path: str, *arguments: int, **named: int) -> int:
        if str(path).endswith(".jpg"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *arguments, **named)

    # root may read anything, so the answer of the system is given here
    monkeypatch.setattr(os, "open", refuse)
    call("detect", "--engine", engine, pictures / "a.jpg").fails(4, "a.jpg", "Permission denied")


def test_empty_folder_and_missing_picture(call, engine, tmp_path):
    call("detect", "--engine", engine, tmp_path).fails(4, "holds no image", ".jpg")
    call("detect", "--engine", engine, tmp_path / "no.jpg").fails(4, "no.jpg", "does not exist")
