"""Convert Pascal VOC annotations to COCO format, which every command of this package reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ..configs.class_names import VOC_NAMES
from ..errors import BadFile
from ..pictures.sizes import size_of_boxes
from .coco_writer import CocoWriter, Conversion
from .voc_folder import VocFolder, names_of_split, voc_folder
from .voc_pictures import VocPictures
from .voc_xml import VocObject, VocPicture, read_voc

_Read = Callable[[Path], VocPicture]


def coco_from_voc(
    folder: str | Path,
    split: str | None = None,
    labels: Sequence[str] | None = None,
    *,
    images: str | Path | None = None,
    zero_based: bool = False,
    keep_difficult: bool = False,
) -> Conversion:
    """Convert a folder of VOC annotations, or a split of it; see :mod:`.voc_folder` for layouts.

    VOC counts pixels from 1 and includes the last one: xmin..xmax covers the area from xmin - 1 to
    xmax, so the box is ``xmax - xmin + 1`` wide. (The published training subtracted 1 from all
    four coordinates, so its boxes end a pixel earlier, as do the detections of its checkpoints;
    see ``inclusive`` of :func:`ssd_small.evaluation.coco_results.results_from_detections`.)
    Objects marked difficult are not scored in VOC; they become ``iscrowd``, which COCO's scoring
    ignores too and training leaves out. (COCO also allows several detections on one of them, where
    VOC allows one.)

    Args:
        folder: such as ``VOCdevkit/VOC2007``.
        split: name of a file in ``ImageSets/Main`` without its ending, or of a sub-folder;
            default: all annotations. In the lists for single classes, lines marked -1 are left out.
        labels: class names in the order of their ids; default: all names in the folder, sorted,
            so that the splits of a folder agree.
        images: folder of the pictures, if they lie elsewhere.
        zero_based: pixels count from 0 and the box ends at xmax, as some tools write it.
        keep_difficult: treat objects marked difficult like any other.

    Raises:
        BadFile: the folder, a file or an image is missing, or an annotation is not VOC; says which.
    """
    found = voc_folder(Path(folder), None if images is None else Path(images))
    return _convert(
        [(found, split)],
        found.images,
        lambda read: _names_in([found], read) if labels is None else labels,
        zero_based=zero_based,
        keep_difficult=keep_difficult,
    )


def coco_from_voc_sets(
    root: str | Path, sets: Sequence[tuple[str, str]], *, keep_difficult: bool = False
) -> Conversion:
    """Convert and join splits of several years of a devkit, as the published training does.

    Args:
        root: folder that holds ``VOC2007`` and the like; file names are relative to it.
        sets: pairs of (year, split), see :func:`coco_from_voc`.
        keep_difficult: treat objects marked difficult like any other.

    Returns:
        The joined set. Its labels are :data:`~ssd_small.configs.class_names.VOC_NAMES` if these
        include the classes of all objects in the devkit, else the names in the devkit, sorted; so
        they do not depend on the sets asked for.

    Raises:
        BadFile: see :func:`coco_from_voc`.
    """
    root = Path(root)

    def labels(read: _Read) -> Sequence[str]:
        folders = sorted(path.parent for path in root.glob("VOC*/Annotations"))
        names = _names_in([voc_folder(one) for one in folders], read)
        return VOC_NAMES if set(names) <= set(VOC_NAMES) else names

    return _convert(
        [(voc_folder(root / f"VOC{year}"), split) for year, split in sets],
        root,
        labels,
        zero_based=False,
        keep_difficult=keep_difficult,
    )


def _names_in(folders: Sequence[VocFolder], read: _Read) -> list[str]:
    """Class names of all objects in VOC folders, sorted."""
    paths = (path for folder in folders for path in folder.files.values())
    return sorted({item.name for path in paths for item in read(path).objects})


def _convert(
    parts: Sequence[tuple[VocFolder, str | None]],
    root: Path,
    labels: Callable[[_Read], Sequence[str]],
    *,
    zero_based: bool,
    keep_difficult: bool,
) -> Conversion:
    """Convert splits of folders one after the other; file names are relative to ``root``."""
    read = cache(read_voc)
    names = [names_of_split(folder, split) for folder, split in parts]
    writer = CocoWriter(labels(read), root)
    notes: list[str] = []
    for (folder, split), of_split in zip(parts, names, strict=True):
        pictures = [read(folder.files[name]) for name in of_split]
        places = VocPictures(folder)
        files = places.files_of(of_split, pictures)
        for name, one, file in zip(of_split, pictures, files, strict=True):
            writer.counts["renamed"] += places.takes_own_name(name, one)
            writer.counts["misdeclared"] += one.misdeclared
            _add(writer, one, file, zero_based=zero_based, keep_difficult=keep_difficult)
        if split is None and (left := places.without_annotation(files)):
            notes.append(
                f"{len(left)} pictures have no annotation and were left out, the first is {left[0]}"
            )
    # pictures without objects may be a valid set, but not if their objects are of other classes
    if not writer.annotations and (writer.other or not writer.labels):
        others = ", ".join(sorted(writer.other)[:5]) or "none"
        raise BadFile(
            f"{parts[0][0].root}: no object of the labels "
            f"{', '.join(writer.labels[:5]) or '(none)'} in {len(writer.images)} annotations "
            f"(other classes: {others}); check the folder and --labels"
        )
    of = "; ".join(f"{folder.root.name}, {split or 'all'}" for folder, split in parts)
    return writer.result(f"{of}, from Pascal VOC", notes)


def _add(
    writer: CocoWriter, picture: VocPicture, file: Path, *, zero_based: bool, keep_difficult: bool
) -> None:
    """Add an image and its objects."""
    width, height = picture.width, picture.height
    if min(width, height) < 1:  # some tools leave out the size
        height, width = size_of_boxes(file, [one.corners for one in picture.objects])
    writer.add_image(file, width, height)
    first = 0 if zero_based else 1
    for item in picture.objects:
        xmin, ymin, xmax, ymax = item.corners
        before = len(writer.annotations)
        writer.add_object(
            item.name,
            (xmin - first, ymin - first, xmax, ymax),
            picture.path,
            crowd=item.difficult and not keep_difficult,
            difficult=int(item.difficult),
        )
        known = item.name in writer.labels
        writer.counts["from_zero"] += known and not zero_based and min(xmin, ymin) < 1
        if len(writer.annotations) > before:
            _count(writer, item, keep_difficult=keep_difficult)


def _count(writer: CocoWriter, item: VocObject, *, keep_difficult: bool) -> None:
    """Count what a user should know about an object that was accepted."""
    writer.counts["difficult"] += item.difficult
    writer.counts["unclear_flags"] += item.unclear
    writer.counts["swapped"] += item.swapped
    writer.counts["outlines"] += item.is_outline
