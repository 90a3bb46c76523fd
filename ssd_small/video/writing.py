"""Writes frames as a video file, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import OutputError, UsageError
from ..files import atomic_output
from ..pictures.reading import Image
from ..system.temporary import temporary_folder
from .capture import quiet_video

#: suffix -> a codec that OpenCV's packages can encode; they have no encoder for H.264
_CODECS = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
#: frames per second if the source does not state them
_USUAL_RATE = 25.0


def written_ending(ending: str) -> str:
    """The suffix for a video made from one with ``ending``: the same if it can be written."""
    ending = ending.lower()
    return ending if ending in _CODECS else ".mp4"


def check_ending(path: Path) -> None:
    """Refuse a path with whose suffix no video can be written.

    Raises:
        UsageError: the suffix has no codec.
    """
    if path.suffix.lower() not in _CODECS:
        raise UsageError(
            f"--output {path}: no video is written that ends in {path.suffix!r}; expected one of "
            f"{', '.join(_CODECS)}, or a folder"
        )


class VideoWriter:
    """Writes frames to a video, whose size is that of the first frame.

    Attributes:
        count: frames written.
    """

    def __init__(self, cv2: Any, path: Path, named: Path, rate: float | None) -> None:
        self._cv2, self._path, self._named = cv2, path, named
        self._rate, self.count = rate or _USUAL_RATE, 0
        self._writer: Any = None
        self._size = (0, 0)

    def write(self, pixels: Image) -> None:
        """Add a frame ``[H, W, 3]`` BGR, scaled to the size of the first if it differs.

        Raises:
            OutputError: the file cannot be opened, or there is no encoder for it.
        """
        height, width = pixels.shape[:2]
        if self._writer is None:
            self._size = width, height
            self._writer = self._opened(width, height)
        elif (width, height) != self._size:
            pixels = self._cv2.resize(pixels, self._size)
        self._writer.write(pixels)
        self.count += 1

    def _opened(self, width: int, height: int) -> Any:
        ending = self._named.suffix.lower()
        code = self._cv2.VideoWriter_fourcc(*_CODECS[ending])
        writer = self._cv2.VideoWriter(
            str(self._path), self._cv2.CAP_FFMPEG, code, self._rate, (width, height)
        )
        if not writer.isOpened():
            raise OutputError(
                f"cannot write {self._named}: OpenCV has no encoder for {width}x{height} frames in "
                f"{ending}, or the folder takes no file; choose another ending (.avi)"
            )
        return writer

    def close(self) -> None:
        """Finish the file and check that all frames are in it.

        Raises:
            OutputError: frames are missing, for example because the disk is full.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with quiet_video() as cv2:
            capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
            found = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
            capture.release()
        # FFmpeg's writer does not report a full disk
        if found < self.count:
            raise OutputError(
                f"cannot write {self._named}: of {self.count} frames {max(0, found):.0f} are in "
                "it; free space or choose another --output"
            )


@contextmanager
def written_video(path: Path, rate: float | None, *, keep: bool) -> Iterator[VideoWriter]:
    """Yield a writer of the video ``path``, which appears when the block succeeds.

    Args:
        path: the file to write; its suffix sets the format.
        rate: frames per second; None for the usual 25.
        keep: keep the video on an interrupt too, which is how a live source normally ends.

    Raises:
        OutputError: the video cannot be written; nothing is left behind.
    """
    interrupt: KeyboardInterrupt | None = None
    # the writer needs the right suffix, which the temporary file lacks, hence a folder of its own
    with (
        quiet_video() as cv2,
        atomic_output(path) as temporary,
        temporary_folder(temporary.parent) as folder,
    ):
        own = folder / f"video{path.suffix.lower()}"
        writer = VideoWriter(cv2, own, path, rate)
        try:
            yield writer
        except KeyboardInterrupt as error:
            if not keep or not writer.count:
                raise
            interrupt = error
        finally:
            writer.close()
        own.replace(temporary)
    if interrupt is not None:
        raise interrupt
