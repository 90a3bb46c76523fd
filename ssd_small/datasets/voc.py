"""Pascal VOC annotations as COCO-format JSON, which every command of this package takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..configs.class_names import VOC_NAMES
from ..errors import BadFile
from ..pictures.reading import read_image
from .voc_xml import VocObject, VocPicture, names_of_split, picture_files, read_voc

_Read = Callable[[Path], VocPicture]


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
    xmin - 1 to xmax, so that is the box, ``xmax - xmin + 1`` wide. (The published training took 1
    from all four coordinates: its boxes end a pixel earlier, and so do the detections of its
    checkpoints, see ``inclusive`` of :func:`ssd_small.evaluation.coco_results.
    results_from_detections`.) Objects marked difficult are
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
    return _convert(
        [(folder, split)],
        folder / "JPEGImages",
        lambda read: _names_in([folder], read) if labels is None else labels,
        zero_based=zero_based,
        keep_difficult=keep_difficult,
    )


def coco_from_voc_sets(
    root: str | Path, sets: Sequence[tuple[str, str]], *, keep_difficult: bool = False
) -> VocConversion:
    """Convert splits of several years of a devkit into one, as the published training joins them.

    Args:
        root: folder of ``VOC2007`` and its like; file names are relative to it.
        sets: (year, split) each, see :func:`coco_from_voc`.
        keep_difficult: treat objects marked difficult as any other.

    Returns:
        With :data:`~ssd_small.configs.class_names.VOC_NAMES` where all objects of the devkit are
        of them, else with the names in the devkit, sorted; whichever sets are asked for, they
        agree.

    Raises:
        BadFile: see :func:`coco_from_voc`.
    """
    root = Path(root)

    def labels(read: _Read) -> Sequence[str]:
        folders = sorted(path.parent for path in root.glob("VOC*/Annotations"))
        names = _names_in(folders, read)
        return VOC_NAMES if set(names) <= set(VOC_NAMES) else names

    return _convert(
        [(root / f"VOC{year}", split) for year, split in sets],
        root,
        labels,
        zero_based=False,
        keep_difficult=keep_difficult,
    )


def _names_in(folders: Sequence[Path], read: _Read) -> list[str]:
    """Names of all objects in VOC folders, sorted."""
    paths = (path for folder in folders for path in sorted((folder / "Annotations").glob("*.xml")))
    return sorted({item.name for path in paths for item in read(path).objects})


def _convert(
    parts: Sequence[tuple[Path, str | None]],
    images: Path,
    labels: Callable[[_Read], Sequence[str]],
    *,
    zero_based: bool,
    keep_difficult: bool,
) -> VocConversion:
    """Splits of folders, one after the other; file names are relative to ``images``."""
    read = cache(read_voc)
    names = [names_of_split(folder, split) for folder, split in parts]
    chosen = tuple(labels(read))
    converted = _Writer(chosen, images, zero_based, keep_difficult)
    for (folder, _), of_split in zip(parts, names, strict=True):
        pictures = [read(folder / "Annotations" / f"{name}.xml") for name in of_split]
        for picture, file in zip(pictures, picture_files(folder, pictures), strict=True):
            converted.add(picture, file)
    if not converted.annotations:
        others = ", ".join(sorted(converted.other)[:5]) or "none"
        raise BadFile(
            f"{parts[0][0]}: no object of the labels {', '.join(chosen[:5]) or '(none)'} in "
            f"{len(converted.images)} annotations (other classes: {others}); check the folder and "
            "--labels"
        )
    return converted.result([f"{folder.name}, {split or 'all'}" for folder, split in parts])


class _Writer:
    """The COCO lists being filled."""

    def __init__(
        self, labels: tuple[str, ...], root: Path, zero_based: bool, keep_difficult: bool
    ) -> None:
        self._labels, self._root = labels, root
        self._ids = {name: i for i, name in enumerate(self._labels, 1)}
        self._zero_based, self._keep_difficult = zero_based, keep_difficult
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.difficult = self.without_area = self.from_zero = 0
        self.other: Counter[str] = Counter()

    def add(self, picture: VocPicture, file: Path) -> None:
        """An image and its objects."""
        width, height = picture.width, picture.height
        if not min(width, height) > 0:  # some tools leave it out
            height, width = read_image(file).shape[:2]
        self.images.append(
            {
                "id": len(self.images) + 1,
                "file_name": file.relative_to(self._root).as_posix(),
                "width": int(width),
                "height": int(height),
            }
        )
        for item in picture.objects:
            self._add_object(item)

    def _add_object(self, item: VocObject) -> None:
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

    def result(self, splits: Sequence[str]) -> VocConversion:
        """What was gathered; ``splits`` says of what."""
        content = {
            "info": {"description": f"{'; '.join(splits)}, from Pascal VOC"},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": i, "name": name} for name, i in self._ids.items()],
        }
        return VocConversion(
            content,
            self._root,
            self._labels,
            self.difficult,
            self.without_area,
            dict(self.other),
            0 if self._zero_based else self.from_zero,
        )
