"""The page of an evaluation, from the output of ``eval --json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .figures import bars, bars_below, lines
from .page import Block, Lines, Page, Pictures, Plot, Section, Table, Verdict
from .values import folded, prefixes, protocol_text, share, size_name, tiles_text

#: most classes whose rows are shown; with more, the table is folded
_MOST_CLASSES = 25
#: largest confusion matrix, in classes, that fits on a page
_MOST_CONFUSED = 30
_METRIC_NAMES = {"AP_small": "AP small", "AP_medium": "AP medium", "AP_large": "AP large"}


@dataclass(frozen=True)
class Details:
    """What the JSON of an evaluation does not contain.

    Attributes:
        kinds: of errors: name, count, and what AP50 would gain without them.
        confusion: class names, and ``[C + 1][C + 1]`` counts of objects by class and by the class
            found; see :func:`ssd_small.evaluation.error_kinds.confusion_matrix`.
        examples: pictures beside their ground truth.
        machine: where it ran.
    """

    kinds: Sequence[tuple[str, int, float]] = ()
    confusion: tuple[Sequence[str], Sequence[Sequence[int]]] | None = None
    examples: Sequence[Pictures] = ()
    machine: Sequence[tuple[str, str]] = ()


def page_from_eval(
    report: Mapping[str, Any], details: Details | None = None, least: float | None = None
) -> Page:
    """The page of an evaluation.

    Args:
        report: the output of ``eval --json``.
        details: what that does not contain; None to leave those sections out.
        least: minimum AP that was asked for.
    """
    details = details or Details()
    names = prefixes()
    title = report.get("model") or "detections"
    sections = [
        Section("By size of objects", _sizes(report, next(names))),
        Section("By feature level", _levels(report, next(names))),
        Section("Precision and recall", [*_curves(report, next(names)), *_point(report)]),
        Section("Classes", _classes(report)),
        Section("Kinds of errors", _kinds(details, next(names))),
        Section("Largest disagreements", list(details.examples)),
        Section("Time", _time(report, next(names))),
    ]
    about = [("source", str(report["source"])), ("ground truth", str(report["annotations"]))]
    if report["protocol"] is not None:
        about += [
            ("runtime", f"{report['runtime']}, {report['precision']}"),
            ("protocol", f"{report['protocol']['name']}: {protocol_text(report['postprocess'])}"),
            ("box convention", report["box_convention"]),
        ]
        if "tiles" in report["protocol"]:
            about.append(("tiles", tiles_text(report["protocol"]["tiles"])))
    subtitle = (
        f"{report['source']}: {report['detections']} detections on {report['images']} pictures "
        f"with {report['boxes']} boxes"
    )
    page_title = f"Evaluation of {title}"
    return Page(page_title, subtitle, _verdict(report, least), sections, [*about, *details.machine])


def _verdict(report: Mapping[str, Any], least: float | None) -> Verdict:
    metrics = report["metrics"]
    if metrics is None:
        return Verdict("Nothing was scored: there is no ground truth")
    names = [
        name for name in ("AP_small", "AP_medium", "AP_large", "AP", "AP50") if name in metrics
    ]
    figures = [(_METRIC_NAMES.get(name, name), share(metrics[name])) for name in names]
    text, good = f"AP {share(metrics['AP'])}", None
    if "AP_small" in metrics:
        text += f", {share(metrics['AP_small'])} of small objects"
    if least is not None:
        good = (metrics["AP"] or 0.0) >= least
        text += f": {'at least' if good else 'below'} the {least:g} that was asked for"
    missing = len(report["unreadable"]) + len(report["skipped"])
    told = [f"{missing} pictures could not be read and are left out."] if missing else []
    return Verdict(text, good, figures, told)


def _sizes(report: Mapping[str, Any], prefix: str) -> list[Block]:
    rows = report["by_size"]
    if not rows:
        return []
    scales = {"picture": "in the picture", "network": "at the network's input"}
    groups: dict[str, dict[str, float | None]] = {}
    for row in rows:
        groups.setdefault(scales[row["at"]], {})[size_name(row)] = row["ap"]
    cells = [
        [
            f"{size_name(row)} {scales[row['at']]}",
            str(row["boxes"]),
            share(row["ap"]),
            share(row["recall"]),
        ]
        for row in rows
    ]
    table = Table(
        "Square root of the area in pixels; 100 detections of a class and picture count",
        ("pixels", "boxes", "AP", "recall"),
        cells,
    )
    caption = "AP by the size of objects; a dash: there are none of this size"
    return [Plot(bars(groups, "AP", prefix), caption), table]


def _levels(report: Mapping[str, Any], prefix: str) -> list[Block]:
    rows = report.get("by_level")
    if not rows:
        return []
    names = [f"{row['rows']}x{row['columns']}" for row in rows]
    names = [f"{row['level']} ({name})" for row, name in zip(rows, names, strict=True)]
    groups = {
        title: {name: row[key] for name, row in zip(names, rows, strict=True)}
        for key, title in (("ap", "AP"), ("recall", "recall"))
    }
    cells = [
        [
            *(name, str(row["boxes"])),
            "-" if row["median_px"] is None else f"{row['median_px']:.0f}",
            *(share(row["ap"]), share(row["recall"])),
        ]
        for name, row in zip(names, rows, strict=True)
    ]
    table = Table(
        "Objects by the level of the prior that overlaps them most; 100 detections of a class and "
        "picture count",
        ("level (map)", "boxes", "median pixels at the network's input", "AP", "recall"),
        cells,
    )
    caption = "AP and recall by feature level, 0 the finest; a dash: no object fits it best"
    return [Plot(bars(groups, "AP, recall", prefix), caption), table]


def _curves(report: Mapping[str, Any], prefix: str) -> list[Block]:
    rows = report.get("curves") or []
    if not rows:
        return []
    curves = {
        row["size"]: (
            [place / (len(row["precision"]) - 1) for place in range(len(row["precision"]))],
            row["precision"],
        )
        for row in rows
    }
    tens = range(0, 101, 10)
    numbers = folded(
        "Precision at tenths of recall",
        ("size", *(f"{place / 100:.1f}" for place in tens)),
        [[row["size"], *(share(row["precision"][place]) for place in tens)] for row in rows],
    )
    svg = lines(curves, "recall", "precision", prefix, share=True)
    caption = "Precision over recall at IoU 0.5, the mean of the classes, by COCO's sizes"
    return [Plot(svg, caption, numbers)]


def _point(report: Mapping[str, Any]) -> list[Block]:
    point = report["operating_point"]
    if point is None:
        return []
    threshold = point["score_threshold"]
    at = "thresholds by class" if threshold is None else f"scores above {threshold:.4g}"
    why = {"best F1": ", where F1 is best", "usual": ", the usual place"}.get(point["by"], "")
    words = ", ".join(f"{name} {share(point[name])}" for name in ("precision", "recall", "f1"))
    return [Lines([f"Operating point: {at}{why}, IoU at least 0.5: {words}."])]


def _classes(report: Mapping[str, Any]) -> list[Block]:
    rows = sorted(report["classes"], key=lambda one: -(one["ap"] if one["ap"] is not None else -1))
    if not rows:
        return []
    point = report["operating_point"] or {"classes": {}}
    cells = []
    for one in rows:
        best = point["classes"].get(one["name"])
        cells.append(
            [
                *(one["name"], share(one["ap"]), share(one["ap50"])),
                *(str(one["boxes"]), str(one["detections"])),
                "-" if best is None else f"{best:.3g}",
            ]
        )
    headers = ("class", "AP", "AP50", "boxes", "detections", "threshold")
    caption = f"{len(rows)} classes by AP; threshold: of the operating point"
    return [Table(caption, headers, cells, folded=len(rows) > _MOST_CLASSES)]


def _kinds(details: Details, prefix: str) -> list[Block]:
    blocks: list[Block] = []
    if details.kinds:
        costs = {name: cost for name, _, cost in details.kinds}
        rows = [[name, str(number), f"{cost:.4f}"] for name, number, cost in details.kinds]
        caption = "Errors at IoU 0.5; cost: how much higher AP50 would be without them"
        table = Table(caption, ("kind", "errors", "cost in AP50"), rows)
        svg = bars_below(costs, "cost in AP50", prefix, "{:.4f}", sums=False)
        blocks += [Plot(svg, "What each kind of error costs (TIDE)"), table]
    if details.confusion is not None and len(details.confusion[0]) <= _MOST_CONFUSED:
        classes, matrix = details.confusion
        labels = [*classes, "nothing"]
        rows = [[name, *(str(n) for n in row)] for name, row in zip(labels, matrix, strict=True)]
        caption = "Objects by class (rows) and by what they were found as (columns)"
        blocks.append(folded(caption, ("object", *labels), rows))
    return blocks


def _time(report: Mapping[str, Any], prefix: str) -> list[Block]:
    seconds = report.get("seconds")
    if not seconds or not report["images"]:
        return []
    stages = {
        {"decode_nms": "decode+NMS"}.get(name, name): 1e3 * value / report["images"]
        for name, value in seconds.items()
        if name != "total" and value
    }
    total = 1e3 * seconds["total"] / report["images"]
    told = Lines([f"{total:.2f} ms per picture in all; stages overlap where threads read ahead."])
    if not stages:
        return [told]
    svg = bars_below(stages, "ms per picture", prefix, sums=True)
    return [Plot(svg, "Work of each stage, per picture"), told]
