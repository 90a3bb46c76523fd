"""Convert boxes in a CSV file, one per line, to COCO-format annotations.

The columns are ``image,x1,y1,x2,y2,label``: pixels count from 0, and the box ends at x2, y2. With a
header they may be in any order and have any of the usual names (for example TensorFlow's
``filename,width,height,class,xmin,ymin,xmax,ymax``); without one they must be in this order. A line
with only a name is a picture without objects.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..configs.class_names import composed, name_fault
from ..errors import BadFile, quoted
from ..pictures.listing import image_suffixes, is_image_name
from ..pictures.sizes import size_of_boxes
from .coco_writer import CocoWriter, Conversion
from .picture_files import PictureFolder
from .source_files import common_root, finite_number, read_text

_EXPECTED = "expected the columns image, x1, y1, x2, y2, label, by these names or in this order"
#: names of columns, in lower case without blanks, hyphens, dots and underscores
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("image", "filename", "file", "path", "img", "imageid", "imagename", "imagepath"),
        *("imgpath", "filepath", "imagefilename"),
    ),
    "x1": ("x1", "xmin", "left", "bboxx1", "bboxxmin", "x", "bboxx", "bboxleft"),
    "y1": ("y1", "ymin", "top", "bboxy1", "bboxymin", "y", "bboxy", "bboxtop"),
    "x2": ("x2", "xmax", "right", "bboxx2", "bboxxmax", "bboxright"),
    "y2": ("y2", "ymax", "bottom", "bboxy2", "bboxymax", "bboxbottom"),
    "w": ("w", "boxwidth", "bboxwidth", "bboxw"),
    "h": ("h", "boxheight", "bboxheight", "bboxh"),
    "label": (
        *("label", "class", "classname", "name", "category", "categoryname", "labelname"),
        *("classid", "categoryid", "labelid"),
    ),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
}
#: order of the columns without a header, by their number
_ORDERS = {
    6: ("image", "x1", "y1", "x2", "y2", "label"),
    8: ("image", "width", "height", "label", "x1", "y1", "x2", "y2"),
}
#: two more orders of eight columns, used if cell 5 (from 0) is not a number: what makesense.ai
#: writes, and lists such as SKU-110K's, which begin with the picture
_LABEL_FIRST = ("label", "x1", "y1", "w", "h", "image", "width", "height")
_SIZE_LAST = ("image", "x1", "y1", "x2", "y2", "label", "width", "height")
#: the line in which spreadsheets name the column separator
_SEPARATOR = re.compile(r"\s*sep=(.)", re.IGNORECASE)
#: what programs write for an empty cell
_BLANK = ("", "nan", "null", "none", "na")


@dataclass(frozen=True)
class _Row:
    """A line: the picture's name, its annotated (width, height) if given, and its object."""

    where: str
    image: str
    size: tuple[float, float] | None
    corners: tuple[float, float, float, float] | None
    label: str


def coco_from_csv(
    source: str | Path,
    labels: Sequence[str] | None = None,
    *,
    images: str | Path | None = None,
) -> Conversion:
    """Convert a CSV file of boxes.

    A box becomes ``x1, y1, x2 - x1, y2 - y1``, since pixels count from 0 and it ends at x2, y2.

    Args:
        source: the file.
        labels: class names in the order of their ids; default: all in the file, sorted.
        images: folder that picture names are relative to; default: that of the file.

    Raises:
        BadFile: a line is not as expected, or a picture is missing; names file and line.
    """
    source = Path(source)
    folder = Path(images) if images is not None else source.parent
    rows = [*_rows(source)]
    objects = [row for row in rows if row.corners is not None]
    if not objects:
        raise BadFile(f"{source} holds no box; {_EXPECTED}")
    if all(max(map(abs, row.corners)) <= 1 for row in objects if row.corners is not None):
        raise BadFile(
            f"{source}: no coordinate is above 1, so they look like fractions of the picture; "
            "expected pixels: multiply by its width and height"
        )
    names = labels or sorted({row.label for row in objects})
    pictures = PictureFolder(folder)
    by_image: dict[Path, list[_Row]] = {}
    for row in rows:
        by_image.setdefault(_file(pictures, row), []).append(row)
    writer = CocoWriter(names, common_root(by_image, folder))
    for file, of_image in by_image.items():
        writer.add_image(file, *_size(file, of_image))
        for row in of_image:
            if row.corners is not None:
                x1, y1, x2, y2 = row.corners
                corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
                writer.counts["swapped"] += corners != row.corners
                writer.add_object(row.label, corners, row.where)
    if not writer.annotations:
        raise BadFile(
            f"{source}: no object of the labels {', '.join(names[:5])} (there are "
            f"{', '.join(sorted(writer.other)[:5]) or 'none with an area'}); check --labels"
        )
    return writer.result(f"{source.name}, from CSV")


def _file(pictures: PictureFolder, row: _Row) -> Path:
    """The picture of a line, whose name may lack the file extension."""
    if (found := pictures.path(row.image)) is not None:
        return found
    if not is_image_name(Path(row.image)):
        names = (f"{row.image}{ending}" for ending in image_suffixes())
        files = dict.fromkeys(one for one in map(pictures.path, names) if one is not None)
        if len(files) > 1:
            first, second, *_ = files
            raise BadFile(
                f"{row.where}: picture {quoted(row.image)} could be {first} or {second}; write its "
                "ending"
            )
        if files:
            return next(iter(files))
    raise BadFile(
        f"{row.where}: picture {quoted(row.image)} is not in {pictures.folder}; pass the folder "
        f"it is relative to with --images{_advice(pictures.folder, row.image)}"
    )


