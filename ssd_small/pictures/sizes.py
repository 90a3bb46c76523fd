"""Sizes of picture files, read without decoding them where that is possible."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

from .reading import read_image

#: EXIF tag, and the values of pictures that lie on their side
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


def shown_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture as people see it, turned by its EXIF orientation.

    Pillow reads it off the file's head; what it cannot read, or without it, is decoded.

    Raises:
        BadFile: the file cannot be read.
    """
    if find_spec("PIL") is not None:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                # of huge pictures and odd tags, which the decoder judges when pixels are wanted
                warnings.simplefilter("ignore")
                with Image.open(path) as picture:
                    width, height = picture.size
                    turned = picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
            return (width, height) if turned else (height, width)
        except Exception:  # damaged files raise whatever their format's reader stumbles on
            pass
    height, width = read_image(path).shape[:2]
    return height, width
