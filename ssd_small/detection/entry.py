"""What is told of one picture in JSON: by ``ssd-small detect --json`` and by a server."""

from __future__ import annotations

from typing import Any

from .picture_detections import PictureDetections
from .pipeline import Outcome
from .thresholds import ScoreFilter


def entry_from_outcome(
    outcome: Outcome, found: PictureDetections, classes: ScoreFilter | None = None
) -> dict[str, Any]:
    """JSON-ready: the detections, or why there are none.

    Args:
        outcome: of a picture.
        found: what is shown of it.
        classes: where some classes are not shown, what leaves them out.

    Returns:
        ``image`` and ``error`` of one that could not be read; else
        :meth:`.PictureDetections.to_dict`, and ``best_score`` where nothing has the score asked
        for.
    """
    if outcome.error is not None:
        return {"image": found.image, "error": outcome.error.command_line}
    entry = found.to_dict()
    if not len(found) and (best := _best_score(outcome, classes)) is not None:
        entry["best_score"] = best
    return entry


def _best_score(outcome: Outcome, classes: ScoreFilter | None) -> float | None:
    """Of a picture without anything to show."""
    if classes is not None:
        return classes.best_score(outcome.detections)
    scores = outcome.detections.scores
    return float(scores.max()) if len(scores) else outcome.best_score
