"""Compare an engine with a COCO result file written by any program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluation.coco_results import read_results, results_from_detections
from ..postprocess import Detections
from ..postprocess.boxes import iou_one_to_many
from .comparison import Compared
from .detection_differences import (
    Frame,
    PictureDifferences,
    allowed_errors,
    differences_of_picture,
    in_order,
    intervals_of_picture,
)
from .naming import ids_of_labels
from .overlap_matching import differences_by_overlap
from .pictures import Pictures
from .recording import Heads, cut_runtime, outcomes_with_heads
from .side import Side

if TYPE_CHECKING:
    from ..datasets.coco import Annotations
    from ..detection.pipeline import Outcome
    from ..evaluation.intervals import Intervals

Indices = npt.NDArray[np.int32]
#: largest rounding errors in files: scores with three decimals, pixels with one
_SCORE, _PIXELS = 5e-4, 0.05
_NO_CLASS = "the engine has no class of that name"


@dataclass(frozen=True, eq=False)
class ResultFile:
    """Entries of a result file.

    Attributes:
        path: the file.
        entries: COCO result entries, with ids as in the annotations.
        notes: a line for each thing a user should know.
    """

    path: Path
    entries: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready summary."""
        return {
            "path": str(self.path),
            "source": "COCO result file",
            "detections": len(self.entries),
        }


def read_result_file(path: Path, annotations: Annotations, score_threshold: float) -> ResultFile:
    """Read the entries whose score is, or before rounding may have been, above the threshold.

    Raises:
        BadFile: not a result file, or not one for these annotations.
    """
    results = read_results(path, annotations)
    kept = [e for e in results.entries if e["score"] > score_threshold - _SCORE]
    notes = []
    below = len(results.entries) - len(kept)
    if below:
        notes.append(
            f"{below} entries of {path} are not above {score_threshold:g}, the engine's threshold, "
            "and were left out"
        )
    if results.left_out:
        count = sum(results.left_out.values())
        notes.append(f"{count} entries of {path} are of categories that the annotations lack")
    return ResultFile(path, kept, tuple(notes))


def compare_with_file(
    file: ResultFile,
    engine: Side,
    pictures: Pictures,
    progress: Callable[[int], None] = lambda count: None,
) -> Compared:
    """Compare an engine's detections with those of a file; see :func:`compare_sides`.

    If the engine's heads are available, each entry is assigned the prior box that may have given
    it, and is proven like an engine's detection.

    Args:
        file: what the engine is compared with.
        engine: the side that is judged.
        pictures: pictures with the annotations that the file's ids refer to.
        progress: called with the number of pictures just finished.
    """
    annotations = pictures.annotations
    assert annotations is not None
    compared = Compared(notes=[*pictures.notes, *file.notes])
    ids, notes = ids_of_labels(annotations, engine.description)
    compared.notes += notes
    by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in file.entries:
        by_image[entry["image_id"]].append(entry)
    with ExitStack() as opened:
        cut = cut_runtime(engine, engine.detector.inference.threads)
        if cut is not None:
            opened.callback(cut.close)
        stream = outcomes_with_heads(engine, pictures.given, cut)
        opened.enter_context(closing(stream))  # type: ignore[type-var]
        for place, (outcome, heads) in enumerate(stream):
            progress(1)
            if outcome.error is not None:
                compared.faults[place] = outcome.error
                continue
            image = annotations.images[place]
            entries = by_image[image["id"]]
            size = pictures.size(place, outcome.size)
            frame = Frame(pictures.names[place], size, engine.description)
            labels = _labels_by_category(ids, engine)
            told = _detections_from_entries(entries, labels, size)
            found = _differences(told, outcome, heads, engine, frame)
            compared.counts.add(len(told), len(outcome.detections), found)
            compared.results[0].extend(dict(entry) for entry in entries)
            compared.results[1].extend(
                results_from_detections(outcome.detections, image, engine.description, ids)
            )
    return compared


def _labels_by_category(ids: Sequence[int | None], engine: Side) -> dict[int, int]:
    """The label of each category that the engine knows."""
    background = engine.description.postprocess.background_label
    return {
        category: place + (0 <= background <= place)
        for place, category in enumerate(ids)
        if category is not None
    }


def _detections_from_entries(
    entries: Sequence[Mapping[str, Any]], labels: Mapping[int, int], size: tuple[float, float]
) -> Detections:
    """The entries of a picture, with unknown priors (-1), and label -1 for unknown categories."""
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    height, width = size
    return in_order(
        Detections(
            (boxes / (width, height, width, height)).astype(np.float32),
            np.array([entry["score"] for entry in entries], np.float32),
            np.array([labels.get(entry["category_id"], -1) for entry in entries], np.int32),
            np.full(len(entries), -1, np.int32),
        )
    )


