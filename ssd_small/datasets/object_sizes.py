"""Measure objects: whether boxes are in pixels, and how large they are at a network's input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BadFile
from ..pictures.placement import Fit, sizes_seen
from ..pictures.tiles import TINY
from .coco import Annotations

#: pixels lost by decimal coordinates in a JSON file: a shorter side counts as none, and a box may
#: overhang by this much
ROUNDING = 0.01
#: most by which boxes in fractions of the picture overhang it, in each direction
_OVERHANG = 0.5
#: side of the median object at the network's input with the tiles proposed: a network's first maps
#: see it whole, and half of the objects may be smaller still
SEEN = 2 * TINY


def are_fractions(boxes: Sequence[dict[str, Any]]) -> bool:
    """Whether boxes are fractions of their pictures: none is larger than about a pixel."""
    return bool(boxes) and _are_fractions(box["bbox"] for box in boxes)


def _are_fractions(boxes_xywh: Iterable[Sequence[float]]) -> bool:
    return all(
        min(x, y) >= -_OVERHANG
        # a side may be that of the whole picture, plus rounding
        and max(w, h) <= 1.01
        and max(x + w, y + h) <= 1 + _OVERHANG
        for x, y, w, h in boxes_xywh
    )


def check_pixels(annotations: Annotations) -> None:
    """Raise BadFile if boxes are fractions of their pictures."""
    if are_fractions(annotations.boxes):
        advice = "'ssd-small check-data --fix' writes a file in pixels"
        raise BadFile(_fractions_line(annotations.path, annotations.boxes[0]["bbox"], advice))


def check_result_pixels(path: Path, boxes_xywh: npt.NDArray[np.float64]) -> None:
    """As :func:`check_pixels`, for the boxes ``[D, 4]`` of a COCO result file."""
    if len(boxes_xywh) and _are_fractions(boxes_xywh):
        advice = "multiply them by width and height"
        raise BadFile(_fractions_line(path, boxes_xywh[0].tolist(), advice))


def _fractions_line(path: Path, bbox: Sequence[float], advice: str) -> str:
    first = ", ".join(f"{value:g}" for value in bbox)
    return (
        f"{path}: no box reaches a pixel (the first is [{first}]): they look like fractions of the "
        f"picture, COCO has pixels; {advice}"
    )


def object_sides(
    images: Sequence[dict[str, Any]],
    boxes: Sequence[dict[str, Any]],
    height: int,
    width: int,
    tile: tuple[int, int] | None = None,
    fit: Fit = "stretch",
) -> npt.NDArray[np.float64]:
    """Side ``[B]`` of each box that counts, in pixels at a network's input.

    The side is the square root of the area.

    Args:
        images: entries with their sizes.
        boxes: annotations of these images; those ``iscrowd`` or outside the picture do not count.
        height, width: size of the network's input.
        tile: height and width of the tiles that fill the input, if pictures are cut.
        fit: how pictures of another shape are fitted into the input.
    """
    xyxy, sizes = _counted(images, boxes)
    seen = sizes if tile is None else np.minimum(sizes, tile)
    sides = sides_at_input(xyxy, sizes_seen(fit, seen, (height, width)), height, width)
    return sides[sides > 0]


def picture_sides(
    images: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]]
) -> npt.NDArray[np.float64]:
    """As :func:`object_sides`, but in pixels of the pictures."""
    xyxy, _ = _counted(images, boxes)
    sides: npt.NDArray[np.float64] = np.sqrt((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1))
    return sides[sides > 0]


def _counted(
    images: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Boxes ``[B, 4]`` clipped to their pictures, and the pictures' (height, width) ``[B, 2]``."""
    sizes = {image["id"]: (float(image["width"]), float(image["height"])) for image in images}
    counted = [box for box in boxes if not box.get("iscrowd")]
    xywh = np.array([box["bbox"] for box in counted], np.float64).reshape(-1, 4)
    limit = np.array([sizes[box["image_id"]] for box in counted], np.float64).reshape(-1, 2)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return xyxy.clip(0, np.tile(limit, 2)), limit[:, ::-1]


def sides_at_input(
    boxes_xyxy: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], height: int, width: int
) -> npt.NDArray[np.float64]:
    """Side ``[B]`` of boxes ``[B, 4]`` once their pictures are resized to ``height`` x ``width``.

    ``sizes`` ``[B, 2]`` holds the height and width of each box's picture.
    """
    scale = (np.array([height, width]) / sizes).prod(axis=1)
    areas: npt.NDArray[np.float64] = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1) * scale
    return np.sqrt(areas)


def tiny_objects_line(
    sides: npt.NDArray[np.float64], height: int, width: int, tiles: str | None = None
) -> str | None:
    """A line saying how many objects shrink below :data:`TINY` pixels; None if none does.

    Args:
        sides: see :func:`object_sides`.
        height, width: size of the network's input.
        tiles: option to advise if the median object does; see :func:`tiles_for_objects`.
    """
    tiny = int((sides < TINY).sum())
    if not tiny:
        return None
    median = float(np.median(sides))
    advice = f"; pass {tiles}" if tiles is not None and median < TINY else ""
    return (
        f"{tiny} of {len(sides)} objects shrink below {TINY:g} px at the network's input (median "
        f"object {median:.1f} px at {width}x{height}){advice}"
    )


def tiles_for_objects(
    sides: npt.NDArray[np.float64], height: int, width: int, *, is_recorded: bool = False
) -> str | None:
    """The option that cuts pictures into tiles in which objects are seen; None without objects.

    Args:
        sides: sides of the objects, in pixels of the pictures.
        height, width: size of the network's input.
        is_recorded: the network records the size of the objects it learned, and ``--tiles auto``
            scales the median object to it; else the median object comes to :data:`SEEN` pixels.
    """
    if not len(sides):
        return None
    median = float(np.median(sides))
    if is_recorded:
        return f"--tiles auto --object-size {max(median, 0.1):.1f}"
    across, down = (max(1, round(side * median / SEEN)) for side in (width, height))
    return f"--tiles {across}x{down}"
