"""Read one Pascal VOC annotation: XML as people's tools write it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..configs.class_names import composed, name_fault
from ..errors import BadFile, quoted
from ..files import read_bytes
from .source_files import encoding_by_mark, finite_number

_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_HEAD = re.compile(r"^\s*<\?xml[^>]*\?>")
#: declared names of character sets -> the larger set that contains them and is actually meant
_MEANT = {"gb2312": "gb18030", "gbk": "gb18030"}
#: encodings whose declaration could not have been read byte by byte
_WIDE = ("utf-16", "utf_16", "utf16", "utf-32", "utf_32", "utf32", "ucs-2", "ucs-4")
#: size limit of a file; an object takes 500 bytes
_MOST_BYTES = 1 << 26
_NO_SIZE = ("", "none", "null", "nan", "unknown", "unspecified")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_YES, _NO = ("true", "yes", "y"), ("false", "no", "n", "")


@dataclass(frozen=True)
class VocObject:
    """An object as given in the XML.

    Attributes:
        name: its class name.
        corners: xmin, ymin, xmax, ymax, with each minimum below its maximum.
        difficult: whether it is marked difficult.
        unclear: whether that mark is a word that says neither yes nor no ("Unspecified").
        swapped: whether a maximum and a minimum had to be swapped.
        is_outline: whether it has a polygon instead of a box; the box is the one around it.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    unclear: bool = False
    swapped: bool = False
    is_outline: bool = False


@dataclass(frozen=True)
class VocPicture:
    """Content of an XML file; width and height are in pixels, or 0 if not given.

    ``misdeclared``: the file is UTF-8, not in the encoding that it declares.
    """

    path: Path
    file_name: str
    width: float
    height: float
    objects: tuple[VocObject, ...]
    misdeclared: bool = False


def read_voc(path: Path) -> VocPicture:
    """Parse one annotation.

    Raises:
        BadFile: unreadable, not XML, or not a VOC annotation.
    """
    text, misdeclared = _text_from_bytes(read_bytes(path, "a VOC annotation", _MOST_BYTES), path)
    if "<!ENTITY" in text:
        raise BadFile(f"{path} declares entities, which annotations do not need; remove them")
    try:
        root = ElementTree.fromstring(_HEAD.sub("", text, count=1))
    except (ElementTree.ParseError, ValueError) as error:
        raise BadFile(f"{path} is not XML ({error}); expected a VOC annotation") from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    try:
        if root.tag != "annotation":
            raise ValueError(f"the root is <{root.tag}>")
        size = root.find("size")
        width, height = (_side(size, side) for side in ("width", "height"))
        objects = tuple(_object(item) for item in root.findall("object"))
    except ValueError as error:
        raise BadFile(
            f"{path} is not a VOC annotation ({error}); expected <annotation> with <object>s of "
            "<name> and <bndbox> of xmin, ymin, xmax, ymax"
        ) from error
    file_name = (root.findtext("filename") or "").strip()
    return VocPicture(path, file_name, width, height, objects, misdeclared)


def _text_from_bytes(content: bytes, path: Path) -> tuple[str, bool]:
    """Decode by byte order mark, else declared encoding, else UTF-8; whether it was misdeclared."""
    declared = _DECLARATION.match(content)
    said = declared[1].decode("ascii").lower() if declared else None
    # a tool that re-encodes the text of a file leaves the old declaration in it
    unsaid = said is not None and said.startswith(_WIDE)
    encoding = encoding_by_mark(content) or ("utf-8" if said is None or unsaid else said)
    try:
        return content.decode(_MEANT.get(encoding, encoding)), unsaid
    except LookupError as error:
        raise BadFile(
            f"{path} is declared to be in {quoted(encoding)}, which Python does not know; save it "
            "as UTF-8"
        ) from error
    except UnicodeError as error:
        if said is not None:
            with suppress(UnicodeError):
                return content.decode("utf-8"), True
        raise BadFile(
            f"{path} is not text in {encoding}, which it "
            f"{'is declared to be' if declared else 'should be without a declaration'} ({error}); "
            "save it as UTF-8"
        ) from error


def _object(item: ElementTree.Element) -> VocObject:
    name = composed((item.findtext("name") or "").strip())
    if not name:
        raise ValueError("an <object> without <name>")
    if fault := name_fault(name):
        raise ValueError(f"class name {quoted(name)} {fault}")
    box = item.find("bndbox")
    x1, y1, x2, y2 = _around(item) if box is None else (_number(box, key) for key in _CORNERS)
    corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    swapped = corners != (x1, y1, x2, y2)
    word = (item.findtext("difficult") or "").strip().lower()
    number = float(word in _YES) if word in (*_YES, *_NO) else finite_number(word)
    unclear = number is None
    difficult = bool(number)
    return VocObject(name, corners, difficult, unclear, swapped, is_outline=box is None)


def _around(item: ElementTree.Element) -> tuple[float, float, float, float]:
    """Corners around the polygon of an object without a box.

    Tools write its points in two ways: as x1, y1, x2, y2 and so on, or as elements with x and y.
    """
    if item.find("robndbox") is not None:
        raise ValueError("an <object> with a rotated box, <robndbox>")
    polygon = item.find("polygon")
    if polygon is None:
        raise ValueError("an <object> without <bndbox>")
    x, y = (
        [_value(one, "polygon") for one in polygon.iter() if re.fullmatch(rf"{axis}\d*", one.tag)]
        for axis in "xy"
    )
    if not x or len(x) != len(y):
        raise ValueError(f"a <polygon> of {len(x)} x and {len(y)} y")
    return min(x), min(y), max(x), max(y)


def _side(size: ElementTree.Element | None, key: str) -> float:
    """Width or height; 0 if it is absent or a word stands in its place."""
    text = "" if size is None else (size.findtext(key) or "").strip()
    if size is None or text.lower() in _NO_SIZE:
        return 0.0
    return _number(size, key)


def _number(parent: ElementTree.Element, key: str) -> float:
    """The finite number in a child element."""
    child = parent.find(key)
    if child is None:
        raise ValueError(f"<{key}> of <{parent.tag}> is '', not a number")
    return _value(child, parent.tag)


def _value(element: ElementTree.Element, parent: str) -> float:
    text = (element.text or "").strip()
    value = finite_number(text)
    if value is None:
        raise ValueError(f"<{element.tag}> of <{parent}> is {quoted(text)}, not a number")
    return value
