"""Results of a whole job, merged from its shards one after the other, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ...datasets.classes import match_classes
from ...datasets.coco import Annotations
from ...errors import BadFile, UsageError
from ...evaluation.coco_results import boxes_xywh_from_unit
from ...files import atomic_output
from ...json_files import json_bytes, json_text
from ...pictures.annotated import check_frame
from .exact import Exact, exact_from_file
from .folder import JobFolder, line_of_error, write_durably
from .rows import as_text, rows_from_file
from .shard import Classes

#: longest picture name that is used as a number, in digits
_MOST_DIGITS = 18

#: rows that are converted to entries at once
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Place:
    """Where a row belongs in COCO results.

    Attributes:
        image_id, category_id: its ids, as spelled in the ground truth if there is one.
        size: width and height of its picture in pixels, from the ground truth if there is one.
    """

    image_id: Any
    category_id: Any
    size: tuple[float, float]


#: returns the place of a row; None if the ground truth lacks its category
Places = Callable[[dict[str, Any]], Place | None]


def write_errors(folder: JobFolder) -> dict[str, int]:
    """Write ``errors.jsonl`` and return the numbers of pictures, detections and errors.

    Raises:
        BadFile: a record is damaged.
        OutputError: the file cannot be written.
    """
    totals = {"pictures": 0, "detections": 0, "errors": 0}
    with atomic_output(folder.errors) as temporary, temporary.open("wb") as stream:
        for index in range(folder.shards):
            record = folder.record(index)
            for entry in record["errors"]:
                stream.write(line_of_error(entry))
            totals["pictures"] += record["pictures"]
            totals["detections"] += record["detections"]
            totals["errors"] += len(record["errors"])
        _to_disk(stream)
    return totals


def write_summary(folder: JobFolder, totals: dict[str, int], seconds: float) -> dict[str, Any]:
    """Write ``summary.json``, the last file of a job, and return its content.

    Raises:
        OutputError: the file cannot be written.
    """
    summary = {**totals, "seconds": round(seconds, 3), "fingerprint": folder.fingerprint}
    write_durably(folder.summary, json_bytes(summary))
    return summary


def write_coco(folder: JobFolder, places: Places) -> None:
    """Write ``results.json``, a COCO result file as ``eval --save-detections`` would save it.

    Raises:
        BadFile: rows are damaged, or belong to a picture without an id.
        OutputError: the file cannot be written.
    """
    with atomic_output(folder.results) as temporary, temporary.open("wb") as stream:
        before = "["
        for entry in _entries(folder, places):
            stream.write(f"{before}\n{json_text(entry)}".encode())
            before = ","
        stream.write(b"[]\n" if before == "[" else b"\n]\n")
        _to_disk(stream)


def _entries(folder: JobFolder, places: Places) -> Iterator[dict[str, Any]]:
    for index in range(folder.shards):
        rows = rows_from_file(folder.rows_of(index), folder.rows)
        exact = exact_from_file(folder.exact_of(index), folder.record(index)["detections"])
        for start in range(0, len(exact), _ROWS_AT_ONCE):
            some = exact[start : start + _ROWS_AT_ONCE]
            found = list(map(places, islice(rows, len(some))))
            if len(found) != len(some):
                raise BadFile(
                    f"{folder.rows_of(index)} is damaged: expected {len(exact)} rows; remove it "
                    "and --resume"
                )
            known = [place is not None for place in found]
            yield from _entries_of_rows([one for one in found if one], some[known])


def _entries_of_rows(places: Sequence[Place], exact: Exact) -> Iterator[dict[str, Any]]:
    sizes = np.array([one.size for one in places], np.float64).reshape(-1, 2)
    boxes = boxes_xywh_from_unit(exact[:, :4], sizes).tolist()
    for place, bbox, score in zip(places, boxes, exact[:, 4].tolist(), strict=True):
        ids = {"image_id": place.image_id, "category_id": place.category_id}
        yield {**ids, "bbox": bbox, "score": score}


def places_by_themselves(images: list[str]) -> Places:
    """Ids without ground truth: a picture's number and a category's label.

    If all pictures' names are numbers (``000000000139.jpg``: 139) and no two are equal, these are
    the numbers; otherwise the position in the list, from 1, the first one if a picture is repeated.
    """
    numbers = ids_of_names(list(map(as_text, images)))
    return lambda row: Place(numbers[row["image"]], row["label"], (row["width"], row["height"]))


def ids_of_names(images: list[str]) -> dict[str, int]:
    """See :func:`places_by_themselves`."""
    stems = {image: PurePosixPath(image).stem for image in images}
    if all(s.isascii() and s.isdigit() and len(s) <= _MOST_DIGITS for s in stems.values()):
        numbers = {image: int(stem) for image, stem in stems.items()}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    places: dict[str, int] = {}
    for place, image in enumerate(images, 1):
        places.setdefault(image, place)
    return places


def places_of_truth(
    truth: Annotations, images: list[str], classes: Classes
) -> tuple[Places, list[str]]:
    """Ids and sizes from the ground truth, which must contain all pictures; and notes for the user.

    A picture's entry is the one whose ``file_name`` matches the end of its path, by whole path
    components; the longest match wins.

    Raises:
        BadFile: a picture has no entry or several, or the classes do not match; also raised by the
            returned function, for a picture that was annotated in another frame.
    """
    match = match_classes(truth, classes.names)
    spelled = truth.category_spelling
    categories = [None if one is None else spelled.get(one, one) for one in match.ids]
    entries = _entries_by_end(truth, images)
    spelling = truth.image_spelling
    background = classes.background_label

    def place(row: dict[str, Any]) -> Place | None:
        label = row["label"]
        category = categories[label - (0 <= background < label)]
        if category is None:
            return None
        entry = entries[row["image"]]
        check_frame(row["image"], (row["height"], row["width"]), (entry["height"], entry["width"]))
        number = spelling.get(entry["id"], entry["id"])
        return Place(number, category, (entry["width"], entry["height"]))

    return place, list(match.notes)


def _entries_by_end(truth: Annotations, images: list[str]) -> dict[str, dict[str, Any]]:
    """The ground-truth entry of each picture."""
    by_name: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in truth.images:
        by_name.setdefault(_parts(str(entry["file_name"])), []).append(entry)
    longest = max(map(len, by_name), default=0)
    found: dict[str, dict[str, Any]] = {}
    for image in images:
        parts = _parts(image)
        ends = (parts[-count:] for count in range(min(longest, len(parts)), 0, -1))
        entries = next((by_name[end] for end in ends if end in by_name), [])
        if len(entries) != 1:
            state = "lists several pictures that could be" if entries else "has no picture"
            raise BadFile(f"{truth.path} {state} {image}; expected one with the end of its path")
        found[as_text(image)] = entries[0]
    return found


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _to_disk(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def check_images(images: list[str], truth: Annotations | None) -> None:
    """Refuse pictures early if no COCO results can be made for them.

    Raises:
        BadFile: the ground truth lacks one of them; see :func:`places_of_truth`.
        UsageError: two pictures are the same, so that each object would be found twice.
    """
    entries = None if truth is None else _entries_by_end(truth, images)
    seen: dict[Any, str] = {}
    for image in images:
        key = image if entries is None else id(entries[as_text(image)])
        if key in seen:
            same = "twice" if seen[key] == image else f"and so is {seen[key]}"
            raise UsageError(
                f"{image} is among the pictures {same}: COCO results would find each object of it "
                "twice; name it once, or leave out --coco"
            )
        seen[key] = image
