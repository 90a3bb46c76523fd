"""Check that an engine agrees with itself in other batch rows, batches, runs and threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..detection.load import open_runtime
from ..errors import BadFile, UsageError
from ..pictures.pixels import decoded_from_picture
from ..pictures.preprocessing import input_from_image
from ..runtimes.base import Images

if TYPE_CHECKING:
    from ..postprocess import Detections
    from .opening import Running
    from .pictures import Pictures
    from .side import Side

#: rows of a batch, runs of one picture, and the other number of threads
_ROWS, _REPEATS, _THREADS = 4, 50, 1


@dataclass(frozen=True)
class Consistency:
    """Comparison of results for the same input under changed circumstances.

    Attributes:
        check: what was changed.
        compared: number of pairs of results.
        identical: whether all pairs are bit-identical.
        detections_changed: number of detections that only one of a pair has.
        score_difference: largest difference in score of detections that both have.
        box_difference: likewise in a box coordinate, in the unit square.
    """

    check: str
    compared: int
    identical: bool
    detections_changed: int = 0
    score_difference: float = 0.0
    box_difference: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def __str__(self) -> str:
        told = self.check.replace("_", " ")
        if self.identical:
            return f"{told}: identical ({self.compared} pairs)"
        return (
            f"{told}: {self.detections_changed} detections changed, scores by at most "
            f"{self.score_difference:.2g}, boxes by {self.box_difference:.2g} of the picture"
        )


def self_consistency(engine: Side, pictures: Pictures, running: Running) -> list[Consistency]:
    """Compare an engine with itself on the first pictures that can be read.

    The checks: one picture in every row of a batch, the rows in reverse order, a batch against its
    pictures one by one, fifty runs of one picture, and another number of threads (on the CPU).

    Returns:
        A result per check; empty if no picture can be read.
    """
    rows = min(_ROWS, engine.detector.max_batch)
    images = _inputs(engine, pictures.given, rows)
    if not len(images):
        return []
    infer = engine.detector.inference
    every = infer(np.repeat(images[:1], rows, axis=0))
    batch = infer(images)
    turned = infer(np.ascontiguousarray(images[::-1]))[::-1]
    alone = [infer(one[None])[0] for one in images]
    first = alone[0]
    checks = [
        _compared("one_picture_in_every_row", ((every[0], one) for one in every[1:])),
        _compared("rows_permuted", zip(batch, turned, strict=True)),
        _compared("batch_against_one", zip(batch, alone, strict=True)),
        _compared("repeats", ((first, infer(images[:1])[0]) for _ in range(_REPEATS))),
    ]
    if engine.detector.runtime.device == "cpu" and engine.source != "checkpoint":
        checks.append(
            _compared("threads", zip(alone, _threaded(engine, running, images), strict=True))
        )
    return checks


def _inputs(engine: Side, given: Sequence[Any], rows: int) -> Images:
    """The engine's input ``[rows, ...]`` from the first readable pictures; no rows if none is."""
    found: list[Images] = []
    for picture in given:
        if len(found) == rows:
            break
        with suppress(BadFile, UsageError):
            description = engine.description
            one: Images = decoded_from_picture(
                picture, "BGR", engine.detector.max_pixels, description.decoding
            ).pixels
            if engine.description.pictures is not None:
                engine.detector.runtime.check_picture(*one.shape[:2])
            else:
                one = input_from_image(one, engine.description.preprocessing)
            # all pictures of a batch have one size
            if not found or found[0].shape == one.shape:
                found.append(one)
    if not found:
        return np.zeros((0, 3, 1, 1), np.float32)
    return np.stack([found[i % len(found)] for i in range(rows)])


def _threaded(engine: Side, running: Running, images: Images) -> list[Detections]:
    """Detections of each picture alone, by the engine opened with another number of threads."""
    threads = _THREADS if running.threads != _THREADS else _THREADS + 1
    runtime = open_runtime(Path(engine.path), threads=threads, max_batch=running.batch)
    with replace(running, threads=threads).detector(runtime, engine.params) as own:
        return [own.inference(one[None])[0] for one in images]


def _compared(check: str, pairs: Iterable[tuple[Detections, Detections]]) -> Consistency:
    number = changed = 0
    score = box = 0.0
    identical = True
    for first, second in pairs:
        number += 1
        if _is_identical(first, second):
            continue
        identical = False
        ours, theirs = (_places(one) for one in (first, second))
        changed += len(ours.keys() ^ theirs.keys())
        for key in ours.keys() & theirs.keys():
            i, j = ours[key], theirs[key]
            score = max(score, abs(float(first.scores[i] - second.scores[j])))
            box = max(box, float(np.abs(first.boxes[i] - second.boxes[j]).max()))
    return Consistency(check, number, identical, changed, score, box)


def _is_identical(first: Detections, second: Detections) -> bool:
    names = ("labels", "prior_indices", "scores", "boxes")
    return all(np.array_equal(getattr(first, one), getattr(second, one)) for one in names)


def _places(detections: Detections) -> dict[tuple[int, int], int]:
    """(class, prior) -> position."""
    keys = zip(detections.labels.tolist(), detections.prior_indices.tolist(), strict=True)
    return {key: i for i, key in enumerate(keys)}
