"""What a TIFF file says about its first picture: its size, and why a codec cannot read it."""

from __future__ import annotations

import mmap
import struct

#: beginnings of files, in the classic form and in BigTIFF
MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COMPRESSION, _SAMPLE_FORMAT = 258, 259, 339
_WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 277, 322, 323
_TAGS = frozenset(
    (_BITS, _COMPRESSION, _SAMPLE_FORMAT, _WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT)
)
#: field types of whole numbers, signed ones too: their bytes and struct letters
_WHOLE = {
    1: (1, "B"),
    3: (2, "H"),
    4: (4, "I"),
    16: (8, "Q"),
    6: (1, "B"),
    8: (2, "H"),
    9: (4, "I"),
    17: (8, "Q"),
}
#: most entries of a directory that libtiff accepts
_MOST_ENTRIES = 4096
_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
#: compressions without which codecs are often built
_COMPRESSIONS = {
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
}


def kind_of_tiff(content: bytes) -> str | None:
    """What is unusual in the first picture, such as ``64-bit complex samples``.

    None if a file is not TIFF, is damaged, or has unsigned 8 or 16 bits in a usual compression.
    """
    try:
        fields = _fields(content)
    except (struct.error, KeyError, OverflowError):
        return None
    (compression,) = fields.get(_COMPRESSION, (1,))[:1] or (1,)
    if compression in _COMPRESSIONS:
        return f"{_COMPRESSIONS[compression]} compression"
    bits = max(fields.get(_BITS, (1,)), default=1)
    kind = _FORMATS.get(max(fields.get(_SAMPLE_FORMAT, (1,)), default=1), "undefined")
    if kind == "unsigned" and bits in (8, 16):
        return None
    return f"{bits}-bit {kind} samples"


def extent_of_tiff(content: bytes | mmap.mmap) -> tuple[int, int, int] | None:
    """Width, height and bytes per pixel; those of a tile if it is larger than the picture.

    None if a file is not TIFF or is damaged.
    """
    try:
        fields = _fields(content)
    except (struct.error, KeyError, OverflowError):
        return None
    width, height, across, down, samples, bits = (
        max(fields.get(tag, (0,)), default=0)
        for tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _SAMPLES, _BITS)
    )
    size = (across, down) if across * down > width * height else (width, height)
    return (*size, max(samples, 1) * max(-(-bits // 8), 1))


def _fields(content: bytes | mmap.mmap) -> dict[int, tuple[int, ...]]:
    """The first directory's fields of whole numbers; the values of repeated fields are joined.

    Raises:
        struct.error, KeyError, OverflowError: the file is not TIFF, or is not complete.
    """
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    version = struct.unpack_from(f"{order}H", content, 2)[0]
    # the classic form, and BigTIFF with 8 bytes for counts and offsets
    place, count, start, size = {42: ("I", "H", 4, 12), 43: ("Q", "Q", 8, 20)}[version]
    (directory,) = struct.unpack_from(f"{order}{place}", content, start)
    (entries,) = struct.unpack_from(f"{order}{count}", content, directory)
    first = directory + struct.calcsize(f"{order}{count}")
    fields: dict[int, tuple[int, ...]] = {}
    inside = struct.calcsize(f"{order}{place}")
    for at in range(first, first + min(entries, _MOST_ENTRIES) * size, size):
        tag, kind, number = struct.unpack_from(f"{order}HH{place}", content, at)
        if kind not in _WHOLE or tag not in _TAGS:
            continue
        width, letter = _WHOLE[kind]
        value = at + 4 + inside
        if number * width > inside:
            (value,) = struct.unpack_from(f"{order}{place}", content, value)
        found = struct.unpack_from(f"{order}{min(number, 16)}{letter}", content, value)
        fields[tag] = (*fields.get(tag, ()), *found)
    return fields
