"""A frame of a video: a picture in memory with its index and time."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from .reading import Image


@dataclass(eq=False)
class VideoFrame:
    """A frame of a video, which gives up its pixels when they are taken.

    Attributes:
        pixels: ``[H, W, 3]`` uint8 BGR; None once they were taken, since a frame of 1920x1080 takes
            6 MB and dozens of frames are processed at once.
        index: index of the frame in its source, from 0.
        time: time of the frame in its source, in seconds.
    """

    pixels: Image | None
    index: int
    time: float

    def taken(self) -> Image:
        """Take the pixels out of the frame.

        Raises:
            UsageError: they have been taken already.
        """
        pixels, self.pixels = self.pixels, None
        if pixels is None:
            raise UsageError(f"frame {self.index}: its pixels were taken; a frame is given once")
        return pixels
