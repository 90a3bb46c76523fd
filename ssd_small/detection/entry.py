"""The JSON entry for one picture, as ``ssd-small detect --json`` and the server give it."""

from __future__ import annotations

from typing import Any

from .picture_detections import PictureDetections
from .pipeline import Outcome
from .thresholds import ScoreFilter


def entry_from_outcome(
    outcome: Outcome, found: PictureDetections, classes: ScoreFilter | None = None
) -> dict[str, Any]:
    """The detections in a picture, or why there are none, JSON-ready.

    Args:
        outcome: the outcome for the picture.
        found: the detections that are shown.
        classes: the filter that leaves classes out, if only some are shown.

    Returns:
        ``image`` and ``error`` for a picture that could not be read; else
        :meth:`.PictureDetections.to_dict`, with ``best_score`` if no score passes the threshold.
    """
    if outcome.error is not None:
        return {"image": found.image, "error": outcome.error.command_line}
    entry = found.to_dict()
    if not len(found) and (best := _best_score(outcome, classes)) is not None:
        entry["best_score"] = best
    return entry


def _best_score(outcome: Outcome, classes: ScoreFilter | None) -> float | None:
    """The best score in a picture that has nothing to show."""
    if classes is not None:
        return classes.best_score(outcome.detections)
    scores = outcome.detections.scores
    return float(scores.max()) if len(scores) else outcome.best_score
