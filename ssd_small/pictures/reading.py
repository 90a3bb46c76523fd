"""Reading image files: which there are, and their pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BadFile, UsageError
from ..files import read_bytes
from ..requirements import require

Image = npt.NDArray[np.uint8]


#: files taken from a folder
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
#: how PNG and TIFF files begin, which do not say how many of their 16 bits are in use
_WIDE = (b"\x89PNG", b"II", b"MM")


def read_image(path: str | Path, *, apply_orientation: bool = True) -> Image:
    """Decode an image file to ``[H, W, 3]`` uint8 BGR.

    Grayscale is repeated, alpha dropped, CMYK converted, 16 bits cut to 8 (see
    :func:`eight_bits`), and the EXIF orientation applied unless told otherwise: what
    ``cv2.imread`` does.

    Raises:
        BadFile: absent, empty, not an image, or one of floats or of few bits in 16.
    """
    cv2 = require("cv2", "reading images")
    if not os.path.lexists(path):
        raise BadFile(f"image {path} does not exist")
    content = read_bytes(Path(path), "an image file")
    encoded = np.frombuffer(content, np.uint8)
    flags = cv2.IMREAD_COLOR | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    flags |= cv2.IMREAD_ANYDEPTH if content.startswith(_WIDE) else 0
    silence_opencv(cv2)
    try:
        image = cv2.imdecode(encoded, flags) if encoded.size else None
    except cv2.error as error:
        large = "IMAGE_PIXELS" in str(error) or "memory" in str(error).lower()
        state = "it has too many pixels" if large else "OpenCV cannot decode it"
        raise BadFile(
            f"cannot decode image {path}: {state}; scale it down or convert it"
        ) from error
    if image is None:
        state = "not an image, or damaged" if encoded.size else "it is empty"
        raise BadFile(f"cannot decode image {path}: {state}; expected JPEG, PNG, BMP, TIFF or WebP")
    try:
        return np.asarray(eight_bits(image), np.uint8)
    except UsageError as error:
        raise BadFile(f"image {path}: {error}") from error


def silence_opencv(cv2: Any) -> None:
    """Keep OpenCV's remarks off standard error, where they go past Python.

    What matters of them is in its exceptions. Releases before 4.13 have the call elsewhere, if
    they have it.
    """
    logging = getattr(cv2.utils, "logging", None)
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    elif hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)


def eight_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Pixels of any shape as uint8; of uint16 the upper byte.

    Raises:
        UsageError: another type; or uint16 of which 12 bits or fewer are in use, which would
            become a nearly black picture.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        largest = int(array.max())
        if 0 < largest < 1 << 12:
            raise UsageError(
                f"uint16 picture with values up to {largest}: expected the full range 0 to 65535; "
                "scale it to that, or to 0 to 255 in uint8"
            )
        return (array >> 8).astype(np.uint8)
    span = f" with values {array.min():g} to {array.max():g}" if array.dtype.kind in "fiub" else ""
    raise UsageError(
        f"{array.dtype} picture{span}: expected uint8, 0 to 255; scale it to that range and "
        "convert it (numpy: .astype('uint8'))"
    )


def list_images(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The image files that ``paths`` (files and folders) name; folders are listed in name order.

    Raises:
        BadFile: a folder holds no image.
    """
    files: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise BadFile(f"folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
            files += inside
        else:
            # one that does not exist is said when it is read, after those before it
            files.append(path)
    return files
