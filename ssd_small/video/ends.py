"""Checks whether a video file ends where its container says that it ends.

A container's number of frames may be a guess (for Matroska, the duration times the rate), and an
edit list hides frames. Sizes are not guesses: a file that was cut off while it was copied or
recorded is shorter than its boxes, chunks or packets say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..files import open_file

#: names of boxes with which MP4 and QuickTime files begin
MP4_BEGINS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_TS_PACKET = 188


def is_cut_off(path: Path) -> bool:
    """Whether a video's container reaches beyond the end of its file.

    Raw streams do not state their length; only a Motion JPEG without its final end marker is seen.
    """
    with open_file(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(_TS_PACKET + 1)
        if head[4:8] in MP4_BEGINS:
            return _boxes_end(stream, size) > size
        if head[:4] == b"RIFF":
            return _chunks_end(stream, size) > size
        if head[:4] == _EBML:
            return _segment_end(head) > size
        if head[:1] == b"\x47" and head[_TS_PACKET:] == b"\x47":
            return size % _TS_PACKET != 0
        if head[:3] == b"\xff\xd8\xff":
            stream.seek(max(0, size - 4096))
            return not stream.read().rstrip(b"\0\n").endswith(b"\xff\xd9")
    return False


def top_boxes(stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Position, name and length of the outermost boxes of MP4 or QuickTime.

    A length of 0 is the last one: no box begins there. One that lasts to the end of the file has
    the bytes that are left. Some writers end with four zero bytes; too few for a box are ignored.
    """
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:
            length = size - place
        yield place, head[4:8], length if length >= 8 else 0
        if length < 8:
            return
        place += length


def _boxes_end(stream: BinaryIO, size: int) -> int:
    """End of the last box of MP4 or QuickTime, or of the first one that exceeds the file."""
    return max((place + length for place, _, length in top_boxes(stream, size)), default=0)


def _chunks_end(stream: BinaryIO, size: int) -> int:
    """End of the last RIFF chunk of an AVI file; large files have several."""
    place = 0
    while place + 12 <= size:
        stream.seek(place)
        head = stream.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 2**32 - 1):  # not filled in: a recording
            return place
        place += 8 + length
    return place


def _segment_end(head: bytes) -> int:
    """End of the segment of a Matroska file; 0 if the file does not state it."""
    _, start, length = _number(head, 4)
    segment = start + length
    if head[segment : segment + 4] != _SEGMENT:
        return 0
    unknown, start, length = _number(head, segment + 4)
    return 0 if unknown else start + length


def _number(head: bytes, place: int) -> tuple[bool, int, int]:
    """An EBML number: whether it means "unknown", where it ends, and its value."""
    first = head[place] if place < len(head) else 0
    width = 9 - first.bit_length()
    if not first or place + width > len(head):
        return True, place, 0
    value = int.from_bytes(head[place : place + width], "big") & ~(1 << (7 * width))
    return value == (1 << (7 * width)) - 1, place + width, value
