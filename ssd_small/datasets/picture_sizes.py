"""Determine from their boxes the size of pictures whose entries give none or a wrong one.

Boxes are in pixels of some size. If they fit the picture file but not the size in its entry, the
entry is wrong; if they do not fit the file, it is not the picture that was annotated. If they fit
both, the other pictures of the data set decide, or the size stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .picture_facts import PictureFacts, Size

#: pixels by which a box may overhang: tools round, and some include the last pixel
_OVERHANG = 1.0


def sizes_from_boxes(
    images: Sequence[dict[str, Any]],
    facts: Sequence[PictureFacts],
    boxes_of: Sequence[Sequence[dict[str, Any]]],
    *,
    fractions: bool = False,
) -> dict[int, Size | None]:
    """(height, width) of each picture without a size, or with another shape than its entry says.

    Args:
        images: entries with ``width`` and ``height`` (0: unknown).
        facts: facts of their files.
        boxes_of: annotations of each image, ``bbox`` in pixels.
        fractions: whether boxes are fractions of the picture, which fit any size.

    Returns:
        Position in ``images`` -> size, or None where it cannot be determined.
    """
    decided: dict[int, Size | None] = {}
    for i, one in enumerate(facts):
        if one.state == "unsized":
            decided[i] = next((s for s in one.sizes if _fit(boxes_of[i], s)), one.sizes[0])
        elif one.state == "mismatch" and (fractions or not boxes_of[i]):
            decided[i] = one.sizes[0]
    open_ones = [i for i, one in enumerate(facts) if one.state == "mismatch" and i not in decided]
    fitting = {
        i: next((s for s in facts[i].sizes if _fit(boxes_of[i], s)), None) for i in open_ones
    }
    for swapped in (True, False):
        group = [i for i in open_ones if _is_swapped(images[i], facts[i]) is swapped]
        proven = {i for i in group if not _fit(boxes_of[i], _annotated(images[i]))}
        # a single picture that its boxes do not fit suggests that entries are right, files wrong
        shared = bool(proven) and all(fitting[i] for i in group)
        if not swapped:
            # had the whole set been rescaled, most entries would not be correct
            shared |= sum(one.state == "fine" for one in facts) > len(open_ones)
        decided |= {i: fitting[i] if i in proven or shared else None for i in group}
    return decided


def _fit(boxes: Sequence[dict[str, Any]], size: Size) -> bool:
    height, width = size
    corners = [(x + w, y + h) for x, y, w, h in (box["bbox"] for box in boxes)]
    return all(x <= width + _OVERHANG and y <= height + _OVERHANG for x, y in corners)


def _annotated(image: dict[str, Any]) -> Size:
    return int(image["height"]), int(image["width"])


def _is_swapped(image: dict[str, Any], facts: PictureFacts) -> bool:
    """Whether height and width are swapped in the entry, or the picture was turned."""
    return _annotated(image)[::-1] in facts.sizes
