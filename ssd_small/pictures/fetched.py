"""Pictures whose bytes do not come from a local file but from a bucket, a server or memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .decoded import Decoded, decoded_from_bytes
from .preprocessing import Preprocessing


@dataclass(frozen=True)
class FetchedPicture:
    """A picture that is fetched only when it is read, in the threads that read ahead.

    Attributes:
        path: its address, for messages.
        fetch: returns the content of its file, or raises BadFile.
    """

    path: str
    fetch: Callable[[], bytes]


def decoded_fetched(
    picture: FetchedPicture,
    max_pixels: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Decoded:
    """Fetch and decode a picture.

    Raises:
        BadFile: fetching failed, or see :func:`~ssd_small.pictures.decoded.decoded_from_bytes`.
    """
    return decoded_from_bytes(picture.fetch(), picture.path, preprocessing, max_pixels=max_pixels)
