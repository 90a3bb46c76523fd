"""Names for the classes of imported networks, where their number says which they are."""

from __future__ import annotations

from ..configs.class_names import COCO_NAMES, VOC_NAMES

#: category ids of COCO that no category has, of 1 to 90
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_LAST_ID = 90


def _names_by_id() -> tuple[str, ...]:
    """A name for each of 1 to 90; those without a category differ, as names of classes must."""
    names = iter(COCO_NAMES)
    ids = range(1, _LAST_ID + 1)
    return tuple(f"N/A {number}" if number in _UNUSED else next(names) for number in ids)


#: (project or "", classes with background) -> what the names are called, the names
_KNOWN = {
    ("torchvision", 91): ("COCO's by category id, unused ones as N/A", _names_by_id()),
    ("ultralight", 2): ("face", ("face",)),
    ("", 81): ("COCO's", COCO_NAMES),
    ("", 21): ("Pascal VOC's", VOC_NAMES),
}


def names_from_count(project: str, num_classes: int) -> tuple[str, tuple[str, ...]] | None:
    """What a project's networks of so many classes detect; None where the number does not say."""
    return _KNOWN.get((project, num_classes)) or _KNOWN.get(("", num_classes))
