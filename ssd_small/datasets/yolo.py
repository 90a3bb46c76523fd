"""Convert YOLO's text labels to COCO-format annotations.

A label file has a line per object: class number, then centre and size of its box as fractions of
the picture as people see it (turned by its EXIF orientation, as YOLO trainers read it). Pictures
lie in ``images/...`` and labels in ``labels/...``, or both in one folder. A ``data.yaml`` or
``obj.data`` names the classes and the folders or lists of the splits; without it, ``classes.txt``
or ``obj.names`` names the classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadFile, quoted
from ..pictures.listing import is_image_name
from ..pictures.sizes import shown_size
from .coco_writer import CocoWriter, Conversion
from .picture_files import PictureFolder
from .source_files import common_root, entry_in, files_below, read_text
from .yolo_config import SPLITS, YoloConfig, yolo_config
from .yolo_labels import LabelFiles, objects_from_labels

#: decimals to which pixels are rounded; removes floating-point noise of decimal fractions
_ROUNDING = 9


@dataclass(frozen=True)
class _Pictures:
    """Pictures in order, what they are relative to, and a line about each place not found."""

    root: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def coco_from_yolo(
    source: str | Path,
    split: str | None = None,
    labels: Sequence[str] | None = None,
    *,
    images: str | Path | None = None,
) -> Conversion:
    """Convert pictures with YOLO labels.

    A box becomes ``x - w/2, y - h/2, w, h`` of the fractions in a line, times the picture's width
    and height.

    Args:
        source: folder, or its ``data.yaml`` or ``obj.data``.
        split: a split that the description names, or a folder or list of pictures; default: all.
        labels: class names in the order of their ids: which of the source's classes to keep, or,
            if the source names none, the names of its classes by number.
        images: folder of the pictures, if they do not lie with the labels.

    Raises:
        BadFile: there are no such files, a line is not a label, or a picture cannot be read.
    """
    source = Path(source)
    config = yolo_config(source, need_names=labels is None)
    names = tuple(config.names or labels or ())
    pictures = _pictures(source, config, split, None if images is None else Path(images))
    writer = CocoWriter(labels or names, pictures.root)
    files = LabelFiles(config.folder, pictures.root, elsewhere=images is not None)
    without = 0
    for picture in pictures.files:
        height, width = shown_size(picture)
        writer.add_image(picture, width, height)
        path = files.of(picture)
        if path is None:
            without += 1
            continue
        found = objects_from_labels(path, len(names), config.keypoints, writer.counts)
        for (x1, y1, x2, y2), number in found:
            pixels = (x1 * width, y1 * height, x2 * width, y2 * height)
            rounded = tuple(round(value, _ROUNDING) for value in pixels)
            writer.add_object(names[number], rounded, path)  # type: ignore[arg-type]
    _refuse_nothing(source, writer, without)
    notes = list(pictures.notes)
    if without:
        notes.append(f"{without} of {len(pictures.files)} pictures have no label file: no objects")
    if split is None and (left := files.without_picture()):
        notes.append(f"{len(left)} label files have no picture, the first is {left[0]}")
    return writer.result(f"{source.name}, {split or 'all'}, from YOLO labels", notes)


def _refuse_nothing(source: Path, writer: CocoWriter, without: int) -> None:
    count = len(writer.images)
    if without == count:
        raise BadFile(
            f"{source}: none of {without} pictures has a label file (labels/.../name.txt, or "
            "name.txt beside the picture); pass the folder that holds both, or --images"
        )
    if not writer.annotations:
        others = ", ".join(sorted(writer.other)[:5]) or "none"
        raise BadFile(
            f"{source}: {count} pictures and no object of the labels "
            f"{', '.join(writer.labels[:5])} (other classes: {others}); check the labels"
        )


def _pictures(
    source: Path, config: YoloConfig, split: str | None, images: Path | None
) -> _Pictures:
    """The pictures of a split, or all pictures."""
    if images is not None:
        found = _elsewhere(images, config, split)
        return _Pictures(images, _some(found, source, [images]), ())
    places, notes = config.places(split)
    folder = config.folder
    if not places and split is None:
        inside = entry_in(folder, "images")
        places = [inside if inside.is_dir() else folder]
    elif not places and split is not None:
        place = _split_of(folder, split) or _list_of(folder, split)
        if place is None:
            raise BadFile(
                f"{folder} has no split {quoted(split)} (images/{split} or {split}/images)"
            )
        places = [place]
    found = _some(_files(places, folder), source, places)
    return _Pictures(common_root(found, folder), found, tuple(notes))


def _elsewhere(images: Path, config: YoloConfig, split: str | None) -> tuple[Path, ...]:
    """Pictures in a folder apart from the labels: those in a split's sub-folder or on its list."""
    if not images.is_dir():
        raise BadFile(f"{images} is no folder; expected that of the pictures: correct --images")
    if split is None:
        return _files([images], images)
    if (place := _split_of(images, split)) is not None:
        return _files([place], images)
    named = _list_of(config.folder, split)
    lists = [one for one in config.places(split)[0] if one.is_file()] or ([named] if named else [])
    if not lists:
        raise BadFile(
            f"{images} has no folder {quoted(split)}, nor {config.folder} a list of that name; "
            "leave out --split for all"
        )
    return tuple(dict.fromkeys(one for path in lists for one in _listed(path, [images])))


def _some(found: tuple[Path, ...], source: Path, places: Sequence[Path]) -> tuple[Path, ...]:
    if not found:
        raise BadFile(
            f"{source}: no pictures in {', '.join(str(place) for place in places[:3])}; pass the "
            "folder that holds them, or --images"
        )
    return found


def _split_of(folder: Path, split: str) -> Path | None:
    """The folder of a split's pictures."""
    for name in SPLITS.get(split, (split,)):
        inside = entry_in(folder, name)
        for place in (entry_in(entry_in(folder, "images"), name), entry_in(inside, "images")):
            if place.is_dir():
                return place
        if inside.is_dir():
            return inside
    return None


def _list_of(folder: Path, split: str) -> Path | None:
    """The list of a split's pictures."""
    paths = (entry_in(folder, f"{name}.txt") for name in SPLITS.get(split, (split,)))
    return next((path for path in paths if path.is_file()), None)


def _files(places: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """Picture files in folders and lists, each once."""
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            files: Iterable[Path] = files_below(place, is_image_name)
        else:
            # "data/train/a.jpg" is relative to the folder above data
            above = place.absolute().parent.parents[:2]
            files = _listed(place, [place.parent, folder], above)
        found.update(dict.fromkeys(files))
    return tuple(found)


def _listed(path: Path, folders: Sequence[Path], above: Sequence[Path] = ()) -> Iterator[Path]:
    """Pictures listed in a text file, relative to one of the folders or by paths from elsewhere."""
    places = [PictureFolder(folder) for folder in folders]
    for line in read_text(path, "a list of pictures").splitlines():
        name = line.strip()
        if not name:
            continue
        found = (
            next((one for one in (place.path(name) for place in places) if one), None)
            or next((one for one in (folder / name for folder in above) if one.is_file()), None)
            # for a name from elsewhere, its trailing part
            or next((one for one in (place.path(f"/{name}") for place in places) if one), None)
        )
        if found is None:
            raise BadFile(
                f"{path}: picture {quoted(name)} is not there (tried {folders[0] / name}); "
                "correct the list, or pass --images"
            )
        yield Path(os.path.normpath(found))
