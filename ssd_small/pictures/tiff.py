"""What a TIFF file says of its first picture: its size, and why a codec does not read it."""

from __future__ import annotations

import mmap
import struct

#: how files begin, of the classic form and of BigTIFF
MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _COMPRESSION, _SAMPLE_FORMAT = 258, 259, 339
_WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 277, 322, 323
_TAGS = frozenset(
    (_BITS, _COMPRESSION, _SAMPLE_FORMAT, _WIDTH, _HEIGHT, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT)
)
#: types of fields with whole numbers, signed ones too: bytes and how struct names them
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
#: entries of a directory that libtiff takes
_MOST_ENTRIES = 4096
_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
#: compressions that codecs are often built without
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
    """Such as ``64-bit complex samples`` or ``Zstandard compression``, of the first picture.

    None where a file is no TIFF, is damaged, or has 8 or 16 bits compressed as usual.
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
    """Width, height and bytes of a pixel; a tile that is larger than the picture counts instead.

    None where a file is no TIFF, or is damaged.
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
    """The first directory's fields that hold whole numbers; of one that stands twice, all of them.

    Raises:
        struct.error, KeyError, OverflowError: that is not TIFF, or not whole.
    """
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    version = struct.unpack_from(f"{order}H", content, 2)[0]
    # the classic form, and BigTIFF with 8 bytes for counts and places
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
