"""Opening whatever gives frames, and decoding ahead of who takes them."""

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

#: frames decoded and not yet taken; one of 1920x1080 has 6 MB
_AHEAD = 4
_LOOK_UP = 0.2
#: of addresses that may be those of a file with an end
_OF_FILES = ("http://", "https://", "ftp://")

#: what gives frames
Frames = FileFrames | LiveFrames


def open_frames(
    source: Source,
    *,
    rate: float | None = None,
    max_pixels: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Frames:
    """The frames of a source, all of a file and the newest of what is live.

    Args:
        source: see :func:`~.sources.source_from`.
        rate: take so many frames of each second; None for all.
        max_pixels: most pixels of a frame.
        say: is given a line when a live source goes away and when it is there again.

    Raises:
        UsageError: a rate that is none, or a negative index.
        BadFile: no video, or nobody answers.
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
            # what has a number of frames has an end, and waits for who takes them
            if capture is not None and 0 < capture.get(cv2.CAP_PROP_FRAME_COUNT) < 1e12:
                capture.release()
                return FileFrames(source, rate=rate, max_pixels=max_pixels)
        if capture is not None:
            live["capture"] = capture
    return LiveFrames(source, **live)


def frames_ahead(frames: Frames) -> Iterator[VideoFrame]:
    """The frames of a file, decoded in a thread; live ones have a thread of their own.

    No more than a few are decoded and not yet taken. What the source raises is raised after the
    frames that it gave before.
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
