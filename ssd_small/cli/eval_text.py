"""The report of ``ssd-small eval`` for people."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import click

from .options import print_table, say

#: what a metric is called for people
_METRICS = {
    "coco": "COCO metric",
    "voc07": "Pascal VOC metric, AP at IoU 0.5 by 11 points (2007)",
    "voc12": "Pascal VOC metric, AP at IoU 0.5 by area (2012)",
}
_ORDER = ("AP_small", "AP_medium", "AP_large", "AP", "AP50", "AP75")
#: of more classes the table has as many of the best and of the worst, and those asked for
_MOST_CLASSES = 20


def print_report(report: dict[str, Any], named: Set[str]) -> None:
    """Source, protocol and metric on standard output, then the classes.

    Args:
        report: what --json prints.
        named: classes that are in the table however many there are.
    """
    for line in (*_source(report), _truth(report)):
        say(line)
    if report["metrics"] is None:
        say("no ground truth: nothing is scored")
        return
    texts = {name: _share(value) for name, value in report["metrics"].items()}
    click.echo(f"\n{_METRICS[report['metric']]}, from 0 to 1")
    order = [name for name in _ORDER if name in texts]
    recall = [name for name in texts if name.startswith("AR")]
    for names in (order, recall):
        if names:
            print_table([[texts[name] for name in names]], names)
            click.echo()
    _print_sizes(report["by_size"])
    _print_levels(report["by_level"])
    _print_classes(report, named)


def _source(report: dict[str, Any]) -> list[str]:
    """What was scored, and how its detections were made."""
    if report["protocol"] is None:
        return [str(report["source"]), "protocol: not known, a result file does not say it"]
    from ..postprocess import PostprocessParams
    from ..postprocess.protocol import text_from_params

    seconds = report["seconds"]
    decode_nms = f"decode+NMS {seconds['decode_nms']:.1f} s"
    if report["has_decode_nms"]:
        decode_nms = "decode+NMS inside"
    params = text_from_params(PostprocessParams.from_dict(report["postprocess"]))
    return [
        f"{report['model']} ({report['source']}), {report['runtime']}, {report['precision']}: "
        f"{report['images']} images in {seconds['total']:.1f} s (network "
        f"{seconds['network']:.1f} s, {decode_nms})",
        f"protocol {report['protocol']['name']}: {params}; box convention "
        f"{report['box_convention']}{_tiles(report['protocol'])}",
    ]


def _tiles(protocol: dict[str, Any]) -> str:
    """How pictures were cut, if they were."""
    from ..report.values import tiles_text

    return f"; {tiles_text(protocol['tiles'])}" if "tiles" in protocol else ""


def _truth(report: dict[str, Any]) -> str:
    counted = sum(one["boxes"] for one in report["classes"])
    others = report["boxes"] - counted
    kind = "difficult objects" if report["difficult"] else "crowds"
    passed_over = f" and {others} {kind}, which do not count" if others else ""
    sets = f", {','.join(report['sets'])}" if report["sets"] else ""
    return (
        f"{report['detections']} detections, {report['annotations']}{sets}: {report['images']} "
        f"images, {counted} boxes{passed_over}"
    )


def _print_sizes(rows: Sequence[dict[str, Any]]) -> None:
    """A line per size of objects, small first, at the picture's and at the network's scale."""
    if not rows:
        return
    click.echo("By size: square root of the area in pixels, 100 detections of a class and picture")
    names = {"picture": "in the picture", "network": "at the network's input"}
    scales = list(dict.fromkeys(row["at"] for row in rows))
    by_size: dict[str, list[str]] = {}
    for row in rows:
        size = f"{row['from_px']} to {row['to_px']}" if row["to_px"] else f"from {row['from_px']}"
        cells = by_size.setdefault(size, [])
        cells += [str(row["boxes"]), _share(row["ap"]), _share(row["recall"])]
    columns = ["pixels"]
    for scale in scales:
        columns += [f"boxes {names[scale]}", "AP", "recall"]
    table = [[size, *cells] for size, cells in by_size.items()]
    print_table(table, columns, ["left", *["right"] * (len(columns) - 1)])
    click.echo()


def _print_levels(rows: Sequence[dict[str, Any]] | None) -> None:
    """A line per feature level."""
    if not rows:
        return
    click.echo("By feature level: the level whose prior overlaps an object most")
    table = [
        [
            f"{row['level']} ({row['rows']}x{row['columns']})",
            str(row["boxes"]),
            "-" if row["median_px"] is None else f"{row['median_px']:.0f}",
            *(_share(row["ap"]), _share(row["recall"])),
        ]
        for row in rows
    ]
    columns = ["level", "boxes", "median pixels at the network's input", "AP", "recall"]
    print_table(table, columns, ["left", *["right"] * (len(columns) - 1)])
    click.echo()


def _print_classes(report: dict[str, Any], named: Set[str]) -> None:
    """A line per class, by AP from high to low, those without ground truth last."""
    point = report["operating_point"]
    own = point["score_threshold"] is None
    limit = "the last column" if own else f"{point['score_threshold']:g}"
    best = point["by"] == "best F1"
    if best:
        limit += f", where F1 is best ({_share(point['f1'])})"
    say(
        f"Classes by AP; precision and the columns after it: score > {limit}, IoU at least "
        f"{point['iou']:g}"
    )
    # the sort is stable: equal ones stay in the order of the categories
    rows = sorted(
        (
            {**one, **at, "best": point["classes"][one["name"]] if best else None}
            for one, at in zip(report["classes"], point["by_class"], strict=True)
        ),
        key=lambda row: -1.0 if row["AP"] is None else row["AP"],
        reverse=True,
    )
    shown, rule = _shown(rows, named)
    total = {
        "name": "all",
        "boxes": sum(row["boxes"] for row in rows),
        "detections": report["detections"],
        **report["metrics"],
        **point,
        "best": point["score_threshold"],
    }
    aps = [name for name in ("AP", "AP50") if name in report["metrics"]]
    counts = ["precision", "recall", "true pos.", "false pos.", "missed"]
    last = {"score >": "score_threshold"} if own else {"best F1 at >": "best"} if best else {}
    columns = ["class", "boxes", "detections", *aps, *counts, *last]
    print_table(
        [_texts(row, aps, list(last.values())) for row in (*shown, total)],
        columns,
        ["left", *["right"] * (len(columns) - 1)],
    )
    if rule:
        say(rule)


def _shown(rows: list[dict[str, Any]], named: Set[str]) -> tuple[list[dict[str, Any]], str]:
    """The classes of the table, and by what rule the others are not in it.

    Of more than fit, the best and the worst; those without ground truth, which have no AP, then
    stay out.
    """
    if len(rows) <= _MOST_CLASSES:
        return rows, ""
    scored = sum(row["AP"] is not None for row in rows)
    half = _MOST_CLASSES // 2
    shown = [
        row
        for place, row in enumerate(rows)
        if place < min(half, scored) or scored - half <= place < scored or row["name"] in named
    ]
    chosen = "all with ground truth"
    if scored > _MOST_CLASSES:
        chosen = f"the {half} classes of highest AP and the {half} of lowest"
    return shown, (
        f"Shown: {chosen}{', and those named' if named else ''}; {len(rows) - len(shown)} others "
        "are in --json"
    )


def _texts(row: dict[str, Any], aps: Sequence[str], last: Sequence[str]) -> list[str]:
    """Cells of a class; ``last``: which of its thresholds is in the last one."""
    shares = [_share(row[name]) for name in (*aps, "precision", "recall")]
    counts = [str(row[name]) for name in ("true_positives", "false_positives", "missed")]
    thresholds = [row[name] for name in last]
    return [
        row["name"],
        str(row["boxes"]),
        str(row["detections"]),
        *shares,
        *counts,
        *("-" if threshold is None else f"{threshold:.6f}" for threshold in thresholds),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
