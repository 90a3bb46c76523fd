"""Opens sources of frames, and decodes frames ahead of their consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..pictures.frame import VideoFrame
from .capture import open_capture, quiet_video
from .live import LiveFrames
from .reading import FileFrames
from .sources import Source

#: largest number of frames decoded and not yet taken; one of 1920x1080 takes 6 MB
_AHEAD = 4
_LOOK_UP = 0.2
#: beginnings of addresses that may be those of a file of finite length
_OF_FILES = ("http://", "https://", "ftp://")

#: sources of frames, when opened
Frames = FileFrames | LiveFrames


def open_frames(
    source: Source,
    *,
    rate: float | None = None,
    max_pixels: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Frames:
    """Open the frames of a source: all frames of a file, the newest ones of a live source.

    Args:
        source: see :func:`~.sources.source_from`.
        rate: frames to take from each second; None for all.
        max_pixels: largest frame, in pixels.
        say: called with a line of text when a live source goes away and when it is back.

    Raises:
        UsageError: the rate is out of range, or the index of the camera is negative.
        BadFile: there is no video, or nothing answers at the address.
        MissingRequirement: no such camera, or OpenCV is not installed.
    """
    if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate <= 1000):
        raise UsageError(f"--fps {rate!r}: expected frames per second, more than 0, up to 1000")
    if isinstance(source, int) and source < 0:  # OpenCV would crash
        raise UsageError(f"camera {source}: expected the index of a camera, 0 for the first")
    if isinstance(source, Path):
        return FileFrames(source, rate=rate, max_pixels=max_pixels)
    live: dict[str, Any] = {"rate": rate, "max_pixels": max_pixels, "say": say}
    if isinstance(source, str) and source.lower().startswith(_OF_FILES):
        with quiet_video() as cv2:
            capture = open_capture(cv2, source)
            # a source with a number of frames is finite and waits for its consumer, like a file
            if capture is not None and 0 < capture.get(cv2.CAP_PROP_FRAME_COUNT) < 1e12:
                capture.release()
                return FileFrames(source, rate=rate, max_pixels=max_pixels)
        if capture is not None:
            live["capture"] = capture
    return LiveFrames(source, **live)


def frames_ahead(frames: Frames) -> Iterator[VideoFrame]:
    """The frames of a file, decoded in a thread; live frames have a thread of their own.

    Only a few frames are decoded ahead. An exception of the source is raised after the frames
    before it.
    """
    if isinstance(frames, LiveFrames):
        yield from frames
        return
    ready: queue.Queue[VideoFrame | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def hand_over(one: VideoFrame | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(one, timeout=_LOOK_UP)
            except queue.Full:
                continue
            return True
        return False

    def decode() -> None:
        try:
            for one in frames:
                if not hand_over(one):
                    return
                del one
            hand_over(None)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=decode, name="video", daemon=True)
    thread.start()
    try:
        while (one := ready.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one
            del one
    finally:
        stopped.set()
        thread.join()
