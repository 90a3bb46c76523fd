"""Read fields of COCO entries as tools write them: numbers as text, null, boxes as objects."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import urlsplit

from ..configs.class_names import composed, name_fault
from .findings import Findings
from .ids import Place, shown

#: keys of a box written as an object; the last two rows are corners
_BOX_KEYS = (
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("left", "top", "width", "height"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
)
#: fields that hold the address of a picture in files that leave out its name
_URLS = ("coco_url", "absolute_url")
#: limit of a picture's side in pixels; keeps sums and areas finite
LARGEST_SIDE = 2**31
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}


def number_from_value(value: object) -> float | None:
    """A number, or text that is one, including NaN and infinity; None if it is neither."""
    if type(value) not in (int, float, str) or (isinstance(value, str) and "_" in value):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None


def category_name(value: object, where: Place, findings: Findings) -> str | None:
    """A category's name, stripped, in composed Unicode; None and an error if it is no name."""
    if type(value) in (int, float):
        findings.repaired("name_not_text", f"{where}: name is the number {shown(value)}, not text")
        value = str(value)
    if not isinstance(value, str):
        findings.error("bad_name", f"{where}: name is {shown(value)}; expected text")
        return None
    name = value.strip()
    if fault := name_fault(name):
        findings.error("bad_name", f"{where}: name {shown(value)} {fault}")
        return None
    if name != value:
        findings.repaired("blanks_around_name", f"{where}: name {shown(value)} has blanks at ends")
    if (one := composed(name)) != name:
        findings.note("decomposed_name", f"{where}: name {shown(value)} has its accents apart")
    return one


def file_name(entry: dict[str, Any], where: Place, findings: Findings) -> str | None:
    """A picture's file name; for LVIS and Azure, which leave it out, the end of its address.

    The end is the last two parts (``val2017/000000397133.jpg``), since LVIS draws on two folders.
    None and an error if there is neither.
    """
    name = entry.get("file_name")
    if name is None or name == "":
        for key in _URLS:
            url = entry.get(key)
            if isinstance(url, str) and (parts := [p for p in _path(url).split("/") if p]):
                name = "/".join(parts[-2:])
                findings.note(
                    "file_name_from_url", f"{where}: no file_name; {shown(name)} by its {key}"
                )
                return name
        findings.error(
            "missing_file_name",
            f"{where}: file_name is {_given(entry, 'file_name')}; expected text",
        )
        return None
    if not isinstance(name, str):
        findings.error("bad_file_name", f"{where}: file_name is {shown(name)}; expected text")
        return None
    if "\0" in name or any("\ud800" <= sign <= "\udfff" for sign in name):
        findings.error(
            "bad_file_name", f"{where}: file_name {shown(name)} cannot be the name of a file"
        )
        return None
    return name


def _path(url: str) -> str:
    """The path of an address including the host, which may be the first folder (AmlDatastore).

    In a data store's address the host may even be the file; in a web server's it never is.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    is_place = parts.path.strip("/") or parts.scheme not in ("http", "https")
    return f"{parts.netloc}{parts.path}" if is_place else ""


def size(entry: dict[str, Any], where: Place, findings: Findings) -> dict[str, float]:
    """A picture's width and height; 0 and an error for a side that the file does not give."""
    sides = {}
    for key in ("width", "height"):
        value = entry.get(key)
        number = number_from_value(value)
        if number is None or not 0 < number < LARGEST_SIDE:
            number = 0
        elif isinstance(value, str):
            findings.repaired("number_as_text", f"{where}: {key} is the text {shown(value)}")
        sides[key] = int(number) if number == int(number) else number
    missing = [key for key, number in sides.items() if not number]
    if missing:
        given = " and ".join(f"{key} is {_given(entry, key)}" for key in missing)
        findings.error(
            "image_without_size",
            f"{where}: {given}; the picture has no size: expected its width and height in pixels",
        )
    return sides


