"""Running a detector over a data set and scoring its detections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from ..artefacts.description import Description
from ..datasets.classes import match_classes
from ..datasets.coco import Annotations
from ..datasets.object_sizes import (
    check_pixels,
    object_sides,
    picture_sides,
    tiles_for_objects,
    tiny_objects_line,
)
from ..datasets.picture_files import image_paths
from ..detection.detector import Detector
from ..errors import BadFile, SsdSmallError, UsageError
from ..pictures.annotated import AnnotatedPicture, OtherPicture
from ..pictures.reading import AbsentPicture
from ..pictures.tiles import Tiling
from .coco_results import columns_from_detections
from .columns import Found, ResultColumns, joined_columns
from .feature_levels import grids_from_description
from .score import Scores, score
from .voc_score import voc_score

#: COCO's metric, or Pascal VOC's with 11 points (2007) or by area (since 2010)
Metric = Literal["coco", "voc07", "voc12"]


_Scorer = Callable[[Annotations, Found], Scores]


def scorer_from_metric(
    metric: Metric,
    description: Description | None = None,
    tile: tuple[int, int] | None = None,
) -> _Scorer:
    """The function that scores COCO result entries against annotations by a metric.

    ``description`` is that of the network, if known: there are then separate scores at the scale of
    its input and per feature level. ``tile`` is the height and width of the tiles it is shown; see
    :func:`.score.score`.

    Raises:
        UsageError: there is no such metric.
    """
    if metric == "coco":
        if description is None:
            return score
        return partial(_score_of_network, description, tile)
    if metric not in get_args(Metric):
        raise UsageError(f"metric {metric!r}: expected one of {', '.join(get_args(Metric))}")
    return partial(voc_score, interpolation=metric)


def _score_of_network(
    description: Description, tile: tuple[int, int] | None, annotations: Annotations, found: Found
) -> Scores:
    size = (description.preprocessing.height, description.preprocessing.width)
    # several tiles may contain an object, each with other priors at its place
    grids = grids_from_description(description) if tile is None else ()
    return score(annotations, found, size, grids, tile, description.preprocessing.fit)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a detector on a data set.

    Attributes:
        scores: the metric, overall and per class; None for a test set, which has no annotations.
        results: COCO result entries, as columns.
        seconds: wall time of detection, in total and per stage.
        size_mismatches: number of images whose decoded size differs from the annotated one (boxes
            are scaled to the annotated size).
        by_order: see :class:`ssd_small.datasets.classes.ClassMatch`.
        annotations: what was scored: the ground truth of the pictures that could be read.
        unreadable, skipped: pictures left out because their file could not be decoded, or because
            it is missing or is not the picture that was annotated; reason by file name.
        unscored: number of detections of classes that the annotations lack, not in ``results``.
        notes: one line for each thing a user should know about classes, file names and sizes.
    """

    scores: Scores | None
    results: ResultColumns
    seconds: dict[str, float]
    size_mismatches: int
    by_order: dict[str, str]
    annotations: Annotations
    unreadable: dict[str, SsdSmallError]
    skipped: dict[str, SsdSmallError]
    unscored: int
    notes: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metric's numbers (COCO's twelve, or VOC's AP); empty for a test set."""
        return {} if self.scores is None else self.scores.metrics


