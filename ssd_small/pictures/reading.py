"""Reads image files: their pixels, or why they have none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BadFile, UsageError
from ..files import read_bytes
from ..requirements import require
from .headers import declared_extent, fault_from_work
from .limits import check_pixels, most_bytes, most_pixels
from .remarks import without_remarks
from .tiff import kind_of_tiff

Image = npt.NDArray[np.uint8]


#: beginnings of files to decode at full depth: PNG and TIFF, which do not say how many of their 16
#: bits are in use, and PFM, whose floats would be cut to whole numbers
_WIDE = (b"\x89PNG", b"II", b"MM", b"PF\n", b"Pf\n")
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
#: with at least this many zeros at its end, a file was padded by a file system for unwritten data
_PADDING = 16
#: offset and beginning (in lower case) of files of other kinds, and what they are
_OTHERS = (
    (4, b"ftyphei", "it is HEIC; convert it to JPEG or PNG"),
    (4, b"ftyphev", "it is HEIC; convert it to JPEG or PNG"),
    (4, b"ftypmif1", "it is HEIF; convert it to JPEG or PNG"),
    (4, b"ftypmsf1", "it is HEIF; convert it to JPEG or PNG"),
    (0, b"\x00\x00\x00\x0cjxl ", "it is JPEG XL; convert it to JPEG or PNG"),
    (0, b"\xff\x0a", "it is JPEG XL; convert it to JPEG or PNG"),
    (0, b"8bps", "it is a Photoshop file; save it as JPEG or PNG"),
    (0, b"%pdf", "it is a PDF; convert its pages to PNG"),
    (0, b"<svg", "it is SVG, which has no pixels; convert it to PNG"),
    (0, b"<!doctype html", "it is a web page, not what was to be downloaded; fetch it again"),
    (0, b"<html", "it is a web page, not what was to be downloaded; fetch it again"),
    (0, b"version https://git-lfs", "it is a pointer of Git LFS; fetch it with 'git lfs pull'"),
)


#: offset and beginning of formats that not every OpenCV is built to read, and their suffix
_PERHAPS = (
    (4, b"ftypavi", ".avif"),
    (0, b"gif8", ".gif"),
    (8, b"webp", ".webp"),
    (4, b"jp  ", ".jp2"),
    (0, b"\xff\x4f\xff\x51", ".jp2"),
)


class AbsentPicture(BadFile):
    """The picture's file does not exist."""


def read_image(
    path: str | Path, *, apply_orientation: bool = True, max_pixels: int | None = None
) -> Image:
    """Decode an image file to ``[H, W, 3]`` uint8 BGR.

    As in ``cv2.imread``, greyscale is repeated, alpha dropped, CMYK converted, 16 bits cut to 8
    (see :func:`eight_bits`), and the EXIF orientation applied by default. Of an animation or a
    file of several pages, the first is read. A JPEG may lack its end marker as long as none of the
    picture is missing.

    Args:
        path: the file.
        apply_orientation: turn the picture by its EXIF orientation.
        max_pixels: largest picture to decode; default: see :mod:`ssd_small.pictures.limits`.

    Raises:
        AbsentPicture: there is no such file.
        BadFile: the file is empty, not an image, has float samples, uses few of its 16 bits, or
            has too many pixels (known before any is decoded).
    """
    require("cv2", "reading images")
    content = bytes_of_image(path, max_pixels)
    return image_from_bytes(
        content, path, apply_orientation=apply_orientation, max_pixels=max_pixels
    )


def bytes_of_image(path: str | Path, max_pixels: int | None = None) -> bytes:
    """The content of an image file; the first half of :func:`read_image`.

    Raises:
        AbsentPicture: there is no such file.
        BadFile: it cannot be read, or is larger than a file of ``max_pixels`` may be.
    """
    if is_absent(path):
        raise AbsentPicture(f"image {path} does not exist")
    return read_bytes(Path(path), "an image file", most_bytes(most_pixels(max_pixels)))


def image_from_bytes(
    content: bytes,
    path: str | Path,
    *,
    apply_orientation: bool = True,
    max_pixels: int | None = None,
    reduction: int = 1,
) -> Image:
    """Decode the content of an image file; the second half of :func:`read_image`.

    ``reduction`` 2, 4 or 8 divides the sides, rounded up; for JPEG only, see
    :mod:`ssd_small.pictures.decoded`.

    Raises:
        BadFile: see :func:`read_image`; ``path`` is for the message.
    """
    cv2 = require("cv2", "reading images")
    most = most_pixels(max_pixels)
    if (extent := declared_extent(content)) is not None:
        check_pixels(path, extent[0], extent[1], most, extent[2])
    if (fault := fault_from_work(content)) is not None:
        raise BadFile(f"cannot decode image {path}: {fault}; save it anew")
    flags = cv2.IMREAD_COLOR | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    flags |= cv2.IMREAD_ANYDEPTH if content.startswith(_WIDE) else 0
    flags |= 0 if reduction == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{reduction}")
    silence_opencv(cv2)
    try:
        with without_remarks():
            image = _decoded(cv2, content, flags)
    except cv2.error as error:
        large = "IMAGE_PIXELS" in str(error) or "memory" in str(error).lower()
        state = "it has too many pixels" if large else "OpenCV cannot decode it"
        raise BadFile(
            f"cannot decode image {path}: {state}; scale it down or convert it"
        ) from error
    if image is None:
        raise BadFile(f"cannot decode image {path}: {_why_not(cv2, content)}")
    check_pixels(path, image.shape[1], image.shape[0], most)  # a format not known to headers.py
    if image.ndim == 2:  # as OpenCV 5 returns PFM
        image = image[:, :, None].repeat(3, axis=2)
    if image.dtype not in (np.uint8, np.uint16):
        raise BadFile(f"cannot decode image {path}: {_has_samples(image)}")
    try:
        return np.asarray(eight_bits(image), np.uint8)
    except UsageError as error:
        raise BadFile(f"image {path}: {error}") from error


