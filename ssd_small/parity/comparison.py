"""Run two detectors on the same pictures and compare them picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.coco_results import results_from_detections
from ..evaluation.limits import loosest
from .detection_differences import (
    DetectionCounts,
    Frame,
    PictureDifferences,
    allowed_errors,
    differences_of_picture,
    in_order,
    intervals_of_picture,
)
from .head_differences import HeadDifferences
from .naming import ids_of_both, labels_of_reference
from .overlap_matching import differences_by_overlap
from .pictures import Pictures
from .recording import Heads, cut_runtime, outcomes_with_heads
from .side import Side

if TYPE_CHECKING:
    from ..detection.pipeline import Outcome
    from ..errors import SsdSmallError
    from ..postprocess import Detections


@dataclass(eq=False)
class Compared:
    """What two sides found.

    Attributes:
        counts: detections matched one to one.
        heads: differences of the heads; see :meth:`HeadDifferences.to_list`.
        results: COCO result entries of the reference and of the engine; empty without annotations.
        faults: errors of pictures that could not be read, by position.
        notes: a line for each thing a user should know.
    """

    counts: DetectionCounts = field(default_factory=DetectionCounts)
    heads: list[dict[str, Any]] | None = None
    results: tuple[list[dict[str, Any]], list[dict[str, Any]]] = field(
        default_factory=lambda: ([], [])
    )
    faults: dict[int, SsdSmallError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def compare_sides(
    reference: Side,
    engine: Side,
    pictures: Pictures,
    progress: Callable[[int], None] = lambda count: None,
) -> Compared:
    """Compare detections and heads of two sides, without keeping pictures or heads in memory.

    Args:
        reference, engine: the two sides, each with its own preprocessing.
        pictures: what both are shown.
        progress: called with the number of pictures just finished.

    Raises:
        BadFile: the categories of the annotations do not match the classes.
    """
    compared = Compared(notes=list(pictures.notes))
    pair = _Pair(reference, engine, compared.notes)
    descriptions = reference.description, engine.description
    ids, notes = ids_of_both(pictures.annotations, *descriptions)
    compared.notes += notes
    differences = HeadDifferences(reference.description)
    for place, ours, theirs in _outcomes(reference, engine, pictures):
        (before, heads), (after, other_heads) = ours, theirs
        progress(1)
        error = before.error or after.error
        if error is not None:
            compared.faults[place] = error
            continue
        size = pictures.size(place, before.size)
        frame = Frame(pictures.names[place], size, reference.description)
        if heads is not None and other_heads is not None and pair.same_shape:
            pair.add_views(differences, heads, other_heads)
        found = before.detections, pair.renamed(after.detections)
        differing = pair.differences(*found, heads, other_heads, frame, before.size)
        compared.counts.add(len(found[0]), len(found[1]), differing)
        if pictures.annotations is not None:
            image = pictures.annotations.images[place]
            for side, outcome, entries, own in zip(
                (reference, engine), (before, after), compared.results, ids, strict=True
            ):
                entries += results_from_detections(outcome.detections, image, side.description, own)
    compared.heads = differences.to_list()
    return compared


def _outcomes(
    reference: Side, engine: Side, pictures: Pictures
) -> Iterator[tuple[int, tuple[Outcome, Heads | None], tuple[Outcome, Heads | None]]]:
    """Yield the position of each picture, with outcome and heads of each side."""
    with ExitStack() as opened:
        streams = []
        for side in (reference, engine):
            cut = cut_runtime(side, side.detector.inference.threads)
            if cut is not None:
                opened.callback(cut.close)
            stream = outcomes_with_heads(side, pictures.given, cut)
            streams.append(opened.enter_context(closing(stream)))  # type: ignore[type-var]
        both = zip(*streams, strict=True)
        for place, (ours, theirs) in enumerate(both):
            yield place, ours, theirs


class _Pair:
    """Decides which detections of two sides are the same."""

    def __init__(self, reference: Side, engine: Side, notes: list[str]) -> None:
        self._reference, self._engine = reference, engine
        mapped, line = labels_of_reference(reference.description, engine.description)
        self._labels = np.array(mapped, np.int32)
        if line is not None:
            notes.append(line)
        before, after = reference.description, engine.description
        self.same_shape = (len(before.priors), before.num_classes) == (
            len(after.priors),
            after.num_classes,
        )
        if not self.same_shape:
            notes.append(
                f"the engine has {len(after.priors)} prior boxes and {after.num_classes} classes, "
                f"the reference {len(before.priors)} and {before.num_classes}: detections are "
                "matched by class and overlap"
            )
        self._precision = loosest((reference.precision, engine.precision))

    def add_views(self, differences: HeadDifferences, heads: Heads, other_heads: Heads) -> None:
        """Add the differences of the heads of each view of a picture."""
        number = len(self._reference.description.priors)
        for start in range(0, len(heads[0]), number):
            rows = slice(start, start + number)
            ours, theirs = ((loc[rows], conf[rows]) for loc, conf in (heads, other_heads))
            differences.add(ours, theirs)

    def renamed(self, found: Detections) -> Detections:
        """The engine's detections, with the reference's labels."""
        if not self.same_shape:
            return found
        return in_order(replace(found, labels=self._labels[found.labels]))

    def differences(
        self,
        before: Detections,
        after: Detections,
        heads: Heads | None,
        other_heads: Heads | None,
        frame: Frame,
        size: tuple[int, int],
    ) -> PictureDifferences:
        """What agrees and what differs, judged by the heads of one side if available.

        ``size`` is that of the decoded picture.
        """
        if not self.same_shape or (heads is None and other_heads is None):
            params = self._reference.params_of_picture(size)
            return differences_by_overlap(before, after, params, self._precision, frame)
        if heads is not None:
            side, basis, against = self._reference, heads, other_heads
            names, found = ("reference", "engine"), (before, after)
        else:
            assert other_heads is not None
            # the heads of the engine, its classes in the reference's order
            loc, conf = other_heads
            columns = np.argsort(self._labels)
            side, basis, against = self._engine, (loc, conf[:, columns]), None
            names, found = ("engine", "reference"), (after, before)
        own_heads = self._engine.tiling is not None or not (
            self._engine.detector.inference.is_bound or self._reference.detector.inference.is_bound
        )
        errors = allowed_errors(basis, against, self._precision, own_heads=own_heads)
        intervals = intervals_of_picture(basis, side, errors, size)
        return differences_of_picture(*found, intervals, frame, names)
