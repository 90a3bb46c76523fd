"""Walks through the elements of a Matroska or WebM file, without a demuxer (RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

EBML_BEGIN = b"\x1a\x45\xdf\xa3"
#: segment, cluster and block group, whose parts are walked through as well
_ENTERED = frozenset((0x18538067, 0x1F43B675, 0xA0))
_INFO, _TRACKS, _CLUSTER_TIME, _BLOCKS = 0x1549A966, 0x1654AE6B, 0xE7, (0xA3, 0xA1)
#: elements that may occur in a file and in these
_KNOWN = _ENTERED | frozenset(
    (
        *(0x1A45DFA3, 0x114D9B74, _INFO, _TRACKS, 0x1C53BB6B, 0x1043A770, 0x1254C367),
        *(0x1941A469, 0xEC, 0xBF, _CLUSTER_TIME, 0xA7, 0xAB, 0xAF, 0x5854, *_BLOCKS, 0xA2, 0x9B),
        *(0xFB, 0xFA, 0xFD, 0xA4, 0x75A1, 0x75A2, 0x8E),
    )
)
#: in Info: nanoseconds of a unit of time; in Tracks: a track, its number, kind and codec
_SCALE, _TRACK, _NUMBER, _KIND, _CODEC = 0x2AD7B1, 0xAE, 0xD7, 0x83, 0x86
_VIDEO = 1
#: Info and Tracks hold a few short values; more is damage
_MOST = 1 << 24


class MatroskaWalk:
    """What a walk through a file finds.

    Attributes:
        broken_at: the first position where no element begins, or one lacks its end; None if there
            is none.
        times: seconds of the frames of the first video track that are to be shown, in the order of
            the file.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.broken_at: int | None = None
        self.times: list[float] = []
        self._scale, self._track, self._is_vp8 = 1_000_000, 0, False
        self._walk(stream, size)

    def _walk(self, stream: BinaryIO, size: int) -> None:
        place = cluster = 0
        while place < size:
            stream.seek(place)
            # the longest head of an element, and that of a block
            head = stream.read(24)
            found = _head(head)
            if found is None or found[0] not in _KNOWN:
                self.broken_at = place
                return
            name, width, length = found
            begin = place + width
            if name in _ENTERED:  # even if its length is unknown
                place = begin
                continue
            if begin + length > size:
                self.broken_at = place
                return
            if name == _CLUSTER_TIME:
                cluster = int.from_bytes(head[width : width + length], "big")
            elif name in _BLOCKS:
                self._block(head[width : width + length], cluster)
            elif name in (_INFO, _TRACKS) and length < _MOST:
                stream.seek(begin)
                self._facts(stream.read(length))
            place = begin + length

    def _facts(self, content: bytes) -> None:
        """Take the unit of time and the first video track from Info and Tracks."""
        for name, value in _children(content):
            if name == _SCALE:
                self._scale = int.from_bytes(value, "big") or self._scale
            elif name == _TRACK and not self._track:
                track = dict(_children(value))
                if int.from_bytes(track.get(_KIND, b""), "big") == _VIDEO:
                    self._track = int.from_bytes(track.get(_NUMBER, b""), "big")
                    self._is_vp8 = track.get(_CODEC, b"").startswith(b"V_VP8")

    def _block(self, head: bytes, cluster: int) -> None:
        width, number = _vint(head, 0)
        if not width or number != self._track or len(head) < width + 4:
            return
        # frames that only other frames refer to (RFC 6386, 9.1)
        if self._is_vp8 and not head[width + 3] & 0x10:
            return
        since = int.from_bytes(head[width : width + 2], "big", signed=True)
        self.times.append((cluster + since) * self._scale / 1e9)


def _head(head: bytes) -> tuple[int, int, int] | None:
    """Id of an element, bytes of its head, and bytes of its content; None if it is none."""
    width = 9 - head[0].bit_length() if head and head[0] else 9
    count, length = _vint(head, width)
    if width > 4 or not count:
        return None
    return int.from_bytes(head[:width], "big"), width + count, length


def _vint(content: bytes, place: int) -> tuple[int, int]:
    """Bytes and value of a number of variable length; (0, 0) if there is none."""
    first = content[place] if place < len(content) else 0
    count = 9 - first.bit_length() if first else 9
    if count > 8 or place + count > len(content):
        return 0, 0
    value = int.from_bytes(content[place : place + count], "big")
    return count, value & ~(1 << (7 * count))


def _children(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(content):
        found = _head(content[place : place + 12])
        if found is None:
            return
        name, width, length = found
        yield name, content[place + width : place + width + length]
        place += width + length