def silence_opencv(cv2: Any) -> None:
    """Keep OpenCV from printing to standard error, which bypasses Python.

    Its exceptions say what matters. Releases before 4.13 have the call elsewhere, or not at all.
    """
    logging = getattr(cv2.utils, "logging", None)
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    elif hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)


def is_absent(path: str | Path) -> bool:
    """Whether there is no such file; an impossible name is left for the reader to refuse."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def is_whole_jpeg(content: bytes) -> bool:
    """Whether a file is a JPEG that has its end marker."""
    return content.startswith(_JPEG) and _without_padding(content).endswith(_JPEG_END)


def _without_padding(content: bytes) -> bytes:
    """A JPEG without the zeros that a file system appended."""
    written = content.rstrip(b"\0")
    # short runs are kept, since zeros can be picture data, and many of them complete any picture
    return written if len(content) - len(written) >= _PADDING else content


def _decoded(cv2: Any, content: bytes, flags: int) -> npt.NDArray[Any] | None:
    """The decoded pixels; None if the content cannot be decoded."""
    if not content:
        return None
    content = _without_padding(content) if content.startswith(_JPEG) else content
    image: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if image is not None or not content.startswith(_JPEG) or content.endswith(_JPEG_END):
        return image
    # Unlike imread, imdecode refuses a JPEG without its end marker. If one is appended, imdecode
    # fills the missing part of the picture with grey. Extra bits before that marker are ignored if
    # nothing is missing; else they change what is decoded.
    content = content.rstrip(b"\xff")  # may be half of the marker
    whole = cv2.imdecode(np.frombuffer(content + _JPEG_END, np.uint8), flags)
    if whole is None:
        return None
    other = cv2.imdecode(np.frombuffer(content + b"\x55" * 64 + _JPEG_END, np.uint8), flags)
    return whole if other is not None and np.array_equal(whole, other) else None


def _why_not(cv2: Any, content: bytes) -> str:
    """Why a file cannot be decoded, what was expected and what to do."""
    if not content:
        return "it is empty; expected an image file"
    begin = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for offset, mark, what in _OTHERS:
        if begin[offset:].startswith(mark):
            return what
    if content.startswith(_JPEG) and not content.endswith(_JPEG_END):
        return "it is cut off before the picture ends; take a whole copy"
    for offset, mark, ending in _PERHAPS:
        if begin[offset:].startswith(mark) and not cv2.haveImageWriter(f"picture{ending}"):
            return f"this OpenCV was built without {ending[1:].upper()}; convert it to JPEG or PNG"
    try:
        with without_remarks():
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is not None:
        return _has_samples(image)
    if (kind := kind_of_tiff(content)) is not None:
        return f"it is TIFF with {kind}, or damaged; convert it to 8-bit PNG"
    return "not an image, or damaged; expected JPEG, PNG, BMP, TIFF, WebP or the like"


def _has_samples(image: npt.NDArray[Any]) -> str:
    bits = 8 * image.dtype.itemsize
    kind = {"f": "float", "i": "signed"}.get(image.dtype.kind, "unsigned")
    return (
        f"it has {bits}-bit {kind} samples ({image.dtype}, {image.min():g} to {image.max():g}); "
        "convert it to 8 bits"
    )


def eight_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert pixels of any shape to uint8; of uint16, the upper byte is kept.

    Raises:
        UsageError: the type is another, or it is uint16 with 12 bits or fewer in use, which would
            give a nearly black picture.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        check_full_range(int(array.max()))
        return (array >> 8).astype(np.uint8)
    span = f" with values {array.min():g} to {array.max():g}" if array.dtype.kind in "fiub" else ""
    raise UsageError(
        f"{array.dtype} picture{span}: expected uint8, 0 to 255; scale it to that range and "
        "convert it (numpy: .astype('uint8'))"
    )


def check_full_range(largest: int) -> None:
    """Refuse 16-bit pixels that use 12 bits or fewer, by their largest value, with UsageError."""
    if 0 < largest < 1 << 12:
        raise UsageError(
            f"uint16 picture with values up to {largest}: expected the full range 0 to 65535; "
            "scale it to that, or to 0 to 255 in uint8"
        )
