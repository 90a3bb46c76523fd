"""Read a YOLO data set's description: ``data.yaml`` or darknet's ``obj.data``, and class names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..configs.class_names import composed, name_fault
from ..configs.yaml_file import mapping_from_yaml
from ..errors import BadFile, quoted
from ..files import state_of
from .source_files import files_below, read_text

#: names under which a split may be found, by the name asked for
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "valid": ("valid", "val", "validation"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
_GIVEN = ("train", "val", "valid", "test")
_CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
_EXPECTED = "a data.yaml with names, train and val"


@dataclass(frozen=True)
class YoloConfig:
    """The description of a YOLO data set.

    Attributes:
        folder: what its paths are relative to, unless it says otherwise.
        file: the description file; None if there is none.
        values: its content.
        names: class names by number; None if it gives none.
    """

    folder: Path
    file: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] | None = None

    @property
    def keypoints(self) -> int:
        """How many numbers for key points follow each box."""
        shape = self.values.get("kpt_shape")
        if shape is None:
            return 0
        if not isinstance(shape, list) or [type(one) for one in shape] != [int, int]:
            raise BadFile(f"{self.file}: kpt_shape is {quoted(shape)}; expected such as [17, 3]")
        return int(shape[0] * shape[1])

    def places(self, split: str | None) -> tuple[list[Path], list[str]]:
        """Folders and lists of pictures of a split, or of all; and a line about each missing one.

        Raises:
            BadFile: the description has other splits but not this one, or what it names is missing.
        """
        keys = _GIVEN if split is None else SPLITS.get(split, (split,))
        given = [key for key in keys if self.values.get(key)]
        if split is not None and not given:
            there = [key for key in _GIVEN if self.values.get(key)]
            if there:
                raise BadFile(f"{self.file} has no {quoted(split)}; choose from {', '.join(there)}")
        places: list[Path] = []
        missing: list[str] = []
        for key in given:
            value = self.values[key]
            for one in value if isinstance(value, list) else [value]:
                if (place := self._place(str(one))) is not None:
                    places.append(place)
                else:
                    missing.append(f"{self.file}: {key} is {quoted(one)}, which is not there")
        if missing and (split is not None or not places):
            raise BadFile(f"{missing[0]}; correct it, or pass the folder of the data set instead")
        return places, [f"{line}: left out" for line in missing]

    def _place(self, value: str) -> Path | None:
        """Find a folder or list by its path, which often refers to where the set used to be."""
        value = value.replace("\\", "/")
        inside = [part for part in value.split("/") if part not in (".", "", "..")]
        base = self.folder / str(self.values.get("path") or ".").replace("\\", "/")
        tried = [base / value, self.folder / value]
        # an exported "../train/images" means the folder itself; the end of a path from elsewhere
        # may exist here, but "valid/images" must not become the "images" of another split
        ends = (inside[start:] for start in range(len(inside)))
        tried += [self.folder.joinpath(*end) for end in ends if _splits(end) or not _splits(inside)]
        return next((Path(os.path.normpath(one)) for one in tried if one.exists()), None)


def yolo_config(source: Path, *, need_names: bool) -> YoloConfig:
    """Read the description that is, or lies in, a source.

    Args:
        source: a folder, or its ``data.yaml`` or ``obj.data``.
        need_names: refuse a source that does not name its classes.

    Raises:
        BadFile: there are several, it is missing or damaged, or it does not name the classes.
    """
    if not source.exists():
        raise BadFile(
            f"{source} {state_of(source)}; expected a folder with YOLO labels, or its data.yaml"
        )
    folder = source if source.is_dir() else source.parent
    file = _description(folder) if source.is_dir() else source
    if file is None:
        values: Mapping[str, Any] = {}
    elif file.suffix.lower() == ".data":
        values = _darknet_values(file)
    else:
        values = mapping_from_yaml(file, _EXPECTED)
    config = YoloConfig(folder, file, values)
    names = _named(config) if values.get("names") is not None else _names_of_file(folder)
    if names is None and need_names:
        if file is not None and file == source:
            raise BadFile(f"{file} has no class names; expected {_EXPECTED}, or pass --labels FILE")
        raise BadFile(
            f"{source} does not name its classes (no data.yaml with names, no "
            f"{', '.join(_CLASS_FILES[:2])}); pass --labels FILE, a name per line"
        )
    return YoloConfig(folder, file, values, names)


def _description(folder: Path) -> Path | None:
    """Find the description in a folder, whatever its name."""
    inside = [one for one in sorted(folder.iterdir()) if not one.name.startswith(".")]
    files = [one for one in inside if one.suffix.lower() in (".yaml", ".yml") and one.is_file()]
    usual = [one for one in files if one.stem.lower() in ("data", "dataset")]
    found = usual[:1] or [one for one in files if _describes(one)]
    found = found or [one for one in inside if one.suffix.lower() == ".data" and one.is_file()]
    if len(found) > 1:
        raise BadFile(
            f"{folder} has several files that may describe it "
            f"({', '.join(one.name for one in found[:5])}); pass the right one"
        )
    return found[0] if found else None


def _describes(path: Path) -> bool:
    """Whether a YAML file describes a data set and not something else."""
    try:
        return bool({"names", "train", "val"} & mapping_from_yaml(path, _EXPECTED).keys())
    except BadFile:
        return False


def _darknet_values(path: Path) -> dict[str, Any]:
    """Read lines of ``key = value``."""
    values: dict[str, Any] = {}
    for line in read_text(path, "darknet's obj.data").splitlines():
        key, sign, value = line.partition("=")
        if sign:
            values[key.strip()] = value.strip()
    if not {"names", "train", "valid"} & values.keys():
        raise BadFile(f"{path} has neither names nor train; expected lines such as train = ...")
    return values


def _splits(parts: Sequence[str]) -> set[str]:
    """The names of splits among the parts of a path."""
    return {part.lower() for part in parts} & {name for names in SPLITS.values() for name in names}


def _named(config: YoloConfig) -> tuple[str, ...]:
    """Class names that a description gives, by number."""
    names = config.values["names"]
    if isinstance(names, str):  # darknet's: a file
        path = config._place(names)
        if path is None or not path.is_file():
            raise BadFile(f"{config.file}: names is {quoted(names)}, which is no file; correct it")
        return _names_in(path)
    if isinstance(names, Mapping):
        try:
            numbers = {int(key): name for key, name in names.items()}
            names = [numbers[i] for i in range(len(names))]
        except (KeyError, ValueError):
            names = None
    if not isinstance(names, list) or not names:
        raise BadFile(
            f"{config.file}: names is {quoted(config.values['names'])}; expected a list of class "
            "names, or numbers from 0 with their names"
        )
    for name in names:
        if name is None or isinstance(name, (bool, list, dict)):
            raise BadFile(
                f"{config.file}: {quoted(name)} in names is no text; put the name in quotation "
                "marks"
            )
    count = config.values.get("nc", len(names))
    if count != len(names):
        raise BadFile(
            f"{config.file}: nc is {quoted(count)} but names has {len(names)}; correct one of them"
        )
    return _checked([str(name).strip() for name in names], config.file)


def _names_of_file(folder: Path) -> tuple[str, ...] | None:
    """Class names from a file in or below a folder; if there are several files, they must agree."""

    def is_class_file(path: Path) -> bool:
        return path.name.lower() in _CLASS_FILES or path.suffix.lower() == ".names"

    files = [one for one in sorted(folder.iterdir()) if is_class_file(one) and one.is_file()]
    files = files or files_below(folder, is_class_file)
    found = [_names_in(path) for path in files]
    for path, names in zip(files, found, strict=True):
        if names != found[0]:
            raise BadFile(
                f"{files[0]} and {path} name other classes; convert their folders one by one, or "
                "pass --labels FILE"
            )
    return found[0] if found else None


def _names_in(path: Path) -> tuple[str, ...]:
    """Class names from a file, one per line."""
    text = read_text(path, "a text file with a class name per line").rstrip()
    return _checked([line.strip() for line in text.splitlines()], path)


def _checked(names: Sequence[str], source: Path | None) -> tuple[str, ...]:
    if not names:
        raise BadFile(f"{source} names no class; expected a class name per line")
    names = [*map(composed, names)]
    before: set[str] = set()
    for number, name in enumerate(names):
        if fault := name_fault(name):
            raise BadFile(f"{source}: name {quoted(name)} of class {number} {fault}")
        if name in before:
            raise BadFile(f"{source}: class name {quoted(name)} occurs twice; names must differ")
        before.add(name)
    return tuple(names)
