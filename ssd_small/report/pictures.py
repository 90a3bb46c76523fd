"""Pictures of a page: small embedded JPEGs with boxes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OutputError
from ..pictures.reading import Image
from ..requirements import require

#: pixels of the longer side; with as many pictures as a page can have, it stays below 3 MB
_SIDE = 560
#: largest encoded picture in bytes; quality is reduced until it fits
_MOST_BYTES = 110_000
#: most boxes drawn on a picture
_MOST_BOXES = 300
#: BGR of Okabe and Ito's blue and vermilion; a light edge makes both visible on any background
_RIGHT, _WRONG, _EDGE = (178, 114, 0), (0, 94, 213), (255, 255, 255)


@dataclass(frozen=True)
class Box:
    """A box to draw.

    Attributes:
        xywh: in pixels of the annotated picture.
        wrong: whether it is drawn dashed and in another colour.
        text: shown beside it, in letters that every font has.
    """

    xywh: tuple[float, float, float, float]
    wrong: bool
    text: str = ""


def uri_from_picture(pixels: Image, size: tuple[float, float], boxes: Sequence[Box]) -> str:
    """A picture with boxes as ``data:`` URI.

    Args:
        pixels: ``[H, W, 3]`` uint8 BGR.
        size: height and width of the picture that the boxes refer to.
        boxes: the wrong ones are drawn last, so that nothing covers them.

    Raises:
        MissingRequirement: OpenCV is missing.
    """
    cv2 = require("cv2", "the pictures of a report")
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    drawn = np.ascontiguousarray(cv2.resize(pixels, shape, interpolation=kind))
    factors = shape[0] / size[1], shape[1] / size[0]
    for one in sorted(boxes, key=lambda box: box.wrong)[-_MOST_BOXES:]:
        x, y, w, h = one.xywh
        low = _inside(x * factors[0], y * factors[1], shape)
        high = _inside((x + w) * factors[0], (y + h) * factors[1], shape)
        _rectangle(cv2, drawn, low, high, one.wrong)
        if one.text:
            place = low[0], max(low[1] - 3, 9)
            for color, thick in ((_EDGE, 3), (_WRONG if one.wrong else _RIGHT, 1)):
                cv2.putText(
                    *(drawn, one.text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, color, thick),
                    cv2.LINE_AA,
                )
    for quality in (82, 65, 45, 25):
        done, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and len(encoded) <= _MOST_BYTES:
            break
    if not done:
        raise OutputError("a picture of the report cannot be encoded; leave --report out")
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _inside(x: float, y: float, shape: tuple[int, int]) -> tuple[int, int]:
    width, height = shape
    return round(min(max(x, 0), width - 1)), round(min(max(y, 0), height - 1))


def _rectangle(
    cv2: Any, drawn: Image, low: tuple[int, int], high: tuple[int, int], wrong: bool
) -> None:
    """A box with a light edge; dashed if it is wrong."""
    cv2.rectangle(drawn, low, high, _EDGE, 3)
    if not wrong:
        cv2.rectangle(drawn, low, high, _RIGHT, 1)
        return
    corners = (low, (high[0], low[1]), high, (low[0], high[1]))
    for begin, end in zip(corners, (*corners[1:], corners[0]), strict=True):
        length = max(abs(end[0] - begin[0]), abs(end[1] - begin[1]))
        for start in range(0, length, 8):
            points = [
                tuple(
                    round(a + (b - a) * min(at, length) / length)
                    for a, b in zip(begin, end, strict=True)
                )
                for at in (start, start + 5)
            ]
            cv2.line(drawn, *points, _WRONG, 2)