def box(entry: dict[str, Any], where: Place, findings: Findings) -> list[float] | None:
    """``[x, y, w, h]`` as given, including NaN; None and a finding if there is no box."""
    value = entry.get("bbox")
    if value is None or value == []:
        if (around := _box_around(entry.get("segmentation"))) is not None:
            findings.repaired(
                "bbox_from_outline",
                f"{where}: bbox is {_given(entry, 'bbox')}; taken as the box around its outline",
            )
            return around
        findings.repaired(
            "null_box", f"{where}: bbox is {_given(entry, 'bbox')}; the annotation was left out"
        )
        return None
    given = value
    if isinstance(value, str) and (value := _parsed(value)) is not None:
        findings.repaired("bbox_as_text", f"{where}: bbox is the text {shown(given)}")
    if isinstance(value, dict) and (value := _box_from_object(value)) is not None:
        findings.repaired("bbox_as_object", f"{where}: bbox is {shown(given)}, not a list")
    if not isinstance(value, list) or len(value) != 4:
        is_list = "" if isinstance(given, (list, dict)) else " is not a list"
        findings.error(
            "bad_box", f"{where}: bbox {shown(given)}{is_list}; expected four numbers [x, y, w, h]"
        )
        return None
    if None in value:
        findings.repaired(
            "null_box", f"{where}: bbox {shown(given)} has null; the annotation was left out"
        )
        return None
    numbers = [number for number in map(number_from_value, value) if number is not None]
    if len(numbers) != 4:
        findings.error(
            "bad_box",
            f"{where}: bbox {shown(given)} holds what is not a number that can be used; expected "
            "[x, y, w, h]",
        )
        return None
    if any(isinstance(one, str) for one in value):
        findings.repaired("number_as_text", f"{where}: bbox {shown(given)} holds texts")
    return numbers


def _box_around(outline: object) -> list[float] | None:
    """``[x, y, w, h]`` around polygons ``[[x, y, x, y, ...], ...]``; None for anything else."""
    if not isinstance(outline, list) or not outline:
        return None
    if not all(isinstance(part, list) and part and len(part) % 2 == 0 for part in outline):
        return None
    numbers = [[number_from_value(value) for value in part] for part in outline]
    xs = [x for part in numbers for x in part[0::2] if x is not None]
    ys = [y for part in numbers for y in part[1::2] if y is not None]
    if len(xs) + len(ys) != sum(map(len, numbers)):
        return None
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _parsed(text: str) -> Any:
    """A list or object written as text, as in tables; None for any other text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (list, dict)) else None


def _box_from_object(value: dict[str, Any]) -> list[Any] | None:
    """``[x, y, w, h]`` of a box written as an object; None if it does not use known keys."""
    for keys in _BOX_KEYS:
        if not all(key in value for key in keys):
            continue
        found = [value[key] for key in keys]
        if keys[2] not in ("xmax", "x2"):
            return found
        x1, y1, x2, y2 = (number_from_value(one) for one in found)
        if x1 is None or y1 is None or x2 is None or y2 is None:
            return found
        return [x1, y1, x2 - x1, y2 - y1]
    return None


def area(
    entry: dict[str, Any], bbox: list[float], where: Place, findings: Findings
) -> float | None:
    """The area of an object; that of its box if the file does not give it.

    None and an error if it is not a number.
    """
    of_box = bbox[2] * bbox[3]
    if "area" not in entry:
        return of_box
    value = entry["area"]
    if value is None or value == "":
        findings.repaired("null_field", f"{where}: area is {shown(value)}; taken as its box's")
        return of_box
    number = number_from_value(value)
    if number is None:
        findings.error("bad_area", f"{where}: area {shown(value)} is not a number")
        return None
    if isinstance(value, str):
        findings.repaired("number_as_text", f"{where}: area is the text {shown(value)}")
    # 0 comes from a tool without areas; it would make every object a small one
    if not 0 < number < math.inf:
        findings.repaired("bad_area", f"{where}: area is {number:g}; taken as its box's")
        return of_box
    return number


def flag(entry: dict[str, Any], key: str, where: Place, findings: Findings) -> int | None:
    """A flag such as ``iscrowd``: 0 if absent or null; None and an error if it is not a flag."""
    value = entry.get(key, 0)
    if type(value) is int and value in (0, 1):
        return value
    if value is None or value == "":
        findings.repaired("null_field", f"{where}: {key} is {shown(value)}; taken as 0")
        return 0
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        findings.repaired("number_as_text", f"{where}: {key} is the text {shown(value)}")
        return _FLAGS[value.strip().lower()]
    if isinstance(value, bool):
        findings.repaired("flag_as_truth_value", f"{where}: {key} is {shown(value)}")
        return int(value)
    number = None if isinstance(value, str) else number_from_value(value)
    if number not in (0, 1):
        findings.error("bad_flag", f"{where}: {key} is {shown(value)}; expected 0 or 1")
        return None
    return int(number)


def _given(entry: dict[str, Any], key: str) -> str:
    """A field for a message, or ``absent``."""
    return shown(entry[key]) if key in entry else "absent"