def evaluate(
    detector: Detector,
    annotations: Annotations,
    images: str | Path | Iterable[Any],
    *,
    metric: Metric = "coco",
    inclusive: bool = False,
    leave_out: bool = False,
    tiling: Tiling | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Detect on every image of a data set and score the result; on a test set, only detect.

    Args:
        detector: network or engine with its post-processing.
        annotations: ground truth.
        images: folder of the image files; or the pictures themselves, one per entry of
            ``annotations.images`` in that order, as a detector takes them (arrays: BGR).
        metric: how detections are scored.
        inclusive: see :func:`ssd_small.evaluation.coco_results.columns_from_detections`.
        leave_out: leave unreadable pictures out and score the rest, if there is any; otherwise
            the first unreadable picture raises an exception.
        tiling: how pictures are cut into tiles; None for whole pictures.
        progress: called with the number of images just finished.

    Raises:
        BadFile: an image is missing or unreadable, categories do not fit, or boxes are fractions.
        UsageError: there is no such metric.
        ValueError: the number of pictures differs from that of the entries.
    """
    description = detector.description
    tile = None if tiling is None else (tiling.height, tiling.width)
    scorer = scorer_from_metric(metric, description, tile)
    check_pixels(annotations)
    match = match_classes(annotations, description.labels)
    notes = [*match.notes]
    pictures = images
    if isinstance(images, (str, Path)):
        pictures = annotated_pictures(annotations, images, some=leave_out, say=notes.append)
    notes += _size_notes(annotations, description, tile)
    parts: list[ResultColumns] = []
    faults: dict[int, SsdSmallError] = {}
    mismatches = unscored = 0
    started = time.perf_counter()
    with closing(detector.outcomes(pictures, tiling=tiling)) as outcomes:  # type: ignore[type-var]
        for place, (image, (outcome, _)) in enumerate(
            zip(annotations.images, outcomes, strict=True)
        ):
            if outcome.error is not None:
                if not leave_out:
                    raise outcome.error
                faults[place] = outcome.error
            else:
                mismatches += outcome.size != (image["height"], image["width"])
                columns = columns_from_detections(
                    outcome.detections, image, description, match.ids, inclusive=inclusive
                )
                unscored += len(outcome.detections) - len(columns)
                parts.append(columns)
            progress(1)
    seconds = {"total": time.perf_counter() - started, **detector.spent}
    if unscored:
        notes.append(
            f"{unscored} detections of classes that {annotations.path} lacks were left out"
        )
    read = annotations_without(annotations, faults)
    left_out: tuple[dict[str, SsdSmallError], dict[str, SsdSmallError]] = ({}, {})
    for place, error in faults.items():
        name = annotations.images[place]["file_name"]
        left_out[isinstance(error, (AbsentPicture, OtherPicture))][name] = error
    results = joined_columns(parts)
    scores = scorer(read, results) if annotations.annotated else None
    return Evaluation(
        *(scores, results, seconds, mismatches, match.by_order, read, *left_out),
        unscored=unscored,
        notes=tuple(notes),
    )


def annotated_pictures(
    annotations: Annotations, folder: str | Path, *, some: bool, say: Callable[[str], None]
) -> list[AnnotatedPicture]:
    """The pictures of annotations, in their order; see :func:`image_paths`."""
    paths = image_paths(annotations, folder, some=some, say=say)
    return [
        AnnotatedPicture(path, (float(image["height"]), float(image["width"])))
        for path, image in zip(paths, annotations.images, strict=True)
    ]


def _size_notes(
    annotations: Annotations, description: Description, tile: tuple[int, int] | None
) -> list[str]:
    """A note if many objects are too small at the network's input."""
    height, width = description.preprocessing.height, description.preprocessing.width
    fit = description.preprocessing.fit
    sides = object_sides(annotations.images, annotations.boxes, height, width, tile, fit)
    in_pictures = picture_sides(annotations.images, annotations.boxes)
    is_recorded = description.object_size is not None
    tiles = tiles_for_objects(in_pictures, height, width, is_recorded=is_recorded)
    line = tiny_objects_line(sides, height, width, tiles)
    return [] if line is None else [line]


def annotations_without(
    annotations: Annotations, faults: Mapping[int, SsdSmallError]
) -> Annotations:
    """Ground truth without the images at the given positions.

    Raises:
        BadFile: no image is left.
    """
    if not faults:
        return annotations
    images = tuple(one for i, one in enumerate(annotations.images) if i not in faults)
    if not images:
        raise BadFile(
            f"none of the {len(faults)} images of {annotations.path} could be read, the first: "
            f"{faults[0].command_line}"
        )
    kept = {image["id"] for image in images}
    boxes = tuple(box for box in annotations.boxes if box["image_id"] in kept)
    return replace(annotations, images=images, boxes=boxes)
