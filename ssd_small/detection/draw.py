"""Draws detections into pictures for people to look at."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OutputError, UsageError
from ..files import write_bytes
from ..pictures.reading import Image
from ..requirements import require
from ..terminal import shown

if TYPE_CHECKING:
    from .picture_detections import PictureDetections

Color = tuple[int, int, int]

#: longer side, in pixels, to which a picture is enlarged on request; beyond it, lines get thicker
_LEGIBLE = 900
#: PNG options: zlib's fastest level, run-length matches only. For photographs with boxes this is
#: smaller than Pillow's default level 6, in a fifth of the time (benchmarks/JOURNAL.md)
_PNG = {"compress_level": 1, "compress_type": 3}
#: maximum length of a class name in a picture
_MOST_LETTERS = 60


def label_color(label: int) -> Color:
    """A vivid RGB colour; consecutive labels are far apart on the colour circle."""
    hue = (label * 0.61803398875) % 1.0  # golden ratio
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def drawn(pixels: Image, found: PictureDetections, *, enlarge: bool = False) -> Image:
    """Draw boxes, names and scores.

    Args:
        pixels: ``[H, W, 3]`` uint8 BGR.
        found: what was detected there.
        enlarge: draw a small picture at a multiple of its size, so that text is legible.

    Returns:
        ``[H, W, 3]`` uint8 BGR.
    """
    picture = _picture_with_boxes(pixels, found, enlarge=enlarge)
    flat: Image = np.frombuffer(picture.tobytes("raw", "BGR"), np.uint8)
    return np.array(flat.reshape(picture.height, picture.width, 3))


def _picture_with_boxes(pixels: Image, found: PictureDetections, *, enlarge: bool) -> Any:
    """The picture of :func:`drawn`, as a PIL image."""
    require("PIL", "drawing detections")
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFont

    picture = _pil_from_pixels(pixels)
    factor = max(1, round(_LEGIBLE / max(picture.size))) if enlarge else 1
    if factor > 1:
        picture = picture.resize(
            (picture.width * factor, picture.height * factor), PilImage.Resampling.BICUBIC
        )
    draw = ImageDraw.Draw(picture, "RGBA")
    unit = max(1.0, max(picture.size) / _LEGIBLE)
    font = ImageFont.load_default(size=round(13 * unit))
    captions = []
    # draw the best detections last, so that nothing covers them
    for one in reversed(list(found)):
        corners = _corners(one.box * np.float32(factor), picture.size)
        color = label_color(one.label)
        draw.rectangle(corners, outline=color, fill=(*color, 28), width=round(2 * unit))
        track = "" if one.track is None else f" #{one.track}"
        captions.append((corners, color, f"{_drawn_name(one.name)}{track} {one.score:.2f}"))
    for corners, color, text in captions:
        _caption(draw, font, corners, color, text, picture.size)
    return picture


def _pil_from_pixels(pixels: Image) -> Any:
    """``[H, W, 3]`` BGR as a PIL image."""
    from PIL import Image as PilImage

    size = (pixels.shape[1], pixels.shape[0])
    return PilImage.frombytes("RGB", size, np.ascontiguousarray(pixels).data, "raw", "BGR")


def _drawn_name(name: str) -> str:
    """A name on one line, shortened to fit a picture; PIL refuses long texts."""
    name = shown(name[:_MOST_LETTERS])
    return name if len(name) < _MOST_LETTERS else f"{name[: _MOST_LETTERS - 3]}..."


def _corners(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Pixel corners inside the picture; the low corner never passes the high one."""
    width, height = size
    x1, x2 = (min(max(float(v), 0.0), width - 1.0) for v in (box[0], box[2]))
    y1, y2 = (min(max(float(v), 0.0), height - 1.0) for v in (box[1], box[3]))
    return x1, y1, max(x1, x2), max(y1, y2)


def _caption(
    draw: Any,
    font: Any,
    corners: tuple[float, float, float, float],
    color: Color,
    text: str,
    size: tuple[int, int],
) -> None:
    """A filled label above the box, or inside it at the upper edge of the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 4
    x = min(max(corners[0], 0), max(size[0] - width, 0))
    y = corners[1] - height if corners[1] >= height else corners[1]
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    draw.rectangle((x, y, x + width, y + height), fill=(*color, 225))
    draw.text((x + 3 - left, y + 2 - top), text, font=font, fill="black" if dark else "white")


def save_picture(pixels: Image, path: Path) -> None:
    """Write ``[H, W, 3]`` BGR atomically, in the format given by the suffix.

    Raises:
        UsageError: PIL cannot write the format of this suffix.
        OutputError: the file cannot be written.
    """
    require("PIL", "writing pictures")
    _save(_pil_from_pixels(pixels), path)


def save_drawn(
    pixels: Image, found: PictureDetections, path: Path, *, enlarge: bool = False
) -> None:
    """:func:`drawn` and :func:`save_picture` in one.

    Raises:
        UsageError, OutputError: see :func:`save_picture`.
    """
    _save(_picture_with_boxes(pixels, found, enlarge=enlarge), path)


def _save(picture: Any, path: Path) -> None:
    from PIL import Image as PilImage

    kind = PilImage.registered_extensions().get(path.suffix.lower())
    if kind not in PilImage.SAVE:
        raise UsageError(f"{path}: no picture format ends in {path.suffix!r}; use .png or .jpg")
    # encoded in memory, since PIL reports a full disk by an error number of its own
    encoded = io.BytesIO()
    try:
        picture.save(encoded, format=kind, **(_PNG if kind == "PNG" else {"quality": 92}))
    except ValueError as error:
        raise UsageError(f"{path}: {error}; use .png or .jpg") from error
    except OSError as error:  # a side is longer than the format allows
        raise OutputError(f"cannot write {path}: {error}; use .png") from error
    write_bytes(path, encoded.getvalue())
