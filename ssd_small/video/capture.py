"""Access to OpenCV's FFmpeg without its messages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..pictures.remarks import without_remarks
from ..requirements import require

#: FFmpeg's log level "quiet", and OpenCV's "silent"
_QUIET, _SILENT = "-8", 0
#: milliseconds that a network source may take to open, or to send its next bytes
_PATIENCE = 10_000


@contextmanager
def quiet_video() -> Iterator[Any]:
    """Yield OpenCV, with its video libraries silenced while the block runs.

    FFmpeg reads its log level from the environment on first use; a level set by the user is kept.
    In the command line, C's ``stderr`` is muted as well, since some lines ignore every level.

    Raises:
        MissingRequirement: OpenCV is not installed.
    """
    cv2 = require("cv2", "reading videos")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _QUIET)
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    try:
        with without_remarks():
            yield cv2
    finally:
        log.setLogLevel(level)


def open_capture(cv2: Any, source: int | str, *, packets: bool = False) -> Any:
    """A ``cv2.VideoCapture`` of a camera, an address or an absolute path; None if it fails.

    Args:
        cv2: the module from :func:`quiet_video`.
        source: what to open.
        packets: do not decode; every ``grab`` is one packet of the file.
    """
    options: list[int] = []
    backend = cv2.CAP_FFMPEG
    if isinstance(source, int):
        backend = cv2.CAP_ANY
    elif "://" in source:
        options += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _PATIENCE]
        options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _PATIENCE]
    if packets:
        options += [cv2.CAP_PROP_FORMAT, -1]
    try:
        capture = cv2.VideoCapture(source, backend, options)
    except (cv2.error, TypeError, UnicodeError):  # above all, a name that is not valid text
        return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def rate_of(cv2: Any, capture: Any) -> float | None:
    """Frames per second as the source announces them; None if that is not a sensible rate."""
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else None


class Clock:
    """Times of a source's frames in seconds, which never go back.

    Some containers give no times, and some say 0 at the end; a frame's time then advances by the
    same step as that of the frame before.

    Args:
        rate: frames per second; None if unknown.
    """

    def __init__(self, rate: float | None) -> None:
        self._step = 1 / (rate or 25.0)
        self._last: float | None = None

    def __call__(self, milliseconds: float) -> float:
        """The time of the next frame in seconds, given the milliseconds its container says."""
        said, last = milliseconds / 1000, self._last
        if last is None:
            self._last = said if 0 <= said < 1e9 else 0.0
        elif last < said < 1e9:
            self._step, self._last = said - last, said
        else:
            self._last = last + self._step
        return self._last


class Pace:
    """Chooses which frames to take to get a given number per second.

    Args:
        rate: frames to take from each second of the source; None for all.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate, self._due = rate, 0

    def takes(self, time: float) -> bool:
        """Whether to take the frame at this time: the first one, and the first of each interval."""
        if self._rate is None:
            return True
        # rounding may put a frame just before the beginning of its interval
        number = int(time * self._rate + 1e-3)
        if number < self._due:
            return False
        self._due = number + 1
        return True
