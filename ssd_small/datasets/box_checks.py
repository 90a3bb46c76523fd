"""Check boxes against their pictures: which ones can be learned and scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import quoted
from .findings import Findings
from .object_sizes import ROUNDING, are_fractions


def _box_in_pixels(box: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Convert a box in fractions of its picture to pixels, with its area and outline."""
    width, height = image["width"], image["height"]
    x, y, w, h = box["bbox"]
    scaled = {"bbox": [x * width, y * height, w * width, h * height]}
    if "area" in box:
        scaled["area"] = box["area"] * width * height
    outline: Any = box.get("segmentation")
    if _is_polygons(outline):
        sides = (width, height)
        scaled["segmentation"] = [[v * sides[i % 2] for i, v in enumerate(p)] for p in outline]
    return {**box, **scaled}


def _is_polygons(outline: Any) -> bool:
    """Whether an outline consists of lists of x, y, x, y, ... rather than a mask."""
    return isinstance(outline, list) and all(
        isinstance(part, list) and all(type(v) in (int, float) for v in part) for part in outline
    )


def checked_boxes(
    boxes: Sequence[dict[str, Any]],
    places: Mapping[int, str],
    images: Sequence[dict[str, Any]],
    kept_image: Mapping[int, int],
    kept_category: Mapping[int, int],
    findings: Findings,
) -> list[dict[str, Any]]:
    """Return the boxes of a repaired file; report those left out and those that overhang.

    Args:
        boxes: as read.
        places: box id -> place in the file, for messages.
        images: the usable entries, with correct sizes.
        kept_image: former image id -> id of the entry that its boxes now belong to.
        kept_category: the same for categories; those that share a name are merged.
        findings: collects what is found.
    """
    by_id = {image["id"]: image for image in images}
    fractions = are_fractions(boxes)
    kept: list[dict[str, Any]] = []
    seen: dict[tuple[Any, ...], Any] = {}
    for one in boxes:
        if one["image_id"] not in kept_image:
            continue
        image = by_id[kept_image[one["image_id"]]]
        box = _box_in_pixels(one, image) if fractions else dict(one)
        box |= {"image_id": image["id"], "category_id": kept_category[one["category_id"]]}
        place = places[box["id"]]
        if not _inside(box, image, place, findings):
            continue
        key = (box["image_id"], box["category_id"], *box["bbox"])
        first = seen.setdefault(key, box["id"])
        if first != box["id"]:
            findings.fixable(
                "duplicate_box",
                f"{_where(place, box, image)} is that of {places[first]} again",
            )
            continue
        kept.append(box)
    return kept


def _inside(box: dict[str, Any], image: dict[str, Any], place: str, findings: Findings) -> bool:
    """Whether any part of a box lies in its picture; report it if not, or if it overhangs."""
    x, y, width, height = box["bbox"]
    if min(width, height) < ROUNDING:
        findings.repaired("box_without_area", f"{_where(place, box, image)} has no area")
        return False
    left, top, right, bottom = _clipped(box, image)
    if min(right - left, bottom - top) < ROUNDING:
        size = f"{image['width']}x{image['height']}"
        findings.fixable(
            "box_outside", f"{_where(place, box, image)} is outside of the picture, {size}"
        )
        return False
    overhang = max(left - x, top - y, x + width - right, y + height - bottom)
    if overhang > ROUNDING:
        findings.note(
            "clipped_box", f"{_where(place, box, image)} reaches {overhang:g} px beyond the picture"
        )
    return True


def _where(place: str, box: dict[str, Any], image: dict[str, Any]) -> str:
    """Describe a box for a message."""
    return f"{place} of {image['file_name']}: bbox {quoted(box['bbox'])}"


def _clipped(box: dict[str, Any], image: dict[str, Any]) -> tuple[float, float, float, float]:
    """The part of a box inside its picture, as x1, y1, x2, y2."""
    x, y, width, height = box["bbox"]
    left, top = max(x, 0.0), max(y, 0.0)
    return left, top, min(x + width, image["width"]), min(y + height, image["height"])
