"""Pascal VOC annotations as COCO-format JSON, which every command of this package takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..errors import BadFile
from ..files import read_bytes
from ..pictures.reading import IMAGE_SUFFIXES, read_image


@dataclass(frozen=True, eq=False)
class VocConversion:
    """A converted split.

    Attributes:
        content: COCO-format annotations. Image ids count from 1 in the order of the split,
            category ids in the order of the labels.
        images: folder the file names are relative to.
        labels: class names.
        difficult: objects marked so; ``iscrowd`` is 1 unless they were to be kept.
        without_area: objects left out for a side of zero or less.
        other: objects left out because their class is not among the labels, by class.
        from_zero: boxes with a coordinate of 0, which pixels counted from 1 do not have.
    """

    content: dict[str, Any]
    images: Path
    labels: tuple[str, ...]
    difficult: int
    without_area: int
    other: dict[str, int]
    from_zero: int


@dataclass(frozen=True)
class _Object:
    """An object as the XML has it; ``corners`` are xmin, ymin, xmax, ymax."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class _Picture:
    """An XML file: size in pixels, 0 where it has none."""

    path: Path
    file_name: str
    width: float
    height: float
    objects: tuple[_Object, ...]


def coco_from_voc(
    folder: str | Path,
    split: str | None = None,
    labels: Sequence[str] | None = None,
    *,
    zero_based: bool = False,
    keep_difficult: bool = False,
) -> VocConversion:
    """Convert a split of a VOC folder (``Annotations``, ``JPEGImages``, ``ImageSets/Main``).

    VOC counts pixels from 1 and includes the last: xmin..xmax covers the pixels' area from
    xmin - 1 to xmax, so that is the box, ``xmax - xmin + 1`` wide. Objects marked difficult are
    not scored in VOC; they become ``iscrowd``, which COCO's scoring passes over too and training
    leaves out. (It also lets several detections fall on one of them, where VOC lets one.)

    Args:
        folder: such as ``VOCdevkit/VOC2007``.
        split: name of a file in ``ImageSets/Main`` without its ending; default: all annotations.
            In the sets of single classes, lines marked -1 are left out.
        labels: class names in the order of their ids; default: all names in the folder, sorted,
            so that the splits of a folder agree.
        zero_based: pixels count from 0 and xmax is where the box ends, as some tools write it.
        keep_difficult: treat objects marked difficult as any other.

    Raises:
        BadFile: the folder, a file or an image is missing, or an annotation is not VOC; named.
    """
    folder = Path(folder)
    names = _names(folder, split)
    if labels is None:
        everywhere = (_read(path) for path in sorted((folder / "Annotations").glob("*.xml")))
        labels = sorted({item.name for picture in everywhere for item in picture.objects})
    pictures = [_read(folder / "Annotations" / f"{name}.xml") for name in names]
    converted = _Writer(labels, zero_based, keep_difficult)
    for picture, file in zip(pictures, _image_files(folder, pictures), strict=True):
        converted.add(picture, file)
    if not converted.annotations:
        others = ", ".join(sorted(converted.other)[:5]) or "none"
        raise BadFile(
            f"{folder}: no object of the labels {', '.join(labels[:5]) or '(none)'} in "
            f"{len(names)} annotations (other classes: {others}); check the folder and --labels"
        )
    return converted.result(folder, split)


def _names(folder: Path, split: str | None) -> list[str]:
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


def _read(path: Path) -> _Picture:
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
    return _Picture(path, (root.findtext("filename") or "").strip(), width, height, objects)


def _object(item: ElementTree.Element) -> _Object:
    name = (item.findtext("name") or "").strip()
    box = item.find("bndbox")
    if not name or box is None:
        raise ValueError(f"an <object> without <{'bndbox' if name else 'name'}>")
    xmin, ymin, xmax, ymax = (_number(box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
    return _Object(name, (xmin, ymin, xmax, ymax), _number(item, "difficult", "0") != 0)


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


def _image_files(folder: Path, pictures: Sequence[_Picture]) -> list[Path]:
    """The image of each annotation: of its own name, else the one it names."""
    images = folder / "JPEGImages"
    files = {path.name: path for path in sorted(images.iterdir())} if images.is_dir() else {}
    by_stem = {p.stem: p for p in files.values() if p.suffix.lower() in IMAGE_SUFFIXES}
    found = [by_stem.get(p.path.stem) or files.get(p.file_name) for p in pictures]
    missing = [p.path.stem for p, file in zip(pictures, found, strict=True) if file is None]
    if missing:
        raise BadFile(
            f"{len(missing)} of {len(pictures)} images are not in {images}, the first is "
            f"{missing[0]}; expected a picture of each annotation's name"
        )
    return [file for file in found if file is not None]


class _Writer:
    """The COCO lists being filled."""

    def __init__(self, labels: Sequence[str], zero_based: bool, keep_difficult: bool) -> None:
        self._labels = tuple(labels)
        self._ids = {name: i for i, name in enumerate(self._labels, 1)}
        self._zero_based, self._keep_difficult = zero_based, keep_difficult
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.difficult = self.without_area = self.from_zero = 0
        self.other: Counter[str] = Counter()

    def add(self, picture: _Picture, file: Path) -> None:
        """An image and its objects."""
        width, height = picture.width, picture.height
        if not min(width, height) > 0:  # some tools leave it out
            height, width = read_image(file).shape[:2]
        self.images.append(
            {
                "id": len(self.images) + 1,
                "file_name": file.name,
                "width": int(width),
                "height": int(height),
            }
        )
        for item in picture.objects:
            self._add_object(item)

    def _add_object(self, item: _Object) -> None:
        if item.name not in self._ids:
            self.other[item.name] += 1
            return
        xmin, ymin, xmax, ymax = item.corners
        self.from_zero += min(xmin, ymin) < 1
        first = 0 if self._zero_based else 1
        x, y = xmin - first, ymin - first
        if xmax <= x or ymax <= y:
            self.without_area += 1
            return
        self.difficult += item.difficult
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": len(self.images),
                "category_id": self._ids[item.name],
                "bbox": [x, y, xmax - x, ymax - y],
                "area": (xmax - x) * (ymax - y),
                "iscrowd": int(item.difficult and not self._keep_difficult),
                "difficult": int(item.difficult),
            }
        )

    def result(self, folder: Path, split: str | None) -> VocConversion:
        """What was gathered."""
        content = {
            "info": {
                "description": f"{folder.name}, {split or 'all annotations'}, from Pascal VOC"
            },
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": i, "name": name} for name, i in self._ids.items()],
        }
        return VocConversion(
            content,
            folder / "JPEGImages",
            self._labels,
            self.difficult,
            self.without_area,
            dict(self.other),
            0 if self._zero_based else self.from_zero,
        )
