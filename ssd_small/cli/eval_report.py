"""The page that ``ssd-small eval --report`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..report.from_eval import Details
    from .eval_scores import Scored


def write_eval_page(
    folder: Path, report: dict[str, Any], scored: Scored, images: Path | None, least: float | None
) -> None:
    """Write the page.

    Args:
        folder: where.
        report: what --json prints.
        scored: what it is of.
        images: folder of the pictures; None: none is shown.
        least: AP that was asked for.
    """
    from ..report.from_eval import page_from_eval
    from ..report.page import write_page

    write_page(page_from_eval(report, _details(report, scored, images), least), folder)


def _details(report: dict[str, Any], scored: Scored, images: Path | None) -> Details:
    """What the JSON lacks; TIDE and the confusion matrix are of COCO's metric."""
    from ..machine import describe_machine
    from ..report.disagreements import examples_from_disagreements, largest_disagreements
    from ..report.from_eval import Details
    from ..report.values import machine_lines

    machine = machine_lines(describe_machine())
    if scored.scores is None or not scored.truth.images:
        return Details(machine=machine)
    kinds: list[tuple[str, int, float]] = []
    confusion = None
    point, truth = report["operating_point"], scored.truth
    if report["metric"] == "coco":
        from ..evaluation.error_kinds import confusion_matrix, error_kinds

        found = error_kinds(truth, scored.entries)
        kinds = [(one.name, one.count, one.cost) for one in found]
        if point["score_threshold"] is not None:
            matrix = confusion_matrix(truth, scored.entries, point["score_threshold"])
            confusion = [one["name"] for one in report["classes"]], matrix.tolist()
    examples = []
    if images is not None:
        of_class = {one["name"]: one["score_threshold"] for one in point["by_class"]}
        thresholds = {one["id"]: of_class[str(one["name"])] for one in truth.categories}
        rows = largest_disagreements(truth, scored.entries, thresholds)
        examples = examples_from_disagreements(rows, truth, images)
    return Details(kinds, confusion, examples, machine)