def _differences(
    told: Detections, outcome: Outcome, heads: Heads | None, engine: Side, frame: Frame
) -> PictureDifferences:
    precision, found = engine.precision, outcome.detections
    if heads is None:
        params = engine.params_of_picture(outcome.size)
        return differences_by_overlap(told, found, params, precision, frame)
    errors = allowed_errors(heads, None, precision, own_heads=True)
    intervals = intervals_of_picture(heads, engine, errors, outcome.size)
    priors = _priors_of(told, found, intervals, frame.size)
    known = priors >= 0
    # entries at the threshold that the engine lacks were rounded up to it
    kept = found.keys
    at = ~(told.scores > np.float32(engine.params.score_threshold))
    keys = zip(told.labels.tolist(), priors.tolist(), strict=True)
    # the dtype is given because an empty list would become floats
    at &= np.array([key not in kept for key in keys], np.bool_)
    told, priors, known = told[~at], priors[~at], known[~at]
    own = _at_priors(told[known], priors[known], intervals)
    pairs = differences_of_picture(found, own, intervals, frame, ("engine", "reference"))
    examples = [
        frame.example(told, i, "reference", _nearest(told, i, found), explained=False)
        for i in np.flatnonzero(~known).tolist()
    ]
    return PictureDifferences(pairs.matched, [*pairs.examples, *examples], pairs.moved)


def _priors_of(
    told: Detections, found: Detections, intervals: Intervals, size: tuple[float, float]
) -> Indices:
    """The prior ``[D]`` that may have given each entry, preferably one that the engine kept.

    -1 if there is none.
    """
    height, width = size
    # a far corner is the sum of two rounded numbers
    margin = _PIXELS / np.array([width, height, width / 2, height / 2])
    bounds = {label: _candidates(label, intervals) for label in set(told.labels.tolist()) - {-1}}
    kept = found.keys
    taken: set[tuple[int, int]] = set()
    priors = np.full(len(told), -1, np.int32)
    for i, (box, score, label) in enumerate(
        zip(told.boxes, told.scores, told.labels.tolist(), strict=True)
    ):
        if label == -1:
            continue
        index, low, high = bounds[label]
        index = index[(low - _SCORE <= score) & (score <= high + _SCORE)]
        able = (box >= intervals.box_low[index] - margin).all(axis=1)
        able &= (box <= intervals.box_high[index] + margin).all(axis=1)
        candidates = [p for p in index[able].tolist() if (label, p) not in taken]
        if candidates:
            off = np.abs(intervals.scores[label, candidates] - score).tolist()
            order = [((label, p) not in kept, o) for p, o in zip(candidates, off, strict=True)]
            priors[i] = candidates[min(range(len(order)), key=order.__getitem__)]
            taken.add((label, int(priors[i])))
    return priors


def _candidates(
    label: int, intervals: Intervals
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Priors that may have given an entry of a class, with lower and upper score bounds."""
    low, high = intervals.score_bounds(intervals.scores[label])
    with np.errstate(invalid="ignore"):
        # an entry is above the threshold up to rounding, and so is its prior's score
        index = np.flatnonzero(high > intervals.params.score_threshold - 2 * _SCORE)
    return index, low[index], high[index]


def _at_priors(told: Detections, priors: Indices, intervals: Intervals) -> Detections:
    """The entries with the engine's own scores and boxes: rounding in a file is no difference."""
    scores = intervals.scores[told.labels, priors]
    boxes = ((intervals.box_low + intervals.box_high) / 2)[priors].astype(np.float32)
    # by rounding, the heads' own score may lie on the other side of the threshold
    threshold = np.float32(intervals.params.score_threshold)
    scores = np.maximum(scores, np.nextafter(threshold, np.float32(1)))
    return in_order(Detections(boxes, scores, told.labels, priors))


def _nearest(told: Detections, position: int, found: Detections) -> str:
    """Say why an entry matches no detection of the engine."""
    label = int(told.labels[position])
    if label == -1:
        return _NO_CLASS
    same = found[found.labels == label]
    if not len(same):
        return "the engine finds nothing of this class in the picture"
    iou = iou_one_to_many(told.boxes[position], same.boxes)
    best = int(np.argmax(iou))
    return (
        f"no prior box of the engine gives it; its nearest detection of the class has IoU "
        f"{iou[best]:.4g} and score {same.scores[best]:.6g}"
    )
