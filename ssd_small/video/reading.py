"""Reads every frame of a video file, and reports frames that are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..files import check_is_file, check_is_readable
from ..pictures.frame import VideoFrame
from ..pictures.limits import most_pixels
from .capture import Clock, Pace, open_capture, quiet_video, rate_of
from .ends import is_cut_off
from .movie_index import MovieIndex, movie_index
from .sources import name_of
from .structure import joined_pictures, structure_from_file

#: seconds, and share of the duration, by which the frames may fall short of the announced duration
_SHORTER, _SHARE = 0.5, 0.1
#: failed grabs in a row after which a file counts as finished: OpenCV's grab fails both at the end
#: and at every packet that it cannot decode, but continues after such a packet
_TRIES = 100
#: containers that state their duration; FFmpeg guesses it for others, and MP4 may hide frames
_SAY_DURATION = (".avi", ".mkv", ".webm")
#: containers with an edit list, which may show several parts
_EDITED = (".mp4", ".m4v", ".mov", ".3gp")
#: seconds by which two values of the same time may differ
_ROUNDING = 5e-4
_EXPECTED = "a video that OpenCV's FFmpeg decodes"


class FileFrames:
    """The frames of a video, in order; can be iterated once.

    Attributes:
        name: name of the source.
        rate: frames per second that come out, as far as known.
        is_live: False; no frame is left out for lack of time.
    """

    is_live = False

    def __init__(
        self, source: Path | str, *, rate: float | None = None, max_pixels: int | None = None
    ) -> None:
        """Open a video.

        Args:
            source: path of a file, or the address of one of finite length.
            rate: frames to take from each second; None for all.
            max_pixels: limit for a frame, see :func:`~ssd_small.pictures.reading.read_image`.

        Raises:
            BadFile: it is absent, not a video that can be decoded, or its frames are too large.
        """
        self.name, self._path = name_of(source), source if isinstance(source, Path) else None
        if self._path is not None:
            check_is_file(self._path, _EXPECTED)
            check_is_readable(self._path, _EXPECTED)
        # FFmpeg never takes a path that begins with a slash for a protocol, whatever its name
        self._opened = os.path.abspath(source) if self._path is not None else str(source)
        self._taken = rate
        with quiet_video() as cv2:
            self._capture = open_capture(cv2, self._opened)
            if self._capture is None:
                raise BadFile(f"cannot read {self.name}: {self._reason()}")
            own = rate_of(cv2, self._capture)
            self.rate = own if rate is None else min(rate, own or rate)
            self._own, self._announced = own, float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
            self._codec = _codec_of(cv2, self._capture)
            size = [int(self._capture.get(one)) for one in _size_of(cv2)]
            if size[0] * size[1] > (most := most_pixels(max_pixels)):
                self._capture.release()
                raise BadFile(
                    f"{self.name} has frames of {size[0]}x{size[1]} pixels, more than the limit of "
                    f"{most}; scale it down, or raise --max-pixels"
                )

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield frame by frame.

        Raises:
            BadFile: frames are missing; raised at the end.
        """
        decoded, first, last = 0, 0.0, 0.0
        pace, clock, has_times = Pace(self._taken), Clock(self._own), False
        with quiet_video() as cv2:
            try:
                while self._grab():
                    said = self._capture.get(cv2.CAP_PROP_POS_MSEC)
                    has_times = has_times or said > 0
                    last = clock(said)
                    first = last if not decoded else first
                    if pace.takes(last - first):
                        fine, pixels = self._capture.retrieve()
                        if fine:
                            yield VideoFrame(pixels, decoded, last - first)
                            del pixels
                    decoded += 1
            finally:
                self._capture.release()
            lost = self._lost(cv2, decoded, (first, last) if has_times else None)
        if lost is not None:
            raise BadFile(lost)

    def _grab(self) -> bool:
        """Advance to the next frame that can be decoded; whether there is one."""
        # each attempt at an address may take seconds
        tries = 1 if self._path is None else _TRIES
        return any(self._capture.grab() for _ in range(tries))

    def _lost(self, cv2: Any, decoded: int, ends: tuple[float, float] | None) -> str | None:
        """A message about missing frames, None if there are none.

        ``ends`` are the times of the first and last decoded frames, None if unknown.
        """
        span = None if ends is None else ends[1] - ends[0]
        announced = self._announced if 0 < self._announced < 1e12 else None
        if self._path is None:
            # counting packets would fetch them all again, so only the duration is checked
            if not decoded:
                return self._nothing()
            says = Path(self.name.split("?")[0]).suffix.lower() in _SAY_DURATION
            return self._short(announced, span, decoded) if says else None
        if is_cut_off(self._path):
            of = f" of the {announced:.0f} that it announces" if announced else ""
            return (
                f"{self.name} ends early: its file is shorter than it says; {decoded} frames could "
                f"be decoded{of}; copy or record it again"
            )
        index = movie_index(self._path)
        # in other containers the announced number is a duration times a rate
        if decoded == announced and (index is not None or self._path.suffix.lower() == ".avi"):
            return None
        structure = structure_from_file(self._path)
        if structure is not None and structure.broken_at is not None:
            of = f" of the {announced:.0f} that it announces" if announced else ""
            return (
                f"{self.name} is damaged at byte {structure.broken_at}: {decoded} frames could be "
                f"decoded{of}; copy or record it again"
            )
        listed = None if structure is None else structure.times
        expected = self._expected(cv2, decoded, index, listed, ends)
        if not decoded:
            if not expected:
                return self._nothing()
            return (
                f"{self.name}: none of its {expected} frames can be decoded; expected a codec of "
                f"OpenCV's FFmpeg, it has {self._codec}: convert it to H.264, or record it again"
            )
        if decoded < expected:
            return (
                f"{self.name} is damaged: {decoded} of {expected} frames could be decoded; copy or "
                "record it again"
            )
        # if all parts of the file are there, a header that announces more is ignored
        return self._short(announced, span, decoded) if structure is None else None

    def _expected(
        self,
        cv2: Any,
        decoded: int,
        index: MovieIndex | None,
        listed: Sequence[float] | None,
        ends: tuple[float, float] | None,
    ) -> int:
        """How many frames to be shown a file has."""
        assert self._path is not None
        pictures = joined_pictures(self._path)
        if pictures is not None:
            count, are_whole = pictures
            # if some are damaged, two pictures may have merged into one
            return count if are_whole else max(count, decoded + 1)
        packets = listed or _packets(cv2, self._opened, self._codec)
        if ends is None or not packets:
            return len(packets)
        if index is None and self._path.suffix.lower() in _EDITED:
            return _in_span(packets, ends[1] - ends[0], self._own)
        if index is None:
            start = ends[0]
            if listed:  # frames shown before the first one of the file need what is not there
                start = max(start + min(listed), listed[0])
            return sum(one >= start - 4 * _ROUNDING for one in packets)
        packets = sorted(packets)
        # the length of an edit is rounded to movie units
        begin, end = index.begin - _ROUNDING, index.begin + (index.length or 1e9) - 4 * _ROUNDING
        shown = sum(begin <= one - packets[0] < end for one in packets)
        return shown + max(0, index.frames - len(packets))

    def _short(self, announced: float | None, span: float | None, decoded: int) -> str | None:
        """A message if decoding ended well before the announced duration; None otherwise.

        It finds files in which the demuxer took damage for the end. An announced number of frames
        may be a guess, but it reflects the duration, unless the sound goes on longer.
        """
        if announced is None or span is None or self._own is None:
            return None
        duration = announced / self._own
        if duration - span - 1 / self._own <= max(_SHORTER, _SHARE * duration):
            return None
        return (
            f"{self.name} is damaged, or its sound goes on: {decoded} frames of {span:.1f} s could "
            f"be decoded, and it announces {duration:.1f} s; copy or record it again"
        )

    def _nothing(self) -> str:
        return f"{self.name} gives no frame that can be decoded; check what is there"

    def _reason(self) -> str:
        if self._path is None:
            return f"it does not answer, or gives no video; expected {_EXPECTED}"
        if is_cut_off(self._path):
            return (
                "it ends early, before what says how to decode it; copy or record it again "
                f"(expected {_EXPECTED})"
            )
        return f"it holds no video that can be decoded; expected {_EXPECTED}"


def _size_of(cv2: Any) -> tuple[int, int]:
    return cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT


def _codec_of(cv2: Any, capture: Any) -> str:
    """The four-letter code of the codec, from the container."""
    letters = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    return "".join(chr(one) if 32 < one < 127 else "?" for one in letters)


def _packets(cv2: Any, opened: str, codec: str) -> list[float]:
    """Times in seconds of the packets that hold a frame to be shown, without decoding them."""
    capture, seconds = open_capture(cv2, opened, packets=True), []
    if capture is not None:
        while capture.grab():
            if codec != "VP80" or _is_shown(capture.retrieve()[1]):
                seconds.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        capture.release()
    return seconds


def _is_shown(packet: Any) -> bool:
    """Whether a VP8 packet is a frame to be shown, not just a reference for others (RFC 6386)."""
    return packet is None or not packet.size or bool(packet.reshape(-1)[0] & 0x10)


def _in_span(packets: Sequence[float], span: float, rate: float | None) -> int:
    """How many packets belong to the frames shown; an edit list may hide those before them."""
    start = max(packets) - span - 0.5 / (rate or 25.0)
    return sum(one >= start for one in packets)
