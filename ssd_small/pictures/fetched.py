"""Pictures whose bytes come from elsewhere than a file here: a bucket, a server, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .decoded import Decoded, decoded_from_bytes
from .preprocessing import Preprocessing


@dataclass(frozen=True)
class FetchedPicture:
    """A picture that is fetched when it is read, in the threads that read ahead.

    Attributes:
        path: its address, for messages.
        fetch: gives the content of its file; raises BadFile where it cannot.
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
        BadFile: see :func:`~ssd_small.pictures.decoded.decoded_from_bytes`, or it was not fetched.
    """
    return decoded_from_bytes(picture.fetch(), picture.path, preprocessing, max_pixels=max_pixels)
