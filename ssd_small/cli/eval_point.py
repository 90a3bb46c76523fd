"""``ssd-small eval --save-operating-point``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckFailed, UsageError
from .options import note

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..artefacts.operating_point_output import PointTarget


def point_target(
    engine: Path | None, weights: Path | None, thresholds: Iterable[tuple[str | None, float]]
) -> PointTarget:
    """The file that will take the operating point, looked at before the work."""
    from ..artefacts.operating_point_output import target_from_checkpoint, target_from_engine

    if any(name is not None for name, _ in thresholds):
        raise UsageError(
            "--save-operating-point saves one threshold of all classes: pass --score-threshold N, "
            "or none for the one of best F1"
        )
    if engine is not None:
        return target_from_engine(engine)
    if weights is None:
        raise UsageError(
            "--save-operating-point changes a file that is named: pass --engine or --weights"
        )
    return target_from_checkpoint(weights)


def save_point(target: PointTarget, point: dict[str, Any], description: Description) -> None:
    """Write the operating point of a report.

    Raises:
        CheckFailed: no detection is right, so there is none.
    """
    from ..artefacts.operating_point import OperatingPoint

    threshold = point["score_threshold"]
    if not point["f1"]:
        raise CheckFailed(
            f"no detection is right at a score above {threshold:g}, so no operating point was saved"
        )
    measured = (point["precision"], point["recall"], point["f1"])
    classes = tuple(point["classes"].items())
    target.write(OperatingPoint(threshold, *measured, classes), description)
    where = "the sidecar of " if target.is_engine else ""
    note(f"saved in {where}{target.path}: score > {threshold:g}, F1 {point['f1']:.3f}")
