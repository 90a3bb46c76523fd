"""The page of measured times, from the output of ``bench --json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..models.registry import get_spec, list_models
from .figures import Point, pareto
from .page import Block, Page, Plot, Section, Table, Verdict
from .timings import histograms, ledgers, row_name, sweep, times_table
from .values import machine_lines, prefixes, protocol_text


def page_from_bench(report: Mapping[str, Any], notes: Sequence[str] = ()) -> Page:
    """The page of a benchmark.

    Args:
        report: the output of ``bench --json``.
        notes: what a reader has to know about the figures.
    """
    rows = report["results"]
    names = prefixes()
    sections = [
        Section("Against the other run", _changes(report)),
        Section("Networks", [*_published(rows, next(names)), times_table(rows)]),
        Section("Throughput and latency", sweep(rows, next(names))),
        Section("Where the time of pictures goes", ledgers(rows, names)),
        Section("Durations", histograms(rows, names)),
    ]
    about = machine_lines(report["machine"], report["threads"])
    about.append(("runtimes", ", ".join(dict.fromkeys(row["runtime"] for row in rows))))
    for text in dict.fromkeys(protocol_text(row["postprocess"]) for row in rows):
        about.append(("decode + NMS", text))
    about.append(("outputs", "those of timed runs are the ones of an untimed run, to the bit"))
    models = list(dict.fromkeys(row["model"] for row in rows))
    title = f"Inference time of {models[0] if len(models) == 1 else f'{len(models)} networks'}"
    subtitle = f"{report['machine']['cpu']}, {report['threads']} threads"
    return Page(title, subtitle, _verdict(report, notes), sections, about)


def _verdict(report: Mapping[str, Any], notes: Sequence[str]) -> Verdict:
    rows = report["results"]
    best = min(rows, key=lambda row: row["total_ms"]["median"])
    figures = [
        ("ms per picture", f"{best['total_ms']['median']:.2f}"),
        ("p99", f"{best['total_ms']['p99']:.2f}"),
        ("images/s", f"{max(row['images_per_second'] for row in rows):.1f}"),
    ]
    fastest = f"{row_name(best)} takes {best['total_ms']['median']:.2f} ms per picture"
    if len(rows) > 1:
        fastest = f"Fastest of {len(rows)}: {fastest}"
    if "against" not in report:
        return Verdict(fastest, None, figures, notes)
    changes = report["against"]["changes"]
    count = {kind: sum(one["verdict"] == kind for one in changes) for kind in ("slower", "faster")}
    text = (
        f"{count['slower']} of {len(changes)} measurements are slower than in "
        f"{report['against']['file']}, {count['faster']} faster"
    )
    return Verdict(text, not count["slower"], figures, [f"{fastest}.", *notes])


def _changes(report: Mapping[str, Any]) -> list[Block]:
    if "against" not in report:
        return []
    rows = [
        [
            row_name(one),
            *(f"{one[key]:.2f}" for key in ("before", "after")),
            f"{one['ratio'] - 1:+.1%}",
            f"{one['spread']:.1%}",
            f"{one['p_value']:.2g}",
            one["verdict"],
        ]
        for one in report["against"]["changes"]
    ]
    headers = ("network", "before", "now", "change", "spread", "p", "verdict")
    caption = "Total ms per picture; p: of Mann and Whitney's rank test of the single durations"
    return [Table(caption, headers, rows)]


def _published(rows: Sequence[Mapping[str, Any]], prefix: str) -> list[Block]:
    """Published accuracy beside the times measured here, for full-width networks."""
    full = [row for row in rows if row["published_ms"] is not None and row["batch"] == 1]
    full = [row for row in full if row["model"] in list_models()]
    points, cells = [], []
    for row in full:
        published = get_spec(row["model"]).published
        if published is None:
            continue
        milliseconds = row["total_ms"]["median"]
        points.append(Point(row_name(row), milliseconds, published.map_small / 100))
        figures = (
            *(published.map_small, published.map_medium, published.map_large),
            published.map_all,
        )
        cells.append(
            [
                row_name(row),
                *(f"{value:.1f}" for value in figures),
                f"{milliseconds:.2f}",
                f"{row['published_ms']:.1f}",
            ]
        )
    if len(points) < 2:
        return []
    caption = "AP of small objects as published for COCO, against the time measured here"
    headers = ("network", "AP small", "AP medium", "AP large", "AP", "ms here", "ms published")
    about = (
        "AP in percent and ms as published (fp32, batch 16, on a GPU that is not named), beside ms "
        "here"
    )
    return [Plot(pareto(points, "AP small", prefix), caption), Table(about, headers, cells)]
