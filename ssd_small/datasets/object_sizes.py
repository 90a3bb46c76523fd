"""How large objects are: in pixels at all, and at the input of a network."""

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

#: pixels that decimal coordinates in a JSON file lose: a smaller side is none, and a box may
#: overhang by as much
ROUNDING = 0.01
#: boxes as fractions of the picture overhang it by this much at most, in each direction
_OVERHANG = 0.5
#: side of the median object at the input of tiles that are proposed: a network's first maps see it
#: whole, and half of the objects may still be smaller
SEEN = 2 * TINY


def are_fractions(boxes: Sequence[dict[str, Any]]) -> bool:
    """Whether no box of a file reaches about a pixel: they are fractions of their pictures."""
    return bool(boxes) and _are_fractions(box["bbox"] for box in boxes)


def _are_fractions(boxes_xywh: Iterable[Sequence[float]]) -> bool:
    return all(
        min(x, y) >= -_OVERHANG
        # a side may be all of the picture, and lose to rounding
        and max(w, h) <= 1.01
        and max(x + w, y + h) <= 1 + _OVERHANG
        for x, y, w, h in boxes_xywh
    )


def check_pixels(annotations: Annotations) -> None:
    """Refuse boxes that are fractions of their pictures, with BadFile."""
    if are_fractions(annotations.boxes):
        advice = "'ssd-small check-data --fix' writes a file in pixels"
        raise BadFile(_fractions_line(annotations.path, annotations.boxes[0]["bbox"], advice))


def check_result_pixels(path: Path, boxes_xywh: npt.NDArray[np.float64]) -> None:
    """As :func:`check_pixels`, of the boxes ``[D, 4]`` of a COCO result file."""
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
    """``[B]`` square root of the area of each box that counts, its picture at a network's input.

    Args:
        images: with their sizes.
        boxes: of these; what is ``iscrowd`` or outside of its picture does not count.
        height, width: of the input, to which pictures are brought.
        tile: height and width of the tiles that are stretched, where pictures are cut.
        fit: how pictures of another shape get into the input.
    """
    xyxy, sizes = _counted(images, boxes)
    seen = sizes if tile is None else np.minimum(sizes, tile)
    sides = sides_at_input(xyxy, sizes_seen(fit, seen, (height, width)), height, width)
    return sides[sides > 0]


def picture_sides(
    images: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]]
) -> npt.NDArray[np.float64]:
    """As :func:`object_sides`, in pixels of the pictures."""
    xyxy, _ = _counted(images, boxes)
    sides: npt.NDArray[np.float64] = np.sqrt((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1))
    return sides[sides > 0]


def _counted(
    images: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Boxes ``[B, 4]`` inside their pictures, and (height, width) ``[B, 2]`` of these."""
    sizes = {image["id"]: (float(image["width"]), float(image["height"])) for image in images}
    counted = [box for box in boxes if not box.get("iscrowd")]
    xywh = np.array([box["bbox"] for box in counted], np.float64).reshape(-1, 4)
    limit = np.array([sizes[box["image_id"]] for box in counted], np.float64).reshape(-1, 2)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return xyxy.clip(0, np.tile(limit, 2)), limit[:, ::-1]


def sides_at_input(
    boxes_xyxy: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], height: int, width: int
) -> npt.NDArray[np.float64]:
    """``[B]`` square root of the area of boxes ``[B, 4]`` once pictures are ``height`` x ``width``.

    ``sizes`` ``[B, 2]`` are the height and width of the picture of each box.
    """
    scale = (np.array([height, width]) / sizes).prod(axis=1)
    areas: npt.NDArray[np.float64] = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1) * scale
    return np.sqrt(areas)


def tiny_objects_line(
    sides: npt.NDArray[np.float64], height: int, width: int, tiles: str | None = None
) -> str | None:
    """A line where objects shrink below :data:`TINY` pixels; None where none does.

    Args:
        sides: see :func:`object_sides`.
        height, width: of the network's input.
        tiles: what to pass where the median object does; see :func:`tiles_for_objects`.
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
    """The option that cuts pictures so that objects are seen; None without objects.

    Args:
        sides: of the objects, in pixels of the pictures.
        height, width: of the network's input.
        is_recorded: the network says how large the objects were that it has learned, and --tiles
            auto makes the median object as large; else it comes to :data:`SEEN` pixels.
    """
    if not len(sides):
        return None
    median = float(np.median(sides))
    if is_recorded:
        return f"--tiles auto --object-size {max(median, 0.1):.1f}"
    across, down = (max(1, round(side * median / SEEN)) for side in (width, height))
    return f"--tiles {across}x{down}"
