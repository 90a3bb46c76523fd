"""Which stage makes an engine find something else than its reference, and what each one costs.

The reference is run with one stage at a time taken from the engine. So every fault is measured
alone, on a detector that is right but for it: the other way round, mending one of two faults shows
nothing as long as the other one spoils the result. What is swapped is what the engine executes:
where it is ONNX its graph is taken apart, and only of an engine of TensorRT its sidecar is
believed.

Two stages that make up for each other (channels exchanged in the pictures, and in the weights)
are both named, with what each would cost alone.
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

#: pictures in memory at a time
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
    """What each stage costs, all eleven of them, the most expensive first.

    Args:
        reference: what is right; its own record of decode + NMS counts.
        engine: what is judged, with the parameters it runs with.
        pictures: as a detector takes them; one per entry of ``annotations.images``, in that order.
            What cannot be read is left out.
        annotations: ground truth; None: detections alone are compared.
        most_pictures: only so many of the pictures, the first ones; default: all.
        threads: of ONNX Runtime, where an engine is taken apart; 0 for one per core.
        readers: what decodes the pictures of either side; default: as a detector does it.
        progress: called with the number of pictures just finished.

    Raises:
        BadFile: a part of an engine cannot be run, or the categories do not fit.
        UsageError: the sides have other priors, classes or input sizes, or neither gives heads.
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
    """The pictures that can be read, made ready, with their places."""
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
    """Ground truth of the images at some places."""
    if len(places) == len(annotations.images):
        return annotations
    images = tuple(annotations.images[place] for place in places)
    kept = {image["id"] for image in images}
    boxes = tuple(box for box in annotations.boxes if box["image_id"] in kept)
    return replace(annotations, images=images, boxes=boxes)


def _ordered(costs: Sequence[StageCost]) -> list[StageCost]:
    """The largest first; of those without any cost the ones that are known to differ."""
    return sorted(
        costs,
        key=lambda one: (
            -(one.map_cost or 0.0),
            -one.detections_changed,
            one.reason is None,
            STAGES.index(one.stage),
        ),
    )
