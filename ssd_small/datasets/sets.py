"""Read ground truth from the folders of published data sets, by year and split.

A set is a pair such as ``("2007", "trainval")``; several are joined into one ground truth. Two
layouts are known::

    FOLDER/VOC2007/{Annotations,JPEGImages,ImageSets/Main/trainval.txt}
    FOLDER/annotations/instances_val2017.json, pictures in FOLDER/images/val2017 or FOLDER/val2017

File names are relative to FOLDER, which is therefore the images folder of all its sets.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import BadFile, UsageError
from ..files import state_of
from ..json_files import json_text
from .coco import Annotations, annotations_from_content, read_annotations, read_boxes_alone
from .findings import Findings
from .voc import coco_from_voc_sets

Sets = tuple[tuple[str, str], ...]
#: a year or split is part of a file's name and never leads out of its folder
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)
#: fields of an annotation that decide what is learned and scored
_HASHED = ("image_id", "category_id", "bbox", "iscrowd", "difficult")


def sets_from_text(text: str) -> Sets:
    """Parse ``2007:trainval,2012:trainval`` into pairs of year and split.

    Raises:
        UsageError: it is not such a list.
    """
    parts = (part.strip().partition(":") for part in text.split(","))
    return checked_sets([(year, split) for year, _, split in parts])


def checked_sets(sets: Sequence[Sequence[str]]) -> Sets:
    """Check that sets of (year, split) can be parts of file names and occur once each.

    Raises:
        UsageError: they cannot or do not, or there are none.
    """
    pairs = tuple((str(year), str(split)) for year, split in sets)
    for pair in pairs:
        if not all(_WORD.fullmatch(word) for word in pair):
            raise UsageError(
                f"set {':'.join(pair)!r}: expected YEAR:SPLIT of letters, digits, - and _, such as "
                "2007:trainval"
            )
    if not pairs or len(set(pairs)) != len(pairs):
        fault = f"{text_from_sets(pairs)}: a set twice" if pairs else "no sets"
        raise UsageError(f"{fault}; expected YEAR:SPLIT, each once, with commas between them")
    return pairs


def text_from_sets(sets: Sequence[tuple[str, str]]) -> str:
    """Format sets as :func:`sets_from_text` reads them."""
    return ",".join(f"{year}:{split}" for year, split in sets)


def read_ground_truth(
    path: str | Path,
    sets: Sequence[tuple[str, str]] = (),
    *,
    keep_difficult: bool = False,
    findings: Findings | None = None,
    boxes_alone: bool = False,
) -> Annotations:
    """Read a COCO-format file or, with ``sets``, a folder in a published layout.

    Args:
        path: COCO-format JSON, or the folder that holds the sets.
        sets: pairs of (year, split).
        keep_difficult: treat objects that VOC marks difficult like any other, as the published
            training does; else they become ``iscrowd``, which the COCO metric ignores.
        findings: collects what is wrong, see :func:`ssd_small.datasets.coco.read_annotations`;
            without it, the first error is raised.
        boxes_alone: leave out what no metric needs if that is faster, see
            :func:`ssd_small.datasets.coco.read_boxes_alone`; not with ``findings``.

    Raises:
        BadFile: what is asked for is absent or damaged; says what is there.
        UsageError: a year or split cannot be part of a file name, or a set occurs twice.
    """
    path = Path(path)
    if sets:
        return read_sets(path, sets, keep_difficult=keep_difficult, findings=findings)
    if any(_known_sets(path)):
        raise BadFile(
            f"{path} is a folder of sets; expected COCO-format JSON, or beside it --sets "
            f"YEAR:SPLIT,... of {_what_is_there(path)}"
        )
    return read_boxes_alone(path) if boxes_alone else read_annotations(path, findings)


def read_sets(
    folder: str | Path,
    sets: Sequence[tuple[str, str]],
    *,
    keep_difficult: bool = False,
    findings: Findings | None = None,
) -> Annotations:
    """Read and join sets, see :func:`read_ground_truth`; their ``path`` is ``folder``."""
    folder, sets = Path(folder), checked_sets(sets)
    if not folder.is_dir():
        raise BadFile(
            f"{folder} {state_of(folder)}; expected the folder that holds {text_from_sets(sets)}"
        )
    found = [_layout(folder, year, split) for year, split in sets]
    if len(set(found)) > 1:
        raise BadFile(
            f"{folder}: {text_from_sets(sets)} are {' and '.join(found)} sets, whose classes "
            "differ; name those of one layout"
        )
    if found[0] == "VOC":
        made = coco_from_voc_sets(folder, sets, keep_difficult=keep_difficult)
        truth = annotations_from_content(made.content, folder, findings)
    else:
        truth = _joined(folder, [_coco_set(folder, *one, findings) for one in sets], findings)
    if findings is not None:
        return truth
    counts = Counter(image["file_name"] for image in truth.images)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise BadFile(
            f"{folder}: picture {twice[0]} is in more than one of {text_from_sets(sets)}; name "
            "sets that share none"
        )
    return truth


def _layout(folder: Path, year: str, split: str) -> str:
    """``VOC`` or ``COCO``: the layout in which a set is present."""
    lists = folder / f"VOC{year}" / "ImageSets" / "Main"
    if (lists / f"{split}.txt").is_file():
        return "VOC"
    if _coco_file(folder, year, split).is_file():
        return "COCO"
    raise BadFile(
        f"{folder} has no set {year}:{split}, neither VOC{year}/ImageSets/Main/{split}.txt nor "
        f"annotations/instances_{split}{year}.json; there is {_what_is_there(folder)}"
    )


def _what_is_there(folder: Path) -> str:
    """List the sets of a folder for a message."""
    known = sorted(_known_sets(folder))
    if known:
        more = len(known) - 12
        return ", ".join(known[:12]) + (f" and {more} more" if more > 0 else "")
    devkit = folder.parent
    if folder.name.startswith("VOC") and any(_known_sets(devkit)):
        return f"none (it lies in a devkit: pass {devkit})"
    return "none"


def _known_sets(folder: Path) -> Iterator[str]:
    """``year:split`` of the sets in a folder, without VOC's lists for single classes."""
    for path in folder.glob("VOC*/ImageSets/Main/*.txt"):
        if "_" not in path.stem:
            yield f"{path.parents[2].name.removeprefix('VOC')}:{path.stem}"
    for path in folder.glob("annotations/instances_*.json"):
        if match := re.fullmatch(r"instances_(.*?)([0-9]+)", path.stem):
            yield f"{match[2]}:{match[1]}"