def _advice(folder: Path, name: str) -> str:
    """Suggest a sub-folder that holds the picture, if there is one."""
    below = sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    fitting = [one for one in below if (one / name).is_file()]
    return f" ({fitting[0]} would fit)" if fitting else ""


def _size(file: Path, rows: Sequence[_Row]) -> tuple[float, float]:
    """(width, height) that the boxes refer to: from the lines if given, else from the picture."""
    given = {row.size for row in rows if row.size is not None}
    if len(given) > 1:
        raise BadFile(f"{rows[0].where}: {file.name} has two sizes, {sorted(given)}; correct them")
    if given:
        return given.pop()
    height, width = size_of_boxes(file, [row.corners for row in rows if row.corners is not None])
    return width, height


def _rows(source: Path) -> Iterator[_Row]:
    text = read_text(source, "a CSV file of boxes")
    first = next((line for line in text.splitlines() if line.strip()), "")
    said = _SEPARATOR.match(first)
    delimiter = said[1] if said else max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns: Mapping[str, int] | None = None
    count = 0
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            where = f"{source}, line {reader.line_num}"
            if not any(cells) or (columns is None and _SEPARATOR.match(delimiter.join(cells))):
                continue
            if delimiter != ",":
                cells = [_with_point(cell) for cell in cells]
            if columns is None:
                columns, is_header = _columns(cells, where)
                count = len(cells)
                if is_header:
                    continue
            yield _row(_filled(cells, count, where), columns, where)
    except csv.Error as error:
        raise BadFile(f"{source}, line {reader.line_num}: {error}; {_EXPECTED}") from error


def _columns(cells: Sequence[str], where: str) -> tuple[Mapping[str, int], bool]:
    """Position of each column, from the first line, and whether that line is a header."""
    plain = ["".join(sign for sign in cell.lower() if sign not in " -._") for cell in cells]
    found = {
        name: place
        for name, known in _COLUMNS.items()
        if (place := next((plain.index(one) for one in known if one in plain), None)) is not None
    }
    corners = {"x1", "y1"} <= found.keys()
    if corners and not {"x2", "y2"} <= found.keys() and {"width", "height"} <= found.keys():
        # without x2 and y2, width and height are those of the box
        found.setdefault("w", found.pop("width"))
        found.setdefault("h", found.pop("height"))
    ends = {"x2", "y2"} <= found.keys() or {"w", "h"} <= found.keys()
    if corners and ends and {"image", "label"} <= found.keys():
        return found, True
    order = _ORDERS.get(len(cells))
    if order is None or (found and all(finite_number(cell) is None for cell in cells)):
        missing = [name for name in ("image", "x1", "y1", "x2", "y2", "label") if name not in found]
        raise BadFile(
            f"{where}: {len(cells)} columns without {', '.join(missing)}: {quoted(list(cells))}; "
            f"{_EXPECTED}"
        )
    if len(cells) == len(_LABEL_FIRST) and finite_number(cells[5]) is None:
        order = _SIZE_LAST if is_image_name(Path(cells[0])) else _LABEL_FIRST
    return {name: place for place, name in enumerate(order)}, False


def _with_point(cell: str) -> str:
    """Replace the decimal comma of many languages by a point."""
    return cell.replace(",", ".") if re.fullmatch(r"-?[0-9]+,[0-9]+", cell) else cell


def _filled(cells: Sequence[str], count: int, where: str) -> list[str]:
    """Pad a line to the number of cells of the first one; only a lone name may have fewer."""
    cells = [*cells[:count], *filter(None, cells[count:])]
    if len(cells) != count and any(cells[1:]):
        raise BadFile(
            f"{where}: {len(cells)} columns, expected {count}; correct the line (texts that hold "
            "the separator stand in quotation marks)"
        )
    return [*cells, *[""] * (count - len(cells))]


def _row(cells: Sequence[str], columns: Mapping[str, int], where: str) -> _Row:
    image, label = cells[columns["image"]], cells[columns["label"]]
    if not image:
        raise BadFile(f"{where}: no name of a picture; {_EXPECTED}")
    size = None
    if {"width", "height"} <= columns.keys():
        given = [_number(cells[columns[one]] or "0", one, where) for one in ("width", "height")]
        size = (given[0], given[1]) if min(given) >= 1 else None
    sides = ("x2", "y2") if "x2" in columns else ("w", "h")
    texts = {name: cells[columns[name]] for name in ("x1", "y1", *sides)}
    if label.lower() in _BLANK and all(text.lower() in _BLANK for text in texts.values()):
        return _Row(where, image, size, None, "")
    if not label:
        raise BadFile(f"{where}: a box without label; {_EXPECTED}")
    if fault := name_fault(label):
        raise BadFile(f"{where}: class name {quoted(label)} {fault}; correct it")
    x1, y1, x2, y2 = (_number(text, name, where) for name, text in texts.items())
    corners = (x1, y1, x2, y2) if "x2" in texts else (x1, y1, x1 + x2, y1 + y2)
    return _Row(where, image, size, corners, composed(label))


def _number(text: str, column: str, where: str) -> float:
    value = finite_number(text)
    if value is None:
        raise BadFile(f"{where}: {column} is {quoted(text)}, expected a number of pixels")
    return value
