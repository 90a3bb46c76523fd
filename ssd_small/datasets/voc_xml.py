"""Pascal VOC folders as they are: lists of a split, XML annotations, and their pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..errors import BadFile
from ..files import read_bytes
from ..pictures.listing import image_suffixes


@dataclass(frozen=True)
class VocObject:
    """An object as the XML has it; ``corners`` are xmin, ymin, xmax, ymax."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class VocPicture:
    """An XML file: size in pixels, 0 where it has none."""

    path: Path
    file_name: str
    width: float
    height: float
    objects: tuple[VocObject, ...]


def names_of_split(folder: Path, split: str | None) -> list[str]:
    """Names of the annotations of a split, in its order."""
    annotations = folder / "Annotations"
    if not annotations.is_dir():
        raise BadFile(
            f"{folder} has no folder Annotations; expected a VOC folder such as VOCdevkit/VOC2007"
        )
    if split is None:
        names = sorted(path.stem for path in annotations.glob("*.xml"))
        if not names:
            raise BadFile(f"{annotations} holds no XML file; expected VOC annotations")
        return names
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.txt"))
        advice = f"choose from {', '.join(known[:20])}" if known else "leave out --split for all"
        raise BadFile(f"{folder} has no split {split!r} (ImageSets/Main/{split}.txt); {advice}")
    try:
        lines = read_bytes(path, "a list of image names").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text; expected an image name per line") from error
    words = [line.split() for line in lines if line.strip()]
    names = [word[0] for word in words if len(word) < 2 or word[1] != "-1"]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if not names or doubled:
        fault = f"{doubled[0]} occurs twice" if doubled else "it lists no image"
        raise BadFile(f"{path}: {fault}; expected an image name per line, each once")
    return names


def read_voc(path: Path) -> VocPicture:
    """Parse one annotation.

    Raises:
        BadFile: unreadable, not XML, or not a VOC annotation.
    """
    content = read_bytes(path, "a VOC annotation")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise BadFile(f"{path} is not XML ({error}); expected a VOC annotation") from error
    try:
        if root.tag != "annotation":
            raise ValueError(f"the root is <{root.tag}>")
        size = root.find("size")
        width, height = (
            0.0 if size is None else _number(size, side, "0") for side in ("width", "height")
        )
        objects = tuple(_object(item) for item in root.findall("object"))
    except ValueError as error:
        raise BadFile(
            f"{path} is not a VOC annotation ({error}); expected <annotation> with <object>s of "
            "<name> and <bndbox> of xmin, ymin, xmax, ymax"
        ) from error
    return VocPicture(path, (root.findtext("filename") or "").strip(), width, height, objects)


def _object(item: ElementTree.Element) -> VocObject:
    name = (item.findtext("name") or "").strip()
    box = item.find("bndbox")
    if not name or box is None:
        raise ValueError(f"an <object> without <{'bndbox' if name else 'name'}>")
    xmin, ymin, xmax, ymax = (_number(box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
    return VocObject(name, (xmin, ymin, xmax, ymax), _number(item, "difficult", "0") != 0)


def _number(parent: ElementTree.Element, key: str, default: str | None = None) -> float:
    """The finite number in a child element."""
    text = (parent.findtext(key, default) or default or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"<{key}> of <{parent.tag}> is {text!r}, not a number")
    return value


def picture_files(folder: Path, pictures: Sequence[VocPicture]) -> list[Path]:
    """The image of each annotation: of its own name, else the one it names."""
    images = folder / "JPEGImages"
    files = {path.name: path for path in sorted(images.iterdir())} if images.is_dir() else {}
    by_stem = {p.stem: p for p in files.values() if p.suffix.lower() in image_suffixes()}
    found = [by_stem.get(p.path.stem) or files.get(p.file_name) for p in pictures]
    missing = [p.path.stem for p, file in zip(pictures, found, strict=True) if file is None]
    if missing:
        raise BadFile(
            f"{len(missing)} of {len(pictures)} images are not in {images}, the first is "
            f"{missing[0]}; expected a picture of each annotation's name"
        )
    return [file for file in found if file is not None]
