"""What ``ssd-small eval`` scores, and the report of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import BadFile, UsageError
from .options import note

if TYPE_CHECKING:
    from ..datasets.coco import Annotations
    from ..evaluation.columns import Found
    from ..evaluation.evaluate import Metric
    from ..evaluation.score import Scores

#: score thresholds of the command line: by class name, None for all the others
Asked = dict[str | None, float] | None


class Scored(NamedTuple):
    """Detections and their scores, with what the report says of where they come from.

    ``thresholds`` are those asked for, or (``asked`` False) the usual ones; ``least`` is the one
    with which the detections were made. ``truth`` is what was scored, ``left_out`` why other images
    were not, a line each.
    """

    about: dict[str, Any]
    entries: Found
    scores: Scores | None
    thresholds: list[float]
    asked: bool
    least: float
    truth: Annotations
    left_out: tuple[str, ...] = ()


def check_result_file(
    protocol: str | None, box_convention: str, save_point: bool, tiles: dict[str, Any]
) -> None:
    """Refuse what cannot be done to detections that are made already."""
    if save_point:
        raise UsageError(
            "--save-operating-point does not go with --detections, which do not say what they are "
            "of; pass --engine or --weights"
        )
    given = [f"--{name.replace('_', '-')}" for name, value in tiles.items() if value]
    if protocol is not None or box_convention != "exclusive" or given:
        option = "--box-convention inclusive" if protocol is None else "--protocol"
        option = given[0] if given else option
        raise UsageError(
            f"{option} does not go with --detections, whose boxes are scored as they are; pass it "
            "where they are made"
        )


def check_test_set(
    truth: Annotations,
    detections: Path | None,
    saved: Path | None,
    min_map: float | None,
    save_point: bool,
) -> None:
    """Refuse to score what has no ground truth; say that it is not scored."""
    if min_map is not None or save_point:
        option = "--save-operating-point" if min_map is None else "--min-map"
        raise UsageError(
            f"{option} does not go with {truth.path}, which has no list annotations (a test set)"
        )
    if detections is not None or saved is None:
        raise BadFile(
            f"{truth.path} has no list annotations (a test set), so nothing can be scored; pass "
            "--save-detections FILE to write a network's results for the server that has it"
        )
    note(f"note: {truth.path} has no list annotations (a test set): nothing is scored")


def scored_from_file(
    path: Path, truth: Annotations, asked: Asked, metric: Metric, keep: bool
) -> Scored:
    """A COCO result file, scored; ``keep``: its entries whole, to be written again."""
    from ..datasets.object_sizes import check_pixels, check_result_pixels
    from ..evaluation.coco_results import read_columns, read_results
    from ..evaluation.columns import columns_from_results
    from ..evaluation.evaluate import scorer_from_metric

    thresholds = thresholds_of_categories(asked, truth, None)
    check_pixels(truth)
    entries: Found
    entries, left_out = read_results(path, truth) if keep else read_columns(path, truth)
    check_result_pixels(path, columns_from_results(entries).boxes_xywh)
    if left_out:
        note(
            f"note: {sum(left_out.values())} detections of categories that {truth.path} lacks "
            f"({', '.join(list(left_out)[:5])}) were left out"
        )
    # a list of boxes does not say how it was made
    about: dict[str, Any] = {"protocol": None, "unreadable": [], "skipped": []}
    about["detections_left_out"] = sum(left_out.values())
    scores = scorer_from_metric(metric)(truth, entries)
    return Scored(about, entries, scores, thresholds, asked is not None, 0.0, truth)


def thresholds_of_categories(asked: Asked, truth: Annotations, own: float | None) -> list[float]:
    """Score threshold of each category, for precision and recall.

    Args:
        asked: by category name; see :mod:`ssd_small.detection.thresholds`.
        truth: names the categories.
        own: threshold of the protocol, under which there are no detections; None if not known.
    """
    from ..detection.thresholds import thresholds_by_class

    refusal = "under which this protocol gives no detections; ask for {:g} or more"
    return thresholds_by_class(
        asked,
        [str(category["name"]) for category in truth.categories],
        0.0 if own is None else own,
        holder=str(truth.path),
        refusal=None if own is None else refusal.format(own),
    )


def report_from_scored(source: str, scored: Scored) -> dict[str, Any]:
    """What --json prints; ``classes`` are the categories, ``metrics`` all of them together."""
    truth, scores = scored.truth, scored.scores
    if scores is not None and scores.surplus:
        note(
            f"note: {scores.surplus} detections were not scored; the metric takes the best 100 of "
            "a class and image"
        )
    if scores is not None and scores.metrics["AP"] is None:
        note(f"note: {truth.path} has no object that counts, so the metric is not defined")
    by_level = scores and scores.by_level
    return {
        "annotations": str(truth.path),
        "images": len(truth.images),
        "boxes": len(truth.boxes),
        "crowds": sum(box["iscrowd"] != 0 for box in truth.boxes),
        "difficult": sum(box.get("difficult", 0) != 0 for box in truth.boxes),
        "boxes_without_area": truth.dropped,
        "source": source,
        **scored.about,
        "metrics": scores and scores.metrics,
        "detections": len(scored.entries),
        "classes": [one.to_dict() for one in scores.classes] if scores else [],
        "by_size": [one.to_dict() for one in scores.by_size] if scores else [],
        "by_level": by_level and [one.to_dict() for one in by_level],
        "curves": [one.to_dict() for one in scores.curves] if scores else [],
        "operating_point": scores and _operating_point(scores, scored),
    }


def _operating_point(scores: Scores, scored: Scored) -> dict[str, Any]:
    """Precision, recall and F1 at the thresholds asked for, else where F1 is best (``by``).

    ``classes`` are thresholds by class name: the ones asked for, else those of each class' own best
    F1, None where no detection of it is right; ``by_class`` has the counts of each at the threshold
    of all. Where nothing is right at all, that is the usual one.
    """
    thresholds, by = scored.thresholds, "--score-threshold"
    best = None if scored.asked else scores.best_thresholds(scored.least)
    if best is not None:
        by = "usual" if best.overall is None else "best F1"
        thresholds = thresholds if best.overall is None else [best.overall] * len(thresholds)
    point = scores.operating_point(thresholds)
    by_class = point.pop("classes")
    own = {one["name"]: one["score_threshold"] for one in by_class}
    classes = own if best is None else best.by_class
    return {**point, "by": by, "classes": classes, "by_class": by_class}
