"""Class names of imported networks, where the number of classes determines them."""

from __future__ import annotations

from ..configs.class_names import COCO_NAMES, VOC_NAMES

#: ids from 1 to 90 that no COCO category has
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_LAST_ID = 90


def _names_by_id() -> tuple[str, ...]:
    """A name for each id from 1 to 90; unused ones are numbered, since class names must differ."""
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
    """Class names of a project's network with this many classes; None if they are not known."""
    return _KNOWN.get((project, num_classes)) or _KNOWN.get(("", num_classes))
