"""Pictures whose bytes come from elsewhere than a file here: a bucket, a server, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .reading import Image, image_from_bytes


@dataclass(frozen=True)
class FetchedPicture:
    """A picture that is fetched when it is read, in the threads that read ahead.

    Attributes:
        path: its address, for messages.
        fetch: gives the content of its file; raises BadFile where it cannot.
    """

    path: str
    fetch: Callable[[], bytes]


def read_fetched(picture: FetchedPicture, max_pixels: int | None = None) -> Image:
    """Fetch and decode a picture: ``[H, W, 3]`` uint8 BGR.

    Raises:
        BadFile: see :func:`~ssd_small.pictures.reading.image_from_bytes`, or it was not fetched.
    """
    return image_from_bytes(picture.fetch(), picture.path, max_pixels=max_pixels)
