"""Gather facts about a data set's picture files: each is read once, in threads, 1 kB is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import BadFile
from ..files import read_bytes
from ..pictures.ahead import map_ahead
from ..pictures.annotated import OtherPicture, read_annotated
from ..pictures.limits import most_bytes, most_pixels
from ..pictures.reading import Image, read_image
from ..pictures.sizes import orientation_tag
from .near_duplicates import Looks, looks_from_image
from .picture_files import PictureFolder

#: height and width in pixels
Size = tuple[int, int]
State = Literal["fine", "scaled", "mismatch", "unsized", "unreadable", "missing"]
#: frame in which a picture that EXIF turns was annotated; empty if nothing turns it
Frame = Literal["", "shown", "stored", "untold"]
#: most reading threads; each holds a decoded picture
_MOST_WORKERS = 8


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """A picture file compared with its entry in the annotations.

    Attributes:
        state: ``fine``; ``scaled``: same shape as annotated, but another size; ``mismatch``:
            another shape; ``unsized``: the entry has no size; ``unreadable``; ``missing``.
        path: the file; None if it is missing.
        respelled: whether the entry's name differs from the file's.
        message: why the file cannot be found or read, else empty.
        sizes: (height, width), the annotated one if it is right, else as viewers show the picture
            and as it is stored (these differ if EXIF turns it); empty if it cannot be read.
        digest: hash of its bytes; None if it cannot be read.
        frame: which frame the annotated size matches, ``shown`` (turned) or ``stored``;
            ``untold``: both; empty if the picture is not turned, or of another shape.
        looks: None if it cannot be read, shows nothing, or was not asked for.
    """

    state: State
    path: Path | None = None
    respelled: bool = False
    message: str = ""
    sizes: tuple[Size, ...] = ()
    digest: bytes | None = None
    frame: Frame = ""
    looks: Looks | None = None


def picture_facts(
    images: Sequence[dict[str, Any]],
    folder: Path,
    *,
    compare: bool,
    progress: Callable[[int], None] = lambda count: None,
) -> list[PictureFacts]:
    """Facts about each entry's picture, in order; a faulty picture raises no error.

    Args:
        images: entries with ``file_name``, ``width`` and ``height`` (0: unknown).
        folder: what file names are relative to.
        compare: whether to fill in ``looks``, which needs the package ImageHash.
        progress: called with the number of pictures just done.
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    work = partial(_facts, folder=PictureFolder(folder), compare=compare)
    found = []
    for facts in map_ahead(work, images, workers=workers, window=2 * workers):
        found.append(facts)
        progress(1)
    return found


def _facts(image: dict[str, Any], *, folder: PictureFolder, compare: bool) -> PictureFacts:
    try:
        place = folder.place_of(image)
    except BadFile as error:
        return PictureFacts("missing", message=error.command_line)
    if place is None:
        return PictureFacts("missing", message=f"no file {folder.folder / image['file_name']}")
    path, respelled = place.path, bool(place.how)
    size = (int(image["height"]), int(image["width"]))
    try:
        content = read_bytes(path, "an image file", most_bytes(most_pixels()))
        digest = hashlib.blake2b(content, digest_size=16).digest()
        pixels = _annotated(path, size)
        sizes: tuple[Size, ...] = (size,)
        if pixels is None or _size(pixels) != size:
            shown = read_image(path)
            sizes = (_size(shown), _size(read_image(path, apply_orientation=False)))
        else:
            shown = pixels
    except BadFile as error:
        return PictureFacts("unreadable", path, respelled, error.command_line)
    state: State
    if min(size) <= 0:
        state = "unsized"
    elif pixels is None:
        state = "mismatch"
    else:
        state = "fine" if _size(pixels) == size else "scaled"
    looks = looks_from_image(shown) if compare else None
    frame = _frame(path, pixels) if pixels is not None else ""
    return PictureFacts(state, path, respelled, "", sizes, digest, frame, looks)


def _annotated(path: Path, size: Size) -> Image | None:
    """The picture in the frame it was annotated in; None if it has another shape."""
    if min(size) <= 0:
        return None
    try:
        return read_annotated(path, size)
    except OtherPicture:
        return None


def _frame(path: Path, annotated: Image) -> Frame:
    """The frame in which a picture was annotated, given its pixels in that frame."""
    if orientation_tag(path) == 1:
        return ""
    shown, stored = (read_image(path, apply_orientation=turn) for turn in (True, False))
    if np.array_equal(shown, stored):  # a format that the decoder does not turn
        return ""
    if shown.shape == stored.shape:
        return "untold"
    return "shown" if annotated.shape == shown.shape else "stored"


def _size(image: Image) -> Size:
    height, width = image.shape[:2]
    return height, width
