"""Where the structure of a video's file is broken, though the file is as long as it says.

A demuxer goes on behind what it cannot read, or ends there as at the end, and says nothing: the
frames in between are lost with success. What a container is made of can be walked over without it.
Sources: Matroska's elements (RFC 9559), RIFF chunks, packets of ISO/IEC 13818-1, start codes of
ISO/IEC 14496-10 annex B, markers of ITU-T T.81.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..files import open_file
from .ends import MP4_BEGINS

_EBML = b"\x1a\x45\xdf\xa3"
#: Matroska's segment, cluster and group of blocks, whose parts are walked over as well
_ENTERED = frozenset((0x18538067, 0x1F43B675, 0xA0))
#: parts of these
_KNOWN = frozenset(
    (
        *(0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1254C367),
        *(0x1941A469, 0xEC, 0xBF, 0xE7, 0xA7, 0xAB, 0xA3, 0xAF, 0x5854, 0xA1, 0xA2, 0x9B, 0xFB),
        *(0xFA, 0xFD, 0xA4, 0x75A1, 0x75A2, 0x8E),
    )
)
#: lists of RIFF whose chunks are walked over as well
_LISTS = (b"movi", b"rec ")
#: of a transport stream: bytes from one packet to the next, and before the first
_PACKETS = ((188, 0), (192, 4))
#: no byte stream of H.264 or H.265 has so many zeros on end, and nothing writes so many behind it
_ZEROS = bytes(256)
_RAW = (".h264", ".264", ".h265", ".265", ".hevc")
_BLOCK = 1 << 20
#: of JPEG: where a picture begins and ends, one after another, its content, its size and kind
_BEGIN, _END, _JOINT = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xd9\xff\xd8\xff"
_SCAN, _BASELINE, _OTHERS = b"\xff\xda", b"\xff\xc0", (b"\xff\xc1", b"\xff\xc2")


@dataclass(frozen=True)
class Structure:
    """What a walk over a file has found.

    Attributes:
        broken_at: the first byte that is no part of what it should be made of; None if all are.
    """

    broken_at: int | None


def structure_from_file(path: Path) -> Structure | None:
    """Walk over a file; None for kinds of which nothing is known.

    Args:
        path: of an MP4, QuickTime, Matroska, WebM or AVI file, an MPEG transport stream, or raw
            H.264 or H.265.
    """
    with open_file(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(256)
        if head[:4] == _EBML:
            return Structure(_broken_element(stream, size))
        if head[:4] == b"RIFF":
            return Structure(_broken_chunk(stream, size))
        if head[4:8] in MP4_BEGINS:
            return Structure(_broken_box(stream, size))
        for length, before in _PACKETS:
            if head[before : before + 1] == b"\x47" == head[before + length : before + length + 1]:
                return Structure(_broken_packet(stream, length, before))
        if path.suffix.lower() in _RAW:
            return Structure(_zeros(stream))
    return None


def joined_pictures(path: Path) -> tuple[int, bool] | None:
    """How many pictures a raw Motion JPEG file has, and whether each has its beginning and end.

    None for other files. A picture may hold a small one of itself. What lacks from within one
    picture to within another, with all that is written before a picture's content, is not seen.
    """
    with open_file(path) as stream:
        if stream.read(3) != _BEGIN:
            return None
        stream.seek(0)
        counts = dict.fromkeys((_BEGIN, _END, _JOINT, _SCAN, _BASELINE, *_OTHERS), 0)
        last = b""
        while block := stream.read(_BLOCK):
            for mark in counts:
                # bytes of the block before are looked at again: a find must end in this one
                counts[mark] += (last[1 - len(mark) :] + block).count(mark)
            last = block
    others = sum(counts[one] for one in _OTHERS)
    is_whole = counts[_BEGIN] == counts[_END] == counts[_BASELINE] + others
    if not others:  # a scan each
        is_whole &= counts[_SCAN] == counts[_BEGIN]
    return counts[_JOINT] + 1, is_whole


def _broken_element(stream: BinaryIO, size: int) -> int | None:
    """The first place of a Matroska file where no element begins, or one without an end."""
    place = 0
    while place < size:
        stream.seek(place)
        head = stream.read(12)
        width = 9 - head[0].bit_length() if head[0] else 9
        name = int.from_bytes(head[:width], "big")
        if width > 4 or name not in _KNOWN | _ENTERED or width >= len(head):
            return place
        first = head[width]
        count = 9 - first.bit_length() if first else 9
        if count > 8 or width + count > len(head):
            return place
        begin = place + width + count
        length = int.from_bytes(head[width : width + count], "big") & ~(1 << (7 * count))
        if name in _ENTERED:  # also where its length is unknown
            place = begin
        elif begin + length > size:
            return place
        else:
            place = begin + length
    return None


def _broken_chunk(stream: BinaryIO, size: int) -> int | None:
    """The first place of an AVI file where no chunk begins, or one without an end."""
    place = end = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(12)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"RIFF":
            # a recording has not filled it in
            end = place + 8 + length if length else size
            place += 12
        elif place >= end:  # padding behind the last
            return None
        elif not all(32 <= one < 127 for one in name):
            return place
        elif name == b"LIST" and head[8:12] in _LISTS:
            place += 12
        elif place + 8 + length > size:
            return place
        else:
            place += 8 + length + length % 2
    return None


def _broken_box(stream: BinaryIO, size: int) -> int | None:
    """The first place of an MP4 or QuickTime file where no box begins."""
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if not all(32 <= one < 127 or one == 0xA9 for one in head[4:8]) or 1 < length < 8:
            return place
        if length == 0:  # to the end of the file
            return None
        place += int.from_bytes(head[8:], "big") if length == 1 else length
    return None


def _broken_packet(stream: BinaryIO, length: int, before: int) -> int | None:
    """The first packet of a transport stream without its sync byte, or behind some that lack."""
    place, step = 0, length * (_BLOCK // length)
    lacks: _Lacking | None = None
    stream.seek(0)
    while block := stream.read(step):
        whole = len(block) // length
        packets = np.frombuffer(block, np.uint8, whole * length).reshape(whole, length)[:, before:]
        wrong = np.flatnonzero(packets[:, 0] != 0x47)
        if len(wrong):
            return place + int(wrong[0]) * length
        lacks = lacks or _Lacking(packets)
        first = lacks.first(packets)
        if first is not None:
            return place + first * length
        place += len(block)
    return None


class _Lacking:
    """Finds packets that lack in a transport stream, by the counter of its most frequent kind.

    Those of other kinds, of sound above all, are no frames. Where streams are joined, the counter
    starts anew behind a new table of what there is; what lacks across such a table is not found.

    Args:
        packets: ``[N, 188]`` uint8, the first ones.
    """

    _TABLE, _FILLING = 0, 0x1FFF

    def __init__(self, packets: npt.NDArray[np.uint8]) -> None:
        kinds = self._kinds(packets)
        counts = np.bincount(kinds, minlength=self._FILLING + 1)
        counts[[self._TABLE, self._FILLING]] = 0
        self._kind = int(counts.argmax())
        #: counter of the last one; whether there was a table since then
        self._last, self._has_table = -1, False

    @staticmethod
    def _kinds(packets: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        high: npt.NDArray[np.int64] = packets[:, 1].astype(np.int64) & 0x1F
        return high << 8 | packets[:, 2]

    def first(self, packets: npt.NDArray[np.uint8]) -> int | None:
        """The index of the first packet of a block before which one lacks."""
        kinds = self._kinds(packets)
        # only those with content count
        own = np.flatnonzero((kinds == self._kind) & (packets[:, 3] & 0x10 != 0))
        tables = np.flatnonzero(kinds == self._TABLE)
        if not len(own):
            self._has_table |= len(tables) > 0
            return None
        counters = packets[own, 3].astype(np.int64) & 15
        steps = (counters - np.concatenate([[self._last], counters[:-1]])) % 16
        since = np.diff(np.searchsorted(tables, own), prepend=0)
        since[0] += self._has_table
        # a packet may come twice, and say itself that the counter is another one
        announced = (packets[own, 3] & 0x20 != 0) & (packets[own, 4] > 0) & (packets[own, 5] > 127)
        wrong = (steps > 1) & (since == 0) & ~announced
        wrong[0] &= self._last >= 0
        self._last, self._has_table = int(counters[-1]), bool((tables > own[-1]).any())
        found = np.flatnonzero(wrong)
        return int(own[found[0]]) if len(found) else None


def _zeros(stream: BinaryIO) -> int | None:
    """The first place with more zeros on end than a raw stream has."""
    stream.seek(0)
    place, last = 0, b""
    while block := stream.read(_BLOCK):
        found = (last + block).find(_ZEROS)
        if found >= 0:
            return place - len(last) + found
        last = block[-len(_ZEROS) + 1 :]
        place += len(block)
    return None
