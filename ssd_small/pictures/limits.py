"""Limits on decoding, since small files can declare pictures that exceed any memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import BadFile, UsageError, quoted

#: environment variable with the default limit, which worker processes inherit
ENVIRONMENT = "SSD_SMALL_MAX_PIXELS"
#: 16384 x 16384 pixels, more than any camera takes at once (200 million); in 8-bit BGR this is
#: 0.8 GB, and decoders hold up to three copies
USUAL_MOST = 1 << 28
#: the same for pictures that strangers send to a server: a file of 200 kB can declare USUAL_MOST
SERVED_MOST = 1 << 26
#: OpenCV's own limit, unless OPENCV_IO_MAX_IMAGE_PIXELS changes it
LARGEST_MOST = 1 << 30
#: most bytes per pixel in a file, four channels of 16 bits; larger pixels count as several
_BYTES = 8
#: bytes that a file may always have, for text and colour profiles beside few pixels
_LEAST = 1 << 26


class TooManyPixels(BadFile):
    """A picture is too large to be decoded at once."""


def check_max_pixels(number: object) -> None:
    """Refuse anything but a positive whole number or None, with UsageError."""
    is_whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if number is not None and not (is_whole and number >= 1):  # type: ignore[operator]
        raise UsageError(f"max_pixels {quoted(number)}: expected a whole number of at least 1")


def most_pixels(given: int | None = None) -> int:
    """Pixels that may be decoded at once: ``given``, else the environment's, else the default.

    Raises:
        UsageError: the environment variable is not a positive whole number.
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
    """The largest size in bytes of a file with a picture of ``most`` pixels."""
    return max(_BYTES * most, _LEAST)


def check_pixels(path: str | Path, width: int, height: int, most: int, layer: int = 3) -> None:
    """Refuse a picture that has too many pixels to be decoded at once.

    For a larger picture that is read by windows, check each window by itself.

    Args:
        path: the file, for the message.
        width, height: size of what is decoded.
        most: largest number of pixels.
        layer: bytes per pixel during decoding; more than :data:`_BYTES` count as more pixels.

    Raises:
        TooManyPixels: it has too many; says the limit and how to raise it.
    """
    pixels = width * height * max(layer, _BYTES) // _BYTES
    if pixels > most:
        wide = f" of {layer} bytes" if layer > _BYTES else ""
        more = f", or pass --max-pixels {pixels}" if pixels <= LARGEST_MOST else ""
        raise TooManyPixels(
            f"cannot decode image {path}: it has too many pixels ({width}x{height}{wide}; at most "
            f"{most} are decoded at once); scale it down, cut it into parts{more}"
        )
