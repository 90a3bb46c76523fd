"""The lines of YOLO's label files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import BadFile, quoted
from ..files import read_bytes
from .coco_writer import CocoWriter

#: a coordinate beyond this is in pixels; below it, a tool's rounding or an object that overhangs
_MOST_FRACTION = 2.0


def objects_of(
    path: Path, writer: CocoWriter, *, keypoints: bool
) -> Iterator[tuple[tuple[float, float, float, float], int]]:
    """Corners as fractions and class number of each line of a label file.

    Args:
        path: the file.
        writer: has the classes; counts what was left out of lines.
        keypoints: numbers after the first four are key points, no outline.

    Raises:
        BadFile: a line is no label; named.
    """
    for number, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        try:
            label, *values = (float(word) for word in words)
            if not math.isfinite(label):
                raise ValueError("a class that is no number")
        except ValueError as error:
            raise BadFile(
                f"{where}: {quoted(line)} is not a label; expected class number, centre x, y, "
                "width and height"
            ) from error
        if label != int(label) or not 0 <= label < len(writer.labels):
            raise BadFile(
                f"{where}: class {words[0]} is not one of the {len(writer.labels)} classes, 0 to "
                f"{len(writer.labels) - 1}; correct it, or name all classes"
            )
        yield _corners(values, where, writer, keypoints=keypoints), int(label)


def _corners(
    values: Sequence[float], where: str, writer: CocoWriter, *, keypoints: bool
) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 as fractions; of an outline the box around it."""
    if not all(math.isfinite(one) for one in values):
        raise BadFile(f"{where}: a coordinate is not finite; correct it")
    count = len(values)
    if count < 4 or count == 5:
        what = "a detection with its score?" if count == 5 else "too few"
        raise BadFile(
            f"{where}: {count + 1} numbers ({what}); expected class number, centre x, y, width and "
            "height"
        )
    outline = count > 4 and count % 2 == 0 and not keypoints
    if any(abs(one) > _MOST_FRACTION for one in (values if outline else values[:4])):
        raise BadFile(
            f"{where}: {max(values, key=abs):g} is no fraction of the picture; the labels seem to "
            "be in pixels: divide by its width and height"
        )
    if outline:
        writer.counts["outlines"] += 1
        x, y = values[::2], values[1::2]
        return min(x), min(y), max(x), max(y)
    writer.counts["keypoints"] += count > 4
    x_centre, y_centre, width, height = values[:4]
    return (
        x_centre - width / 2,
        y_centre - height / 2,
        x_centre + width / 2,
        y_centre + height / 2,
    )


def text_of(path: Path) -> str:
    """The text of a small file, UTF-8.

    Raises:
        BadFile: it cannot be read, or is no such text.
    """
    try:
        return read_bytes(path, "a text file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
