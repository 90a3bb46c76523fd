"""The size of pictures whose entries do not say it truly, as far as their boxes can tell.

Boxes are in pixels of some size. If they fit the picture that is there and not the size of its
entry, the entry's numbers are wrong; if they do not fit the picture, it is another one than was
annotated. Where they fit both, the other pictures of the file decide, or nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .picture_facts import PictureFacts, Size

#: pixels that a box may overhang: tools round, and some count the last pixel
_OVERHANG = 1.0


def sizes_from_boxes(
    images: Sequence[dict[str, Any]],
    facts: Sequence[PictureFacts],
    boxes_of: Sequence[Sequence[dict[str, Any]]],
    *,
    fractions: bool = False,
) -> dict[int, Size | None]:
    """(height, width) of each picture without a size, or of another shape than its entry says.

    Args:
        images: entries with ``width`` and ``height`` (0: not known).
        facts: of their files.
        boxes_of: annotations of each image, ``bbox`` in pixels.
        fractions: boxes are fractions of the picture, which fit any size.

    Returns:
        By position among ``images``; None where it cannot be told.
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
        # one picture that the boxes do not fit says that numbers are right and pictures wrong
        shared = bool(proven) and all(fitting[i] for i in group)
        if not swapped:
            # pictures that were scaled as a whole would not leave most entries true
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
    """Height and width stand for each other; or the picture was turned."""
    return _annotated(image)[::-1] in facts.sizes