def _coco_file(folder: Path, year: str, split: str) -> Path:
    return folder / "annotations" / f"instances_{split}{year}.json"


def _coco_set(folder: Path, year: str, split: str, findings: Findings | None) -> Annotations:
    """Read a set in the COCO layout, with its own findings; file names relative to ``folder``."""
    own = None if findings is None else Findings()
    truth = read_annotations(_coco_file(folder, year, split), own)
    places = (f"images/{split}{year}", f"{split}{year}")
    place = next((one for one in places if (folder / one).is_dir()), None)
    if place is None:
        raise BadFile(
            f"{folder} has neither of the folders {' and '.join(places)}; expected the pictures of "
            f"{truth.path.name}"
        )
    first = next((image["file_name"] for image in truth.images), "")
    # as the pictures of 2014 are named, and as the published loader expects those of 2017
    longer = f"COCO_{split}{year}_"
    pictures = folder / place
    if not (pictures / first).is_file() and (pictures / f"{longer}{first}").is_file():
        place = f"{place}/{longer}"
    else:
        place = f"{place}/"
    images = tuple({**image, "file_name": f"{place}{image['file_name']}"} for image in truth.images)
    return replace(truth, images=images)


def _joined(folder: Path, parts: Sequence[Annotations], findings: Findings | None) -> Annotations:
    """Join COCO sets; image ids are kept if no two sets share one, else renumbered."""
    found = Findings() if findings is None else findings
    for part in parts:
        found.update(part.findings, f"{part.path.name}: ")
    first = parts[0]
    for part in parts[1:]:
        if _classes(part) != _classes(first):
            raise BadFile(
                f"{part.path} and {first.path.name} have other categories; expected the same ids "
                "and names in all sets that are joined"
            )
    keys = [(k, image["id"]) for k, part in enumerate(parts) for image in part.images]
    shared = len({key for _, key in keys}) != len(keys)
    ids = {key: number if shared else key[1] for number, key in enumerate(keys, 1)}
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for k, part in enumerate(parts):
        images += [{**image, "id": ids[k, image["id"]]} for image in part.images]
        for box in part.boxes:
            boxes.append({**box, "id": len(boxes) + 1, "image_id": ids[k, box["image_id"]]})
    dropped = sum(part.dropped for part in parts)
    annotated = all(part.annotated for part in parts)
    spelling = {} if shared else {k: v for part in parts for k, v in part.image_spelling.items()}
    return Annotations(
        *(folder, tuple(images), first.categories, tuple(boxes), dropped, found),
        annotated=annotated,
        image_spelling=spelling,
        category_spelling=first.category_spelling,
    )


def _classes(truth: Annotations) -> list[tuple[int, str]]:
    return [(category["id"], str(category["name"])) for category in truth.categories]


def sha256_of_truth(truth: Annotations) -> str:
    """Hexadecimal SHA-256 of a ground truth, independent of where its folder lies."""
    pictures = [[one[k] for k in ("id", "file_name", "width", "height")] for one in truth.images]
    boxes = [[box.get(key, 0) for key in _HASHED] for box in truth.boxes]
    content = json_text([pictures, _classes(truth), boxes])
    return hashlib.sha256(content.encode()).hexdigest()
