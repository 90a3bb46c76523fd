"""Read the list of annotations in COCO files: those that are boxes, and their ids."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import coco_fields as fields
from .coco_lists import Listed
from .findings import Findings
from .ids import Place, key_from_id, kind_of_spelling, shown


class Boxes(NamedTuple):
    """The annotations that are boxes.

    Attributes:
        entries: ready for use.
        positions: position of each in the file's list.
        renumbered: whether they were given new ids instead of the file's.
        dropped: number of boxes left out because they have no area.
    """

    entries: tuple[dict[str, Any], ...]
    positions: tuple[int, ...]
    renumbered: bool
    dropped: int


def read_boxes(
    entries: list[Any] | tuple[()], images: Listed, categories: Listed, findings: Findings
) -> Boxes:
    """Read the annotations that are boxes; report what is wrong with the others."""
    ids, renumbered = _annotation_ids(entries, findings)
    boxes, positions, dropped, incomplete = [], [], 0, 0
    for index, entry in enumerate(entries):
        where = Place("annotations", index, entry)
        if not isinstance(entry, dict):
            findings.error("bad_entry", f"{where} is {shown(entry)}; expected an object")
            continue
        image = images.reference(entry, where, findings)
        if entry.get("category_id") is None and "category_name" not in entry:
            findings.repaired(
                "null_category", f"{where}: no category_id; the annotation was left out"
            )
            incomplete += 1
            continue
        category = categories.reference(entry, where, findings)
        bbox = fields.box(entry, where, findings)
        incomplete += bbox is None
        if image is None or category is None or bbox is None:
            continue
        if not _has_area(bbox, where, findings):
            dropped += 1
            continue
        kept = {
            "id": ids[index],
            "image_id": image,
            "category_id": category,
            "bbox": bbox,
            "area": fields.area(entry, bbox, where, findings),
            "iscrowd": fields.flag(entry, "iscrowd", where, findings),
        }
        if "difficult" in entry:
            kept["difficult"] = fields.flag(entry, "difficult", where, findings)
        if None not in kept.values():
            boxes.append(entry | kept)
            positions.append(index)
    if entries and incomplete == len(entries):
        findings.error("no_boxes", f"none of {len(entries)} annotations has a bbox and category_id")
    return Boxes(tuple(boxes), tuple(positions), renumbered, dropped)


def _has_area(bbox: list[float], where: Place, findings: Findings) -> bool:
    """Whether a box is finite and has an area; report it if not."""
    x, y, width, height = bbox
    if not math.isfinite(x + y + width * height):
        findings.repaired("box_not_finite", f"{where}: bbox {bbox}; the annotation was left out")
        return False
    if width > 0 and height > 0:
        return True
    findings.repaired(
        "box_without_area",
        f"{where}: bbox {bbox} has no area; expected a width and height above 0; the annotation "
        "was left out",
    )
    return False


def _annotation_ids(entries: list[Any] | tuple[()], findings: Findings) -> tuple[list[int], bool]:
    """The file's ids if they are distinct and above 0, else 1, 2, ...; and whether these are new.

    Nothing refers to annotation ids, and pycocotools takes a matched id of 0 for "not matched".
    """
    plain = {e["id"] for e in entries if isinstance(e, dict) and type(e.get("id")) is int}
    if len(plain) == len(entries) and min(plain, default=1) > 0 and max(plain, default=1) < 2**63:
        return [entry["id"] for entry in entries], False
    first: dict[Any, int] = {}
    sound = True
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            continue
        where = Place("annotations", index, entry)
        if entry.get("id") is None:
            findings.repaired("annotation_without_id", f"{where}: no id; numbered anew")
            sound = False
            continue
        key = key_from_id(entry["id"])
        if key is None:
            findings.repaired("bad_annotation_id", f"{where}: not a number; numbered anew")
            sound = False
            continue
        if kind := kind_of_spelling(entry["id"]):
            findings.repaired(kind, f"{where}: expected a whole number")
        if key in first:
            findings.repaired(
                "repeated_annotation_id",
                f"{where}: id as of annotations[{first[key]}]; all are numbered anew",
            )
            sound = False
        elif isinstance(key, str) or key <= 0:
            sound = False
        first.setdefault(key, index)
    if sound:
        own = [int(key_from_id(e["id"]) or 0) if isinstance(e, dict) else 0 for e in entries]
        return own, False
    if 0 in first:
        findings.note("annotation_id_zero", f"{Place('annotations', first[0], entries[first[0]])}")
    return list(range(1, len(entries) + 1)), True
