"""YOLO's text labels as COCO-format annotations.

A label file has a line per object: class number, then centre and size of its box as fractions of
the picture as people see it (turned by its EXIF orientation, as those who train on such files read
it). Pictures lie in ``images/...``, labels in ``labels/...``, or both in one folder; a
``data.yaml`` names classes and the folders of the splits, else ``classes.txt`` or ``obj.names``
names the classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configs.yaml_file import mapping_from_yaml
from ..errors import BadFile, quoted
from ..pictures.listing import is_image_name
from ..pictures.sizes import shown_size
from .coco_writer import CocoWriter, Conversion
from .yolo_labels import objects_of, text_of

_SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "valid": ("valid", "val", "validation"),
    "test": ("test",),
}
_CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
#: rounding of fractions in decimals: sums of two, six digits each
_ROUNDING = 9


@dataclass(frozen=True)
class _Source:
    """What is converted: pictures in order, where they are relative to, class names if known."""

    root: Path
    pictures: tuple[Path, ...]
    labels: tuple[str, ...] | None
    keypoints: bool


def coco_from_yolo(
    source: str | Path,
    split: str | None = None,
    labels: Sequence[str] | None = None,
    *,
    images: str | Path | None = None,
) -> Conversion:
    """Convert pictures with YOLO labels.

    Args:
        source: folder, or its ``data.yaml``.
        split: train, val or test of the ``data.yaml``, or a folder of pictures; default: all.
        labels: class names by number, where no file names them.
        images: folder of the pictures, where they lie elsewhere than the labels.

    Raises:
        BadFile: nothing of the kind is there, a line is no label, or a picture cannot be read.
    """
    source = Path(source)
    found = _source(source, split, None if images is None else Path(images))
    names = labels if found.labels is None else found.labels
    if names is None:
        raise BadFile(
            f"{source} does not name its classes (no data.yaml with names, no "
            f"{', '.join(_CLASS_FILES[:2])}); pass --labels FILE, a name per line"
        )
    writer = CocoWriter(names, found.root)
    folder = source if source.is_dir() else source.parent
    without = 0
    for picture in found.pictures:
        height, width = shown_size(picture)
        writer.add_image(picture, width, height)
        label_file = _label_file(picture, folder, found.root)
        if label_file is None:
            without += 1
            continue
        for corners, number in objects_of(label_file, writer, keypoints=found.keypoints):
            x1, y1, x2, y2 = corners
            pixels = (x1 * width, y1 * height, x2 * width, y2 * height)
            rounded = tuple(round(value, _ROUNDING) for value in pixels)
            writer.add_object(writer.labels[number], rounded)  # type: ignore[arg-type]
    if without == len(found.pictures):
        raise BadFile(
            f"{source}: none of {without} pictures has a label file (labels/.../name.txt, or "
            "name.txt beside the picture); pass the folder that holds both, or --images"
        )
    if not writer.annotations:
        raise BadFile(f"{source}: {len(found.pictures)} pictures and no object; check the labels")
    note = f"{without} of {len(found.pictures)} pictures have no label file: no objects"
    return writer.result(
        f"{source.name}, {split or 'all'}, from YOLO labels", [note] if without else []
    )


def _source(source: Path, split: str | None, images: Path | None) -> _Source:
    if not source.exists():
        raise BadFile(
            f"{source} is not there; expected a folder with YOLO labels, or its data.yaml"
        )
    folder = source if source.is_dir() else source.parent
    config_file = _config_file(folder) if source.is_dir() else source
    config = {} if config_file is None else _config(config_file)
    labels = _names(config, folder, config_file)
    keypoints = "kpt_shape" in config
    places = [] if config_file is None else _places(config, config_file, split)
    if images is not None:
        return _Source(images, _pictures([images]), labels, keypoints)
    if not places:
        places = [_split_folder(folder, split)]
    pictures = _pictures(places)
    if not pictures:
        raise BadFile(
            f"{source}: no pictures in {', '.join(str(place) for place in places[:3])}; pass the "
            "folder that holds them, or --images"
        )
    root = folder
    if not all(one.is_relative_to(folder) for one in pictures):
        root = Path(os.path.commonpath([one.parent for one in pictures]))
    return _Source(root, pictures, labels, keypoints)


def _config_file(folder: Path) -> Path | None:
    """The ``data.yaml`` of a folder, whatever it is called."""
    files = sorted(path for end in ("*.yaml", "*.yml") for path in folder.glob(end))
    usual = [path for path in files if path.stem in ("data", "dataset")]
    if usual or len(files) == 1:
        return (usual or files)[0]
    if files:
        raise BadFile(
            f"{folder} has several YAML files ({', '.join(path.name for path in files[:5])}); pass "
            "the one that describes the data"
        )
    return None


def _config(path: Path) -> Mapping[str, Any]:
    content = mapping_from_yaml(path, "a data.yaml with names, train and val")
    if "names" not in content:
        raise BadFile(f"{path} has no class names; expected a data.yaml with names, train and val")
    return content


def _names(config: Mapping[str, Any], folder: Path, source: Path | None) -> tuple[str, ...] | None:
    """Class names by number, from the configuration or a file of names."""
    if "names" in config:
        names = config["names"]
        if isinstance(names, Mapping):
            try:
                names = [names[key] for key in sorted(names, key=int)]
            except (TypeError, ValueError):
                names = None
            if names is not None and sorted(map(int, config["names"])) != [*range(len(names))]:
                names = None
        if not isinstance(names, list) or not names:
            raise BadFile(
                f"{source}: names is {quoted(config['names'])}; expected a list of class names, or "
                "numbers from 0 with their names"
            )
        return tuple(str(name).strip() for name in names)
    for place in (folder, folder / "labels"):
        for name in _CLASS_FILES:
            if (place / name).is_file():
                lines = text_of(place / name).splitlines()
                return tuple(line.strip() for line in lines if line.strip())
    return None


def _places(config: Mapping[str, Any], config_file: Path, split: str | None) -> list[Path]:
    """Folders and lists of pictures that a configuration names for a split, or for all."""
    keys = ("train", "val", "valid", "test") if split is None else _SPLITS.get(split, (split,))
    given = [key for key in keys if config.get(key)]
    if split is not None and not given:
        there = [key for key in ("train", "val", "valid", "test") if config.get(key)]
        if not there:
            return []
        raise BadFile(f"{config_file} has no {split}; choose from {', '.join(there)}")
    places: list[Path] = []
    for key in given:
        value = config[key]
        for one in value if isinstance(value, list) else [value]:
            place = _place(str(one), config, config_file.parent)
            if place is None and split is None and key != given[0]:
                continue  # the file of a data set names splits that were not downloaded
            if place is None:
                raise BadFile(
                    f"{config_file}: {key} is {quoted(one)}, which is not there; correct it, or "
                    "pass the folder of the data set instead"
                )
            places.append(place)
    return places


def _place(value: str, config: Mapping[str, Any], folder: Path) -> Path | None:
    """A folder or list that a configuration names: paths are often of where it once lay."""
    value = value.replace("\\", "/")
    parts = [part for part in value.split("/") if part not in (".", "")]
    inside = [part for part in parts if part != ".."]
    base = folder / str(config.get("path") or ".").replace("\\", "/")
    tried = [base / value, folder / value]
    # "../train/images" of an export means the folder itself; a path of elsewhere may end here
    tried += [folder.joinpath(*inside[start:]) for start in range(len(inside))]
    for one in tried:
        if one.exists():
            return Path(os.path.normpath(one))
    return None


def _split_folder(folder: Path, split: str | None) -> Path:
    """The folder of the pictures where no configuration names it."""
    if split is None:
        return folder / "images" if (folder / "images").is_dir() else folder
    for name in _SPLITS.get(split, (split,)):
        for place in (folder / "images" / name, folder / name / "images", folder / name):
            if place.is_dir():
                return place
    raise BadFile(f"{folder} has no split {split!r} (images/{split} or {split}/images)")


def _pictures(places: Sequence[Path]) -> tuple[Path, ...]:
    """Picture files of folders and lists, each once."""
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = (
                path
                for path in sorted(place.rglob("*"))
                if is_image_name(path)
                and not any(p.startswith(".") for p in path.relative_to(place).parts)
            )
            found.update(dict.fromkeys(inside))
        else:
            found.update(dict.fromkeys(_listed(place)))
    return tuple(found)


def _listed(path: Path) -> Iterator[Path]:
    """Pictures that a text file lists, relative to it or to a folder above."""
    for line in text_of(path).splitlines():
        name = line.strip().replace("\\", "/")
        if not name:
            continue
        tried = [above / name for above in (path.parent, *path.absolute().parent.parents[:2])]
        found = next((one for one in tried if one.is_file()), None)
        if found is None:
            raise BadFile(
                f"{path}: picture {quoted(name)} is not there (tried {tried[0]}); correct the list"
            )
        yield Path(os.path.normpath(found))


def _label_file(picture: Path, folder: Path, root: Path) -> Path | None:
    """Where the labels of a picture lie."""
    tried = []
    parts = picture.parts
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        tried.append(Path(*parts[:last], "labels", *parts[last + 1 :]))
    inside = picture.relative_to(root)
    tried += [picture, folder / "labels" / inside, folder / inside]
    tried += [folder / "labels" / inside.name, folder / inside.name]
    files = (one.with_suffix(".txt") for one in tried)
    return next((one for one in files if one.is_file()), None)
