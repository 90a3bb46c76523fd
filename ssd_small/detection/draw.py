"""Pictures with detections that a person can read."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..files import atomic_output
from ..pictures.reading import Image
from ..requirements import require

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..postprocess.detections import Detections

Color = tuple[int, int, int]


def label_color(label: int) -> Color:
    """A vivid RGB colour; neighbouring labels are far apart on the colour circle."""
    hue = (label * 0.61803398875) % 1.0  # golden ratio
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def picture_from_detections(
    image: Image, detections: Detections, description: Description
) -> npt.NDArray[np.uint8]:
    """Draw boxes, names and scores.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        detections: boxes in the unit square.
        description: names the labels.

    Returns:
        ``[H, W, 3]`` uint8 RGB; small pictures are enlarged, so that the text is legible.
    """
    require("PIL", "drawing detections")
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFont

    picture = PilImage.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    enlarge = max(1, round(900 / max(picture.size)))
    if enlarge > 1:
        picture = picture.resize(
            (picture.width * enlarge, picture.height * enlarge), PilImage.Resampling.BICUBIC
        )
    draw = ImageDraw.Draw(picture, "RGBA")
    unit = max(1.0, max(picture.size) / 900)
    font = ImageFont.load_default(size=round(13 * unit))
    captions = []
    # the best detections last, so that nothing covers them
    for box, score, label in reversed(
        list(zip(detections.boxes, detections.scores, detections.labels, strict=True))
    ):
        corners = _corners(box, picture.size)
        color = label_color(int(label))
        draw.rectangle(corners, outline=color, fill=(*color, 28), width=round(2 * unit))
        text = f"{description.label_name(int(label))} {score:.2f}"
        captions.append((corners, color, text))
    for corners, color, text in captions:
        _caption(draw, font, corners, color, text, picture.size)
    return np.asarray(picture)


def _corners(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Pixel corners inside the picture; the low corner never passes the high one."""
    width, height = size
    x1, x2 = (min(max(float(v) * width, 0.0), width - 1.0) for v in (box[0], box[2]))
    y1, y2 = (min(max(float(v) * height, 0.0), height - 1.0) for v in (box[1], box[3]))
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


def save_picture(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write ``[H, W, 3]`` RGB as JPEG or PNG, by the suffix; atomic."""
    require("PIL", "writing pictures")
    from PIL import Image as PilImage

    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    with atomic_output(path) as temporary:
        PilImage.fromarray(picture).save(temporary, format=kind, quality=92)
