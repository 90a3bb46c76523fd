"""Finds where the structure of a video file is broken although its length is right.

A demuxer silently skips what it cannot read, or stops there as if at the end: frames are lost
without an error. The parts of a container can be walked through without a demuxer. Sources:
Matroska's elements (RFC 9559), RIFF chunks, packets of ISO/IEC 13818-1, start codes of ISO/IEC
14496-10 annex B, markers of ITU-T T.81.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..files import open_file
from .ends import MP4_BEGINS, top_boxes
from .matroska import EBML_BEGIN, MatroskaWalk

#: RIFF lists whose chunks are walked through as well
_LISTS = (b"movi", b"rec ")
#: transport streams: bytes from one packet to the next, and before each sync byte
_PACKETS = ((188, 0), (192, 4))
#: no H.264 or H.265 byte stream has so many zeros in a row, and no writer pads with so many
_ZEROS = bytes(256)
_RAW = (".h264", ".264", ".h265", ".265", ".hevc")
_BLOCK = 1 << 20
#: JPEG markers: beginning and end of a picture, one picture after another, scan, and frame headers
_BEGIN, _END, _JOINT = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xd9\xff\xd8\xff"
_SCAN, _BASELINE, _OTHERS = b"\xff\xda", b"\xff\xc0", (b"\xff\xc1", b"\xff\xc2")


@dataclass(frozen=True)
class Structure:
    """Result of a walk through a file.

    Attributes:
        broken_at: position of the first part that is damaged; None if all parts are whole.
        times: seconds of the frames to be shown; None for kinds of files that a demuxer is asked
            about.
    """

    broken_at: int | None
    times: tuple[float, ...] | None = None


def structure_from_file(path: Path) -> Structure | None:
    """Walk through a file; None for kinds of files that cannot be checked.

    Args:
        path: an MP4, QuickTime, Matroska, WebM or AVI file, an MPEG transport stream, or raw H.264
            or H.265.
    """
    with open_file(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(256)
        if head[:4] == EBML_BEGIN:
            walk = MatroskaWalk(stream, size)
            return Structure(walk.broken_at, tuple(walk.times))
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

    None for other files. A picture may hold a thumbnail of itself. A gap that reaches from inside
    one picture to inside the content of another, and so removes whole headers, is not noticed.
    """
    with open_file(path) as stream:
        if stream.read(3) != _BEGIN:
            return None
        stream.seek(0)
        counts = dict.fromkeys((_BEGIN, _END, _JOINT, _SCAN, _BASELINE, *_OTHERS), 0)
        last = b""
        while block := stream.read(_BLOCK):
            for mark in counts:
                # the last bytes of the previous block are included, for marks across the border
                counts[mark] += (last[1 - len(mark) :] + block).count(mark)
            last = block
    others = sum(counts[one] for one in _OTHERS)
    is_whole = counts[_BEGIN] == counts[_END] == counts[_BASELINE] + others
    if not others:  # baseline pictures have one scan each
        is_whole &= counts[_SCAN] == counts[_BEGIN]
    return counts[_JOINT] + 1, is_whole


def _broken_chunk(stream: BinaryIO, size: int) -> int | None:
    """The first position in an AVI file where no chunk begins, or one lacks its end."""
    place = end = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(12)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"RIFF":
            # an interrupted recording leaves the length 0
            end = place + 8 + length if length else size
            place += 12
        elif place >= end:  # padding after the last chunk
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
    """The first position in an MP4 or QuickTime file where no box begins."""
    for place, name, length in top_boxes(stream, size):
        if not length or not all(32 <= one < 127 or one == 0xA9 for one in name):
            return place
    return None


def _broken_packet(stream: BinaryIO, length: int, before: int) -> int | None:
    """The first transport stream packet without its sync byte, or after missing packets."""
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
    """Finds missing packets in a transport stream, by the counter of its most frequent kind.

    Packets of other kinds, above all sound, hold no frames. Where streams are joined, the counter
    starts again after a new program table; packets missing across such a table are not found.

    Args:
        packets: ``[N, 188]`` uint8, the first packets.
    """

    _TABLE, _FILLING = 0, 0x1FFF

    def __init__(self, packets: npt.NDArray[np.uint8]) -> None:
        kinds = self._kinds(packets)
        counts = np.bincount(kinds, minlength=self._FILLING + 1)
        counts[[self._TABLE, self._FILLING]] = 0
        self._kind = int(counts.argmax())
        #: counter of the last packet of this kind; whether a table came after it
        self._last, self._has_table = -1, False

    @staticmethod
    def _kinds(packets: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        high: npt.NDArray[np.int64] = packets[:, 1].astype(np.int64) & 0x1F
        return high << 8 | packets[:, 2]

    def first(self, packets: npt.NDArray[np.uint8]) -> int | None:
        """Index of the first packet in a block that follows a missing one."""
        kinds = self._kinds(packets)
        # only packets with a payload advance the counter
        own = np.flatnonzero((kinds == self._kind) & (packets[:, 3] & 0x10 != 0))
        tables = np.flatnonzero(kinds == self._TABLE)
        if not len(own):
            self._has_table |= len(tables) > 0
            return None
        counters = packets[own, 3].astype(np.int64) & 15
        steps = (counters - np.concatenate([[self._last], counters[:-1]])) % 16
        since = np.diff(np.searchsorted(tables, own), prepend=0)
        since[0] += self._has_table
        # a packet may come twice, or announce itself that the counter is discontinuous
        announced = (packets[own, 3] & 0x20 != 0) & (packets[own, 4] > 0) & (packets[own, 5] > 127)
        wrong = (steps > 1) & (since == 0) & ~announced
        wrong[0] &= self._last >= 0
        self._last, self._has_table = int(counters[-1]), bool((tables > own[-1]).any())
        found = np.flatnonzero(wrong)
        return int(own[found[0]]) if len(found) else None


def _zeros(stream: BinaryIO) -> int | None:
    """The first position with more zeros in a row than a raw stream has."""
    stream.seek(0)
    place, last = 0, b""
    while block := stream.read(_BLOCK):
        found = (last + block).find(_ZEROS)
        if found >= 0:
            return place - len(last) + found
        last = block[-len(_ZEROS) + 1 :]
        place += len(block)
    return None
