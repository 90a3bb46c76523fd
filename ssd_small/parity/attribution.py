"""Find which stages make an engine differ from its reference, and what each one costs.

The reference is run with one stage at a time taken from the engine, so every fault is measured
alone, on an otherwise correct detector. (The other way round, mending one of two faults shows
nothing while the other one spoils the result.) What is swapped is what the engine executes: an
ONNX graph is taken apart; only for a TensorRT engine is its sidecar believed.

Two stages that compensate for each other (channels exchanged both in the pictures and in the
weights) are both named, with what each would cost alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from ..artefacts.tiled import check_no_tiles
from ..datasets.coco import Annotations
from ..errors import BadFile, UsageError
from ..pictures.pixels import each_picture
from .picture_stages import Reader
from .side import Side
from .stage_cost import StageCost
from .swaps import STAGES, Prepared, Swaps

#: number of pictures in memory at a time
_BATCH = 4


def attribute(
    reference: Side,
    engine: Side,
    pictures: Any,
    annotations: Annotations | None = None,
    *,
    most_pictures: int | None = None,
    threads: int = 0,
    readers: tuple[Reader | None, Reader | None] = (None, None),
    progress: Callable[[int], None] = lambda count: None,
) -> list[StageCost]:
    """Measure what each of the eleven stages costs, most expensive first.

    Args:
        reference: the side taken as correct, with the decode + NMS parameters its file records.
        engine: the side that is judged, with the parameters it runs with.
        pictures: as a detector takes them; one per entry of ``annotations.images``, in that order.
            Unreadable ones are left out.
        annotations: ground truth; None to compare only detections.
        most_pictures: use only this many pictures, the first ones; default: all.
        threads: threads of ONNX Runtime if an engine is taken apart; 0 for one per core.
        readers: functions that decode the pictures for each side; default: as a detector does.
        progress: called with the number of pictures just finished.

    Raises:
        BadFile: a part of an engine cannot be run, or the categories do not match.
        UsageError: the sides differ in priors, classes or input size, or neither gives heads.
    """
    for side in (reference, engine):
        check_no_tiles(side.description, "attribution")
    truth = annotations if annotations is not None and annotations.annotated else None
    swap = Swaps.between(reference, engine, annotations, threads, readers)
    seen: list[int] = []
    given = enumerate(islice(each_picture(pictures), most_pictures))
    for batch in _batches(_readable(swap, given, progress)):
        seen += [place for place, _ in batch]
        swap.add([prepared for _, prepared in batch])
    return _ordered(swap.costs(None if truth is None else _at_places(truth, seen)))


def _readable(
    swap: Swaps, pictures: Iterable[tuple[int, Any]], progress: Callable[[int], None]
) -> Iterator[tuple[int, Prepared]]:
    """Prepare the readable pictures; yields each with its position."""
    for place, picture in pictures:
        pixels = None
        with suppress(BadFile, UsageError):
            pixels = swap.decoded(picture)
        if pixels is not None:
            yield place, swap.prepared(*pixels)
        progress(1)


def _batches(pictures: Iterator[tuple[int, Prepared]]) -> Iterator[list[tuple[int, Prepared]]]:
    while batch := list(islice(pictures, _BATCH)):
        yield batch


def _at_places(annotations: Annotations, places: Sequence[int]) -> Annotations:
    """Ground truth of the images at the given positions."""
    if len(places) == len(annotations.images):
        return annotations
    images = tuple(annotations.images[place] for place in places)
    kept = {image["id"] for image in images}
    boxes = tuple(box for box in annotations.boxes if box["image_id"] in kept)
    return replace(annotations, images=images, boxes=boxes)


def _ordered(costs: Sequence[StageCost]) -> list[StageCost]:
    """Sort by cost, largest first; among stages without cost, those known to differ come first."""
    return sorted(
        costs,
        key=lambda one: (
            -(one.map_cost or 0.0),
            -one.detections_changed,
            one.reason is None,
            STAGES.index(one.stage),
        ),
    )
