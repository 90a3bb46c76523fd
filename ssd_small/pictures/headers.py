"""The sizes that picture files declare, read from their headers before anything is decoded.

Each format that OpenCV reads, by its own specification: PNG (ISO 15948), JPEG (ITU-T T.81), TIFF 6,
WebP (RFC 9649), BMP, GIF89a, JPEG 2000 (ITU-T T.800), AVIF, netpbm, Sun raster, Radiance and
OpenEXR. If a file declares several sizes, the largest counts, since a decoder may use any of them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from .tiff import MARKS, extent_of_tiff

#: width, height, bytes per pixel during decoding
Extent = tuple[int, int, int]

#: JPEG markers that start a frame (C4, C8 and CC mean something else)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_SCAN, _END, _PROGRESSIVE = 0xDA, 0xD9, frozenset((0xC2, 0xC6, 0xCA, 0xCE))
#: largest number of passes over the pixels in a progressive JPEG; encoders make about ten
_MOST_SCANS = 500
#: largest number of pixels in all passes together: the usual ten, over twice the default limit
_MOST_PASSED = 20 << 28
#: bytes that compressed data may take beside its pixels: headers, checksums
_SPARE = 1 << 16
#: bytes in which to look for the header fields of a format
_HEAD = 4096
#: beginnings of formats whose headers are text of any length
_TEXT_HEADS = (*(b"P%d" % kind for kind in range(1, 8)), b"PF", b"Pf", b"#?")
_NUMBERS = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(\d+)")


def declared_extent(content: bytes) -> Extent | None:
    """The largest extent that a file declares; None if its format is unknown or it is damaged."""
    for offset, mark, reader in _READERS:
        if content.startswith(mark, offset):
            try:
                return max(reader(content), key=lambda one: one[0] * one[1] * one[2], default=None)
            except (struct.error, ValueError, LookupError, OverflowError):
                return None
    return None


def fault_from_work(content: bytes) -> str | None:
    """Why decoding a file would take too long for its size; None if it would not."""
    if content.startswith(b"\xff\xd8") and _takes_many_passes(content):
        return "it is a JPEG of too many passes over its pixels"
    if content.startswith(_TEXT_HEADS) and declared_extent(content) is None:
        return "its head does not say how many pixels it has"
    if content.startswith(b"\x89PNG") and _is_overfull(content):
        return "it is a PNG with more compressed data than it has pixels"
    return None


def _takes_many_passes(content: bytes) -> bool:
    # the marker does not occur within compressed data
    scans = content.count(b"\xff\xda")
    width, height, _ = declared_extent(content) or (0, 0, 0)
    return scans > _MOST_SCANS or scans * width * height > _MOST_PASSED


def _is_overfull(content: bytes) -> bool:
    """Whether a PNG has far more compressed data, all of which is inflated, than raw pixels."""
    try:
        width, height, bits, kind = struct.unpack_from(">IIBB", content, 16)
        at, held = 8, 0
        while at + 8 <= len(content):
            (size,) = struct.unpack_from(">I", content, at)
            held += size if content[at + 4 : at + 8] == b"IDAT" else 0
            at += 12 + size
    except struct.error:
        return False
    row = -(-width * bits * {2: 3, 4: 2, 6: 4}.get(kind, 1) // 8) + 1
    return bool(held > 2 * row * height + _SPARE)


def _png(content: bytes) -> Iterator[Extent]:
    width, height, bits, kind = struct.unpack_from(">IIBB", content, 16)
    yield width, height, {2: 3, 6: 4, 4: 2}.get(kind, 1) * max(bits // 8, 1)


def _jpeg(content: bytes) -> Iterator[Extent]:
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        marker = content[at + 1]
        if marker in (0, 0xFF):
            at += 1 + (marker == 0)
        elif marker in _ALONE:
            at += 2
        elif marker in (_SCAN, _END):
            return
        else:
            if marker in _FRAMES:
                height, width, planes = struct.unpack_from(">HHB", content, at + 5)
                # progressive decoding keeps a 16-bit coefficient per sample beside the pixels
                yield width, height, 3 + (2 * planes if marker in _PROGRESSIVE else 0)
            at += 2 + max(struct.unpack_from(">H", content, at + 2)[0], 2)


def _tiff(content: bytes) -> Iterator[Extent]:
    extent = extent_of_tiff(content)
    if extent is not None:
        yield extent


def _webp(content: bytes) -> Iterator[Extent]:
    kind, data = content[12:16], 20
    if kind == b"VP8X":
        sides = content[data + 4 : data + 10]
        yield int.from_bytes(sides[:3], "little") + 1, int.from_bytes(sides[3:], "little") + 1, 4
    for found in re.finditer(b"VP8[ L]", content[:_HEAD]):
        at = found.start() + 8
        if found[0] == b"VP8L" and content[at] == 0x2F:
            (bits,) = struct.unpack_from("<I", content, at + 1)
            yield (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 4
        elif content[at + 3 : at + 6] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", content, at + 6)
            yield width & 0x3FFF, height & 0x3FFF, 4


def _bmp(content: bytes) -> Iterator[Extent]:
    (size,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", content, 18)
    yield abs(width), abs(height), 4


def _gif(content: bytes) -> Iterator[Extent]:
    yield (*struct.unpack_from("<HH", content, 6), 4)


def _jpeg_2000(content: bytes) -> Iterator[Extent]:
    at = content.find(b"\xff\x4f\xff\x51")
    if at < 0:
        return
    right, lower, left, upper = struct.unpack_from(">IIII", content, at + 8)
    (planes,) = struct.unpack_from(">H", content, at + 40)
    # the decoder keeps 32 bits per sample
    yield max(right - left, 0), max(lower - upper, 0), 4 * max(planes, 1)


def _avif(content: bytes) -> Iterator[Extent]:
    for found in re.finditer(b"ispe\0\0\0\0", content):
        yield (*struct.unpack_from(">II", content, found.end()), 8)


def _netpbm(content: bytes) -> Iterator[Extent]:
    at, sides = 2, []
    for _ in range(2):
        found = _NUMBERS.match(content, at, at + _HEAD)
        if found is None:
            return
        sides.append(int(found[1]))
        at = found.end()
    yield sides[0], sides[1], 12 if content[1:2] in b"Ff" else 6


def _pam(content: bytes) -> Iterator[Extent]:
    said = dict(re.findall(rb"^(WIDTH|HEIGHT|DEPTH)\s+(\d{1,19})", content[:_HEAD], re.MULTILINE))
    yield int(said[b"WIDTH"]), int(said[b"HEIGHT"]), 2 * int(said.get(b"DEPTH", b"3"))


def _sun_raster(content: bytes) -> Iterator[Extent]:
    yield (*struct.unpack_from(">II", content, 4), 4)


def _radiance(content: bytes) -> Iterator[Extent]:
    found = re.search(rb"\n[-+]Y +(\d{1,19}) +[-+]X +(\d{1,19})", content[: 16 * _HEAD])
    if found is not None:
        yield int(found[2]), int(found[1]), 12


def _open_exr(content: bytes) -> Iterator[Extent]:
    for found in re.finditer(b"(?:dataWindow|displayWindow)\0box2i\0....", content, re.DOTALL):
        left, upper, right, lower = struct.unpack_from("<iiii", content, found.end())
        yield max(right - left + 1, 0), max(lower - upper + 1, 0), 12


_READERS: tuple[tuple[int, bytes, Callable[[bytes], Iterator[Extent]]], ...] = (
    (0, b"\x89PNG", _png),
    (0, b"\xff\xd8", _jpeg),
    *((0, mark, _tiff) for mark in MARKS),
    (8, b"WEBP", _webp),
    (0, b"BM", _bmp),
    (0, b"GIF8", _gif),
    (4, b"jP  ", _jpeg_2000),
    (0, b"\xff\x4f\xff\x51", _jpeg_2000),
    (4, b"ftyp", _avif),
    *((0, b"P%c" % kind, _netpbm) for kind in b"123456Ff"),
    (0, b"P7", _pam),
    (0, b"\x59\xa6\x6a\x95", _sun_raster),
    (0, b"#?R", _radiance),
    (0, b"\x76\x2f\x31\x01", _open_exr),
)
