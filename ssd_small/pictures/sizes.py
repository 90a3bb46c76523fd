"""Sizes of picture files, read without decoding them if possible."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..files import open_file
from .reading import read_image

#: EXIF tag of the orientation, and its values for pictures stored on their side
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


def shown_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture as people see it, turned by its EXIF orientation.

    Raises:
        BadFile: the file cannot be read.
    """
    return _sizes(path)[0]


def size_of_boxes(
    path: str | Path, corners: Sequence[tuple[float, float, float, float]]
) -> tuple[int, int]:
    """(height, width) of the picture to which boxes in pixels refer, if nothing states it.

    That is the picture as people see it, unless the boxes (x1, y1, x2, y2) only fit it as stored.

    Raises:
        BadFile: the file cannot be read.
    """
    shown, stored = _sizes(path)
    return stored if _fit(stored, corners) and not _fit(shown, corners) else shown


def orientation_tag(path: str | Path) -> int:
    """EXIF orientation of a picture file, 1 to 8; 1 (as stored) if Pillow reads none."""
    head = _head(path)
    return 1 if head is None else head[1]


def _fit(size: tuple[int, int], corners: Sequence[tuple[float, float, float, float]]) -> bool:
    """Whether boxes end in a picture of (height, width), give or take a pixel for rounding."""
    height, width = size
    return all(x2 <= width + 1 and y2 <= height + 1 for _, _, x2, y2 in corners)


def _sizes(path: str | Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) as people see it, and as it is stored.

    A picture stored on its side is decoded, since the decoder does not turn every format (not
    AVIF); so are pictures that Pillow cannot read, or all if it is not installed.
    """
    head = _head(path)
    if head is not None and head[1] not in _ON_ITS_SIDE:
        return head[0], head[0]
    shown, stored = (read_image(path, apply_orientation=turn).shape for turn in (True, False))
    return (shown[0], shown[1]), (stored[0], stored[1])


def _head(path: str | Path) -> tuple[tuple[int, int], int] | None:
    """Stored (height, width) and EXIF orientation, read by Pillow from the file's header.

    None if Pillow cannot read the file or is not installed.
    """
    if find_spec("PIL") is None:
        return None
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # warnings about huge pictures and odd tags, which the decoder judges later
            warnings.simplefilter("ignore")
            with open_file(Path(path)) as file, Image.open(file) as picture:
                tag = picture.getexif().get(_ORIENTATION)
                return (picture.height, picture.width), tag if tag in range(1, 9) else 1
    except Exception:  # readers of damaged files may raise anything
        return None
