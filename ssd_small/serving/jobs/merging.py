"""What a whole job comes to, made of its shards one after the other, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

from ...datasets.classes import match_classes
from ...datasets.coco import Annotations
from ...errors import BadFile
from ...files import atomic_output
from ...json_files import json_bytes, json_text
from .folder import JobFolder, line_of_error, write_durably
from .rows import as_text, rows_from_file
from .shard import Classes

#: letters of a picture's name that can be its number
_MOST_DIGITS = 18

#: (image id, category id) of a row; None where the ground truth knows no such category
Ids = Callable[[dict[str, Any]], tuple[Any, Any] | None]


def write_errors(folder: JobFolder) -> dict[str, int]:
    """Write ``errors.jsonl``; how many pictures, detections and errors there are.

    Raises:
        BadFile: a record is damaged.
        OutputError: it cannot be written.
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
    """Write ``summary.json``, the last file of a job.

    Raises:
        OutputError: it cannot be written.
    """
    summary = {**totals, "seconds": round(seconds, 3), "fingerprint": folder.fingerprint}
    write_durably(folder.summary, json_bytes(summary))
    return summary


def write_coco(folder: JobFolder, ids: Ids) -> None:
    """Write ``results.json``, a COCO result file.

    Raises:
        BadFile: rows are damaged, or of a picture without an id.
        OutputError: it cannot be written.
    """
    with atomic_output(folder.results) as temporary, temporary.open("wb") as stream:
        before = "["
        for entry in _entries(folder, ids):
            stream.write(f"{before}\n{json_text(entry)}".encode())
            before = ","
        stream.write(b"[]\n" if before == "[" else b"\n]\n")
        _to_disk(stream)


def _entries(folder: JobFolder, ids: Ids) -> Iterator[dict[str, Any]]:
    for index in range(folder.shards):
        for row in rows_from_file(folder.rows_of(index), folder.rows):
            found = ids(row)
            if found is None:
                continue
            x1, y1, x2, y2 = row["box"]
            bbox = [x1, y1, round(x2 - x1, 4), round(y2 - y1, 4)]
            image_id, category_id = found
            yield {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": bbox,
                "score": row["score"],
            }


def ids_by_themselves(images: list[str]) -> Ids:
    """Ids without ground truth: of a picture its number, of a category its label.

    The number is that in the pictures' names (``000000000139.jpg``: 139), where each is one and no
    two are the same; else the place in the list, from 1, of a picture named twice the first.
    """
    numbers = ids_of_names(list(map(as_text, images)))
    return lambda row: (numbers[row["image"]], row["label"])


def ids_of_names(images: list[str]) -> dict[str, int]:
    """See :func:`ids_by_themselves`."""
    stems = {image: PurePosixPath(image).stem for image in images}
    if all(s.isascii() and s.isdigit() and len(s) <= _MOST_DIGITS for s in stems.values()):
        numbers = {image: int(stem) for image, stem in stems.items()}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    places: dict[str, int] = {}
    for place, image in enumerate(images, 1):
        places.setdefault(image, place)
    return places


def ids_of_truth(truth: Annotations, images: list[str], classes: Classes) -> tuple[Ids, list[str]]:
    """Ids as ground truth spells them, for pictures that it knows; and notes for the user.

    A picture is the entry whose ``file_name`` is the end of its path, by whole parts; the longest
    counts.

    Raises:
        BadFile: a picture that it does not know or that could be two, or other classes.
    """
    match = match_classes(truth, classes.names)
    spelled = truth.category_spelling
    categories = [None if one is None else spelled.get(one, one) for one in match.ids]
    numbers = _ids_by_end(truth, images)
    background = classes.background_label

    def ids(row: dict[str, Any]) -> tuple[Any, Any] | None:
        label = row["label"]
        category = categories[label - (0 <= background < label)]
        return None if category is None else (numbers[row["image"]], category)

    return ids, list(match.notes)


def _ids_by_end(truth: Annotations, images: list[str]) -> dict[str, Any]:
    """The id of each picture, as the file spells it."""
    by_name: dict[tuple[str, ...], list[Any]] = {}
    for entry in truth.images:
        parts = _parts(str(entry["file_name"]))
        key = truth.image_spelling.get(entry["id"], entry["id"])
        by_name.setdefault(parts, []).append(key)
    longest = max(map(len, by_name), default=0)
    found: dict[str, Any] = {}
    for image in images:
        parts = _parts(image)
        ends = (parts[-count:] for count in range(min(longest, len(parts)), 0, -1))
        keys = next((by_name[end] for end in ends if end in by_name), [])
        if len(keys) != 1:
            state = "lists several pictures that could be" if keys else "has no picture"
            raise BadFile(f"{truth.path} {state} {image}; expected one with the end of its path")
        found[as_text(image)] = keys[0]
    return found


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _to_disk(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def check_images_in(truth: Annotations, images: list[str]) -> None:
    """Refuse early what :func:`ids_of_truth` would refuse of the pictures.

    Raises:
        BadFile: see there.
    """
    _ids_by_end(truth, images)
