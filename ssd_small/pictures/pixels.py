"""The pixels of a picture in any form: a path, a numpy array, a PIL image or a torch tensor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from ..errors import BadFile, UsageError
from .annotated import AnnotatedPicture, decoded_annotated
from .decoded import Decoded, decoded_from_file
from .fetched import FetchedPicture, decoded_fetched
from .frame import VideoFrame
from .listing import list_images
from .preprocessing import Preprocessing
from .reading import Image, eight_bits

ColorOrder = Literal["BGR", "RGB"]

_EXPECTED = (
    "a path, a uint8 numpy array [H, W, 3], a PIL image or a uint8 torch tensor [3, H, W], or a "
    "list of these"
)
#: PIL decodes a file on first access to its pixels, which two threads must not do to one image; an
#: image uses one of these locks
_DECODING = tuple(threading.Lock() for _ in range(64))


def each_picture(pictures: Any) -> Iterable[Any]:
    """The pictures in an argument: one picture, or several in any iterable.

    A folder stands for the pictures in it, in order of name. Any other path, a PIL image and an
    array or tensor are one picture, except that an array or tensor of four dimensions is a batch.

    Raises:
        BadFile: a folder holds no pictures.
        UsageError: it is neither a picture nor an iterable of pictures.
    """
    if isinstance(pictures, (str, Path)) and os.path.isdir(pictures):
        return list_images(pictures).files
    if is_path(pictures) or _is_pil(pictures):
        return [pictures]
    if isinstance(pictures, np.ndarray) or _is_tensor(pictures):
        return pictures if pictures.ndim == 4 else [pictures]
    if isinstance(pictures, (bytes, bytearray, dict)) or not isinstance(pictures, Iterable):
        raise UsageError(f"pictures: got {_kind(pictures)}, expected {_EXPECTED}")
    return pictures


def is_path(picture: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a picture is given as the path of its file."""
    return isinstance(picture, (str, os.PathLike))


def check_color(color: str) -> None:
    """Refuse anything but BGR and RGB, with UsageError."""
    if color not in ("BGR", "RGB"):
        raise UsageError(f"color {color!r}: expected 'BGR' or 'RGB', the order of numpy arrays")


def pixels_from_picture(
    picture: Any, color: ColorOrder = "BGR", max_pixels: int | None = None
) -> Image:
    """The pixels of one picture, ``[H, W, 3]`` uint8 BGR.

    Grey is repeated, alpha dropped, and 16 bits (full range) are cut to 8, as for files.

    Args:
        picture: a path (decoded as by :func:`~ssd_small.pictures.reading.read_image`, or by
            :func:`~.annotated.read_annotated` if it has an annotated size); a numpy array
            ``[H, W, 3]``, ``[H, W, 4]``, ``[H, W, 1]`` or ``[H, W]`` of uint8 or uint16; a PIL
            image as it is (its EXIF orientation is not applied); a torch tensor ``[3, H, W]`` (or 1
            or 4 channels) of uint8; or a frame of a video, whose pixels can be taken once.
        color: channel order of a numpy array; PIL images and tensors are always RGB.
        max_pixels: limit for a file, see :func:`~ssd_small.pictures.reading.read_image`.

    Raises:
        BadFile: the file is absent or not an image, or PIL cannot decode it.
        UsageError: the picture has another type, shape or range of values.
    """
    return decoded_from_picture(picture, color, max_pixels).pixels


