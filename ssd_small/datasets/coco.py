"""Read COCO-format annotations as tools write them; all commands use this reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..configs.class_names import composed
from ..errors import BadFile
from ..json_files import read_json, read_json_bytes, value_from_json
from ..requirements import require
from .coco_boxes import Boxes, read_boxes
from .coco_lists import read_categories, read_images
from .findings import Findings, FirstError
from .ids import IdTable, shown

_EXPECTED = "COCO annotations"
_LISTS = ("images", "annotations", "categories")
#: files of other formats, recognised by a key
_OTHER_FORMATS = {
    "shapes": "LabelMe's file of one picture",
    "_via_img_metadata": "a VIA project; export it as COCO",
}


class Positions(NamedTuple):
    """Positions of images and boxes in the lists of their file.

    Attributes:
        images, boxes: position of each.
        renumbered: whether the boxes were given new ids instead of the file's.
    """

    images: tuple[int, ...]
    boxes: tuple[int, ...]
    renumbered: bool


@dataclass(frozen=True, eq=False)
class Annotations:
    """Ground truth of a data set; ids are whole numbers, whatever the file has.

    Attributes:
        path: the file it came from, or the folder of several files.
        images: id, file_name, width and height of every image.
        categories: id and name, ordered by id.
        boxes: the usable annotations.
        dropped: number of boxes left out because they have no area.
        findings: what was repaired or left out while reading, and what is worth knowing.
        annotated: False for the images of a test set, whose file has no list ``annotations``.
        extra: what the file holds besides the three lists.
        positions: positions of ``images`` and ``boxes`` in the file; None for several files.
        image_spelling, category_spelling: number -> the file's own id, where that is text or
            exceeds 64 bits.
    """

    path: Path
    images: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]
    boxes: tuple[dict[str, Any], ...]
    dropped: int
    findings: Findings = field(default_factory=Findings)
    annotated: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    positions: Positions | None = None
    image_spelling: Mapping[int, object] = field(default_factory=dict)
    category_spelling: Mapping[int, object] = field(default_factory=dict)

    @cached_property
    def _images(self) -> IdTable:
        return IdTable((image["id"] for image in self.images), self.image_spelling)

    @cached_property
    def _categories(self) -> IdTable:
        return IdTable((category["id"] for category in self.categories), self.category_spelling)

    @cached_property
    def root_categories(self) -> frozenset[int]:
        """Ids of categories that only group others: they are a supercategory and have no box.

        Roboflow writes one as category 0. Such a category is not a class to learn.
        """
        above = {
            above
            for one in self.categories
            if isinstance(one.get("supercategory"), str)
            and (above := composed(one["supercategory"].strip())) != one["name"]
        }
        used = {box["category_id"] for box in self.boxes}
        heads = (one["id"] for one in self.categories if one["name"] in above)
        return frozenset(heads) - used if self.boxes else frozenset()

    def image_id(self, value: object) -> int | None:
        """The id of the image that ``value`` means: 5, 5.0, "5", or the text in the file.

        None if there is no such image.
        """
        return self._images.id_from_value(value)

    def category_id(self, value: object) -> int | None:
        """As :meth:`image_id`, for a category."""
        return self._categories.id_from_value(value)

    def image_places(self) -> list[str]:
        """Each image described for a message: list, position and the file's id."""
        found = range(len(self.images)) if self.positions is None else self.positions.images
        spelling = self.image_spelling
        ids = (spelling.get(image["id"], image["id"]) for image in self.images)
        return [f"images[{i}] (id {shown(key)})" for i, key in zip(found, ids, strict=True)]

    def box_places(self) -> dict[int, str]:
        """Box id -> description for a message: list, position and the file's id."""
        if self.positions is None:
            return {box["id"]: f"annotations (id {box['id']})" for box in self.boxes}
        own = "" if self.positions.renumbered else " (id {})"
        return {
            box["id"]: f"annotations[{position}]{own.format(box['id'])}"
            for position, box in zip(self.positions.boxes, self.boxes, strict=True)
        }

    def results_as_in_file(self, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """COCO result entries with ids as the file spells them, for other readers of the file."""
        images, categories = self.image_spelling, self.category_spelling
        return [
            {
                **one,
                "image_id": images.get(one["image_id"], one["image_id"]),
                "category_id": categories.get(one["category_id"], one["category_id"]),
            }
            for one in results
        ]


def read_annotations(path: str | Path, findings: Findings | None = None) -> Annotations:
    """Read and check a COCO annotation file.

    Obvious faults are repaired and recorded in ``Annotations.findings``: null fields, ids and
    numbers written as text, repeated identical entries.

    Args:
        path: the file.
        findings: collects what is wrong, and entries in error are left out; an image without
            a size stays, with width or height 0. Without it, the first error is raised.

    Raises:
        BadFile: not COCO, or (without ``findings``) an entry is in error; says which and why.
    """
    path = Path(path)
    return annotations_from_content(read_json(path, _EXPECTED), path, findings)


def read_boxes_alone(path: str | Path) -> Annotations:
    """As :func:`read_annotations`, for a metric; ten times as fast if the file is plain.

    Then ``boxes`` hold only what a metric needs (id, image_id, category_id, bbox, area, iscrowd,
    difficult), and ``extra`` is empty.

    Raises:
        BadFile: as for :func:`read_annotations`.
        MissingRequirement: msgspec is missing.
    """
    path = Path(path)
    require("msgspec", "scoring")
    from .coco_typed import NotPlain, file_from_json, typed_boxes

    content = read_json_bytes(path, _EXPECTED)
    try:
        file = file_from_json(content)
        lists = [
            value_from_json(bytes(one), path, _EXPECTED) for one in (file.images, file.categories)
        ]
        if all(isinstance(one, list) for one in lists):
            top = {"images": lists[0], "categories": lists[1], "annotations": file.annotations}
            return _annotations(top, path, FirstError(path), typed_boxes)
    except NotPlain:
        pass
    return annotations_from_content(value_from_json(content, path, _EXPECTED), path)


def annotations_from_content(
    content: object, path: Path, findings: Findings | None = None
) -> Annotations:
    """Check COCO-format annotations; ``path`` is named in messages.

    Raises:
        BadFile: see :func:`read_annotations`.
    """
    found = FirstError(path) if findings is None else findings
    return _annotations(_checked(content, path), path, found, read_boxes)


def _annotations(
    top: dict[str, Any], path: Path, found: Findings, boxes_from: Callable[..., Boxes]
) -> Annotations:
    """Build annotations from the three lists; ``boxes_from`` reads the list of annotations."""
    entries = top["annotations"]
    images = read_images(top["images"], found)
    categories = read_categories(top["categories"], entries or (), found)
    for name, listed in (("images", images), ("categories", categories)):
        if not listed.entries:
            found.lasting(f"no_{name}", f"there are no {name}; nothing could be learned or scored")
    if entries is None:
        found.note("no_annotations", "no list annotations, as of a test set: pictures only")
    boxes = boxes_from(entries or (), images, categories, found)
    ordered = tuple(categories.entries[key] for key in sorted(categories.entries))
    truth = Annotations(
        *(path, tuple(images.entries.values()), ordered, boxes.entries, boxes.dropped, found),
        annotated=entries is not None,
        extra={key: value for key, value in top.items() if key not in _LISTS},
        positions=Positions(
            tuple(images.positions[key] for key in images.entries),
            boxes.positions,
            boxes.renumbered,
        ),
        image_spelling=images.spelling,
        category_spelling=categories.spelling,
    )
    for key in sorted(truth.root_categories):
        name = shown(categories.entries[key]["name"])
        found.note(
            "root_category",
            f"category {name} (id {key}) only heads others and has no box: no class",
        )
    return truth


def _checked(content: object, path: Path) -> dict[str, Any]:
    """The top object of a file, its lists checked; ``annotations`` is None if absent."""
    asked = f"{path} is not a COCO annotation file: expected lists {', '.join(_LISTS)}"
    if isinstance(content, list):
        first = content[0] if content else None
        if isinstance(first, dict) and {"image_id", "score"} <= first.keys():
            raise BadFile(f"{asked}; it is a list of results (detections): pass its ground truth")
        raise BadFile(f"{asked} in an object, got a list")
    if not isinstance(content, dict):
        raise BadFile(f"{asked} in an object, got {shown(content)}")
    known = [what for key, what in _OTHER_FORMATS.items() if key in content]
    if known and "images" not in content:
        raise BadFile(f"{asked}; it is {known[0]}")
    top = {**dict.fromkeys(_LISTS), **content}
    for name in _LISTS:
        may_lack = name == "annotations" or (name == "categories" and bool(top["annotations"]))
        if not isinstance(top[name], list) and not (top[name] is None and may_lack):
            got = shown(top[name]) if name in content else "absent"
            raise BadFile(f"{asked}; {name} is {got}")
    return top


def coco_from_annotations(truth: Annotations) -> dict[str, Any]:
    """JSON-ready COCO content of annotations: the repaired file.

    Ids are distinct whole numbers and categories with the same name are merged. Entries left out
    while reading are missing, as are images without a size and their boxes. Other fields of an
    entry are kept.
    """
    first: dict[str, int] = {}
    for category in truth.categories:
        first.setdefault(category["name"], category["id"])
    images = [image for image in truth.images if image["width"] > 0 and image["height"] > 0]
    kept = {image["id"] for image in images}
    names = {category["id"]: category["name"] for category in truth.categories}
    boxes = [
        {
            **box,
            "category_id": first[names[box["category_id"]]],
            "bbox": [_shortest(value) for value in box["bbox"]],
            "area": _shortest(box["area"]),
        }
        for box in truth.boxes
        if box["image_id"] in kept
    ]
    categories = [one for one in truth.categories if first[one["name"]] == one["id"]]
    content = {**truth.extra, "images": images, "categories": categories}
    return content | {"annotations": boxes} if truth.annotated else content


def _shortest(value: float) -> float:
    """Turn 10.0 into 10, which is what the file most likely had."""
    return int(value) if value == int(value) else value
