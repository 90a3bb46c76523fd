"""The index of an MP4 or QuickTime file: how many frames it has, and which of them are shown.

An edit list may hide frames at both ends. Source: ISO/IEC 14496-12, 8.6.6 (edit list), 8.6.1.3
(composition times), 8.7.3 (sample sizes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..files import open_file
from .ends import top_boxes

#: largest index of a movie, in bytes; the index of ten hours takes 20 MB
_MOST = 1 << 28
_ENTERED = (b"moov", b"moof", b"traf", b"trak", b"edts", b"mdia", b"minf", b"stbl")


@dataclass(frozen=True)
class MovieIndex:
    """Index of a file's first video track.

    Attributes:
        frames: number of frames that the file lists, including those in its fragments.
        begin: seconds from the first frame of the track to the first that is shown.
        length: seconds that are shown; None for all to the end.
    """

    frames: int
    begin: float
    length: float | None


def movie_index(path: Path) -> MovieIndex | None:
    """The index of a file; None if it has none, has no video track, or shows several parts."""
    movie_scale, track, found = 0, _Track(), None
    for name, box in (one for content in _contents(path) for one in _boxes(content)):
        if name == b"mvhd":
            movie_scale = _scale(box)
        elif name == b"trak":
            track = _Track()
        elif name == b"hdlr" and box[8:12] == b"vide" and found is None:
            found = track
        elif name == b"tfhd":  # the track that a fragment belongs to
            track.fragment = int.from_bytes(box[4:8], "big")
        elif name == b"trun" and found is not None and track.fragment == found.number:
            found.frames += int.from_bytes(box[4:8], "big")
        else:
            track.take(name, box)
    if found is None or not found.scale or not movie_scale:
        return None
    # an empty edit only delays the track, so it is left out
    shown = [(length, time) for length, time in found.edits if time >= 0]
    if len(shown) > 1:
        return None
    length, time = shown[0] if shown else (0, found.delay)
    begin = (time - found.delay) / found.scale
    return MovieIndex(found.frames, begin, length / movie_scale if length else None)


@dataclass
class _Track:
    """Values from the boxes of a track, in the track's own units."""

    number: int = 0
    scale: int = 0
    delay: int = 0
    frames: int = 0
    fragment: int = 0
    edits: list[tuple[int, int]] = field(default_factory=list)

    def take(self, name: bytes, box: bytes) -> None:
        if name == b"tkhd":
            begin = 20 if box[:1] == b"\x01" else 12
            self.number = int.from_bytes(box[begin : begin + 4], "big")
        elif name == b"mdhd":
            self.scale = _scale(box)
        elif name == b"elst":
            self.edits = _edits(box)
        elif name == b"ctts" and len(box) >= 16:
            self.delay = int.from_bytes(box[12:16], "big", signed=True)
        elif name in (b"stsz", b"stz2"):
            self.frames = int.from_bytes(box[8:12], "big")


def _contents(path: Path) -> Iterator[bytes]:
    """The boxes that index a file: one for the whole file, and one for each fragment."""
    with open_file(path) as stream:
        size = stream.seek(0, 2)
        for place, name, length in top_boxes(stream, size):
            if name in (b"moov", b"moof") and 0 < length < _MOST:
                stream.seek(place)
                yield stream.read(length)


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of every box, outermost first; boxes that hold others have no content."""
    place = 0
    while place + 8 <= len(content):
        length, name = int.from_bytes(content[place : place + 4], "big"), content[place + 4 :][:4]
        if length < 8:
            return
        inner = content[place + 8 : place + length]
        if name in _ENTERED:
            yield name, b""
            yield from _boxes(inner)
        else:
            yield name, inner
        place += length


def _scale(box: bytes) -> int:
    """Units per second, from the header of a movie or track."""
    begin = 20 if box[:1] == b"\x01" else 12
    return int.from_bytes(box[begin : begin + 4], "big")


def _edits(box: bytes) -> list[tuple[int, int]]:
    """Edits: length in movie units, and start time in track units, -1 for an empty edit."""
    width = 8 if box[:1] == b"\x01" else 4
    edits = []
    for i in range(int.from_bytes(box[4:8], "big")):
        one = box[8 + i * (2 * width + 4) :][: 2 * width]
        if len(one) < 2 * width:
            break
        time = int.from_bytes(one[width:], "big", signed=True)
        edits.append((int.from_bytes(one[:width], "big"), time))
    return edits