def decoded_from_picture(
    picture: Any,
    color: ColorOrder = "BGR",
    max_pixels: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Decoded:
    """As :func:`pixels_from_picture`, for a network's input.

    With ``reduced_decoding`` in ``preprocessing``, large JPEG files are decoded at a fraction of
    their size; pictures in memory stay as they are.
    """
    check_color(color)
    if isinstance(picture, Decoded):
        return picture
    if isinstance(picture, VideoFrame):
        return Decoded(picture.taken())
    if isinstance(picture, AnnotatedPicture):
        return decoded_annotated(picture.path, picture.size, max_pixels, preprocessing)
    if isinstance(picture, FetchedPicture):
        return decoded_fetched(picture, max_pixels, preprocessing)
    if is_path(picture):
        return decoded_from_file(Path(picture), preprocessing, max_pixels=max_pixels)
    return Decoded(_pixels_in_memory(picture, color))


def _pixels_in_memory(picture: Any, color: ColorOrder) -> Image:
    if getattr(picture, "ndim", 0) == 4:
        raise UsageError(
            f"picture of shape {list(picture.shape)}: a batch among single pictures; pass the "
            "batch by itself, or its pictures one by one"
        )
    if _is_pil(picture):
        return _bgr_from_array(_array_from_pil(picture), "RGB")
    if _is_tensor(picture):
        return _bgr_from_array(_array_from_tensor(picture), "RGB")
    if isinstance(picture, np.ndarray):
        return _bgr_from_array(picture, color)
    raise UsageError(f"picture: got {_kind(picture)}, expected {_EXPECTED}")


def like_picture(bgr: Image, picture: Any, color: ColorOrder = "BGR") -> Any:
    """Convert pixels ``[H, W, 3]`` BGR to the form of ``picture``: PIL, torch, else numpy."""
    if _is_pil(picture):
        return sys.modules["PIL.Image"].fromarray(rgb_or_bgr(bgr, "RGB"))
    if _is_tensor(picture):
        rgb = np.ascontiguousarray(bgr[:, :, ::-1].transpose(2, 0, 1))
        return sys.modules["torch"].from_numpy(rgb)
    return rgb_or_bgr(bgr, color)


def rgb_or_bgr(bgr: Image, color: ColorOrder) -> Image:
    """A copy of ``[H, W, 3]`` BGR pixels in the channel order ``color``."""
    return np.array(bgr if color == "BGR" else bgr[:, :, ::-1], order="C")


def color_of(picture: Any, color: ColorOrder) -> ColorOrder:
    """Channel order of a picture, given that of numpy arrays."""
    return "RGB" if _is_pil(picture) or _is_tensor(picture) else color


def _bgr_from_array(array: npt.NDArray[Any], color: ColorOrder) -> Image:
    if np.ma.isMaskedArray(array):
        raise UsageError(
            "picture is a masked array: expected a value for every pixel; choose one for the "
            "hidden pixels with .filled()"
        )
    array = np.asarray(array)  # subclasses may treat shapes differently
    shape = array.shape
    if len(shape) == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        hint = "; transpose it, the channels come last" if shape[:1] in ((1,), (3,), (4,)) else ""
        raise UsageError(
            f"picture of shape {list(shape)}: expected [H, W, 3], [H, W, 4], [H, W, 1] or [H, W] "
            f"with at least one pixel{hint}"
        )
    array = eight_bits(array)
    if array.shape[2] == 1:
        array = array.repeat(3, axis=2)
    elif color == "RGB":
        array = array[:, :, 2::-1]
    return np.ascontiguousarray(array[:, :, :3], np.uint8)


def _array_from_pil(picture: Any) -> npt.NDArray[Any]:
    """RGB pixels, or unconverted grey of more than 8 bits, which PIL would clip to white."""
    try:
        with _DECODING[(id(picture) >> 4) % len(_DECODING)]:
            picture.load()
        mode = picture.mode
        if mode.startswith("I;16"):
            return np.asarray(picture).astype(np.uint16)
        if mode in ("I", "F"):
            return np.asarray(picture)
        if mode in ("La", "RGBa"):
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        if mode == "P" and "transparency" in picture.info:
            picture = picture.convert("RGBA")  # PIL warns when converting straight to RGB
        rgb: npt.NDArray[Any] = np.asarray(picture.convert("RGB"))
        return rgb
    except (OSError, SyntaxError) as error:  # the latter for damaged PNG and AVIF
        name = getattr(picture, "filename", "") or "picture"
        if reason := getattr(error, "strerror", None):
            raise BadFile(f"cannot read {name}: {reason}; expected an image file") from error
        raise BadFile(f"cannot decode {name}: {error}; expected an image file") from error
    except ValueError as error:
        raise UsageError(
            f"PIL image of mode {picture.mode}: {error}; expected one that PIL converts to RGB"
        ) from error


def _array_from_tensor(picture: Any) -> npt.NDArray[Any]:
    """A tensor as an array ``[H, W, channels]`` on the CPU."""
    shape = tuple(picture.shape)
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        raise UsageError(
            f"torch picture of shape {list(shape)}: expected [3, H, W], or [N, 3, H, W] for a "
            "batch; permute it, the channels come first"
        )
    if str(picture.dtype) != "torch.uint8":
        raise UsageError(
            f"{picture.dtype} picture: expected torch.uint8, 0 to 255; scale it to that range and "
            "convert it with .to(torch.uint8)"
        )
    array: npt.NDArray[Any] = picture.detach().permute(1, 2, 0).cpu().numpy()
    return array


def _is_pil(picture: Any) -> bool:
    """Whether it is a PIL image, without importing PIL: the owner of one has imported it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(picture, module.Image)


def _is_tensor(picture: Any) -> bool:
    module = sys.modules.get("torch")
    return module is not None and isinstance(picture, module.Tensor)


def _kind(thing: Any) -> str:
    return f"{type(thing).__name__} {str(thing)[:40]!r}"
