"""Read lists of images and categories in COCO files by id, merging repeated entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..configs.class_names import composed
from . import coco_fields as fields
from .findings import Findings
from .ids import (
    Key,
    Place,
    id_from_value,
    key_from_id,
    kind_of_spelling,
    numbers_of_texts,
    shown,
)

#: entry, place, findings -> the entry ready for use, None if it is in error
_Reader = Callable[[dict[str, Any], Place, Findings], dict[str, Any] | None]


@dataclass
class Listed:
    """Entries of a list by id, and how references to them are resolved.

    Attributes:
        name: what one entry is, ``image`` or ``category``.
        entries: by id, in the order of the file.
        texts: text id -> the number that stands for it.
        spelling: number -> the file's own id, where that is text or exceeds 64 bits.
        lost: ids of entries in error, with the place of the first.
        positions: id -> position in the file's list.
        names: composed category or file name -> id, for references without an id; only names that
            are unique.
    """

    name: str
    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    spelling: dict[int, object] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    def reference(self, entry: dict[str, Any], where: Place, findings: Findings) -> int | None:
        """Resolve an annotation's ``image_id`` or ``category_id``; None and an error on failure."""
        field_name = f"{self.name}_id"
        value = entry.get(field_name)
        if type(value) is int and value in self.entries:
            return value
        found = id_from_value(value, self.texts)
        if found in self.entries:
            if kind := kind_of_spelling(value):
                findings.repaired(
                    kind, f"{where}: {field_name} is {shown(value)}; taken as {found}"
                )
            return found
        given = shown(value) if field_name in entry else "absent"
        # a number as text could be a wrong id as well as another entry's name: not looked up
        name = entry.get(f"{self.name}_name") if value is None else key_from_id(value)
        by_name = self.names.get(composed(name.strip())) if isinstance(name, str) else None
        if by_name is not None:
            findings.repaired(
                "id_by_name", f"{where}: {field_name} is {given}; taken as {by_name} by its name"
            )
            return by_name
        if found in self.lost:
            findings.error(
                "reference_to_error", f"{where}: {field_name} {given} is of {self.lost[found]}"
            )
            return None
        findings.error(
            f"unknown_{self.name}",
            f"{where}: {field_name} {given} is not the id of an entry in {_LIST_OF[self.name]}",
        )
        return None


_LIST_OF = {"image": "images", "category": "categories"}


def read_images(entries: Sequence[Any], findings: Findings) -> Listed:
    """Read the images of a file, each with a file name and a size (0 if that is in error)."""
    listed = _read("image", entries, _image, ("file_name", "width", "height"), findings)
    names = {key: composed(entry["file_name"]) for key, entry in listed.entries.items()}
    counts = Counter(names.values())
    listed.names = {name: key for key, name in names.items() if counts[name] == 1}
    return listed


def read_categories(
    entries: Sequence[Any] | None, annotations: Sequence[Any], findings: Findings
) -> Listed:
    """Read the categories of a file, or, if it has no such list, those its annotations name."""
    if entries is None:
        entries = _categories_of(annotations, findings)
    listed = _read("category", entries, _category, ("name",), findings)
    first: dict[str, int] = {}
    doubled = set()
    for key, entry in listed.entries.items():
        if entry["name"] in first:
            doubled.add(entry["name"])
            findings.fixable(
                "repeated_category_name",
                f"categories: ids {first[entry['name']]} and {key} are both named "
                f"{shown(entry['name'])}; rename one, or merge the two",
            )
        first.setdefault(entry["name"], key)
    listed.names = {name: key for name, key in first.items() if name not in doubled}
    return listed


def _categories_of(annotations: Sequence[Any], findings: Findings) -> list[dict[str, Any]]:
    """Categories from the names in annotations, with their ids where given."""
    found: dict[tuple[Key | None, str], dict[str, Any]] = {}
    for entry in annotations:
        if isinstance(entry, dict) and isinstance(entry.get("category_name"), str):
            key = key_from_id(entry.get("category_id"))
            name = composed(entry["category_name"].strip())
            number = len(found) + 1 if key is None else key
            found.setdefault((key, name), {"id": number, "name": name})
    if found:
        findings.repaired(
            "no_categories_list",
            f"no list categories; {len(found)} by category_name of the annotations",
            len(found),
        )
    return list(found.values())


def _image(entry: dict[str, Any], where: Place, findings: Findings) -> dict[str, Any] | None:
    name = fields.file_name(entry, where, findings)
    if name is None:
        return None
    return {**entry, "file_name": name, **fields.size(entry, where, findings)}


def _category(entry: dict[str, Any], where: Place, findings: Findings) -> dict[str, Any] | None:
    if "name" not in entry:
        findings.error("bad_name", f"{where}: name is absent; expected text")
        return None
    name = fields.category_name(entry["name"], where, findings)
    return None if name is None else {**entry, "name": name}


def _read(
    name: str,
    entries: Sequence[Any],
    reader: _Reader,
    identity: tuple[str, ...],
    findings: Findings,
) -> Listed:
    """Read entries by id; entries that share an id must be equal in ``identity``, and are merged.

    If two different entries share an id, neither keeps it: a reference could mean either.
    """
    listed, list_name = Listed(name), _LIST_OF[name]
    keyed = []
    for index, entry in enumerate(entries):
        where = Place(list_name, index, entry)
        if not isinstance(entry, dict):
            findings.error("bad_entry", f"{where} is {shown(entry)}; expected an object")
        elif (key := key_from_id(entry.get("id"))) is None:
            given = shown(entry["id"]) if "id" in entry else "absent"
            findings.error("bad_id", f"{where}: id is {given}; expected a whole number")
        else:
            keyed.append((where, key, entry))
    listed.texts = numbers_of_texts(key for _, key, _ in keyed)
    places: dict[int, Place] = {}
    for where, key, entry in keyed:
        number = listed.texts[key] if isinstance(key, str) else key
        if kind := kind_of_spelling(entry["id"]):
            findings.repaired(kind, f"{where}: expected a whole number; taken as {number}")
            if not isinstance(entry["id"], float):
                listed.spelling.setdefault(number, entry["id"])
        read = reader(entry, where, findings)
        if read is None or number in listed.lost:
            listed.lost.setdefault(number, f"{where}, which is in error")
            listed.entries.pop(number, None)
            continue
        read["id"] = number
        before = listed.entries.setdefault(number, read)
        if before is read:
            places[number] = where
        elif all(before[key] == read[key] for key in identity):
            findings.repaired(
                f"repeated_{name}" if name == "category" else "repeated_image_id",
                f"{where}: id occurs twice, as of {places[number]}, which is equal; taken once",
            )
        else:
            findings.error(
                f"repeated_{name}_id",
                f"{where}: id occurs twice, as of {places[number]}, which has another "
                f"{next(key for key in identity if before[key] != read[key])}",
            )
            listed.lost[number] = f"{places[number]} and {where}, which share it"
            del listed.entries[number]
    listed.positions = {key: places[key].position for key in listed.entries}
    return listed
