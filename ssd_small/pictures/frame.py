"""A frame of a video: a picture in memory that knows which one it is."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from .reading import Image


@dataclass(eq=False)
class VideoFrame:
    """A frame on its way; its pixels are let go of once they are on the road.

    Attributes:
        pixels: ``[H, W, 3]`` uint8 BGR; None once they were taken. A frame of 1920x1080 has 6 MB,
            and dozens of frames are on the road at once.
        index: of the frame in its source, from 0.
        time: of the frame in its source, in seconds.
    """

    pixels: Image | None
    index: int
    time: float

    def taken(self) -> Image:
        """The pixels, which the frame has no longer.

        Raises:
            UsageError: they were taken before.
        """
        pixels, self.pixels = self.pixels, None
        if pixels is None:
            raise UsageError(f"frame {self.index}: its pixels were taken; a frame is given once")
        return pixels
