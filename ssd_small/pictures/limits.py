"""How much of a picture is decoded at once: small files can declare pictures beyond any memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import BadFile, UsageError, quoted

#: the limit for every read that is not given its own, those of worker processes included
ENVIRONMENT = "SSD_SMALL_MAX_PIXELS"
#: 16384 x 16384, more than any camera takes at once (200 million); 8 bits BGR of it are 0.8 GB, and
#: decoders hold that up to three times
USUAL_MOST = 1 << 28
#: the same of what strangers send: files of 200 kB can have USUAL_MOST
SERVED_MOST = 1 << 26
#: what OpenCV decodes at most, unless its own OPENCV_IO_MAX_IMAGE_PIXELS says otherwise
LARGEST_MOST = 1 << 30
#: bytes of a pixel in a file, at most: four channels of 16 bits; also a decoder's, of other samples
_BYTES = 8
#: of a file whatever the limit is: text and colour profiles beside few pixels
_LEAST = 1 << 26


class TooManyPixels(BadFile):
    """A picture is too large to be decoded at once."""


def check_max_pixels(number: object) -> None:
    """Refuse what is no number of pixels, with UsageError."""
    is_whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if number is not None and not (is_whole and number >= 1):  # type: ignore[operator]
        raise UsageError(f"max_pixels {quoted(number)}: expected a whole number of at least 1")


def most_pixels(given: int | None = None) -> int:
    """Pixels that may be decoded at once: ``given``, else what the environment says.

    Raises:
        UsageError: the environment holds no whole number.
    """
    if given is not None:
        return given
    said = os.environ.get(ENVIRONMENT)
    if not said:
        return USUAL_MOST
    if not (said.isascii() and said.isdigit() and len(said) < 20 and int(said)):
        raise UsageError(f"{ENVIRONMENT}={quoted(said)}: expected a whole number of at least 1")
    return int(said)


def most_bytes(most: int) -> int:
    """Bytes that the file of a picture of ``most`` pixels has at most."""
    return max(_BYTES * most, _LEAST)


def check_pixels(path: str | Path, width: int, height: int, most: int, layer: int = 3) -> None:
    """Refuse a picture that would be too much to decode at once.

    Windows of a larger picture, each decoded by itself, would be asked for one by one.

    Args:
        path: for the message.
        width, height: that are decoded.
        most: pixels at once.
        layer: bytes of a pixel while it is decoded; more than :data:`_BYTES` count as more pixels.

    Raises:
        TooManyPixels: says the limit, and how to raise it.
    """
    pixels = width * height * max(layer, _BYTES) // _BYTES
    if pixels > most:
        wide = f" of {layer} bytes" if layer > _BYTES else ""
        more = f", or pass --max-pixels {pixels}" if pixels <= LARGEST_MOST else ""
        raise TooManyPixels(
            f"cannot decode image {path}: it has too many pixels ({width}x{height}{wide}; at most "
            f"{most} are decoded at once); scale it down, cut it into parts{more}"
        )
