"""How a page shows measured times, from one run of ``bench`` or of several engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .figures import bars_below, histogram, lines
from .page import Block, Lines, Plot, Table
from .values import folded

#: most measurements whose durations are drawn
_MOST_HISTOGRAMS = 12


def row_name(row: Mapping[str, Any]) -> str:
    """Network, what ran it, and the batch size."""
    batch = f", batch {row['batch']}" if row["batch"] != 1 else ""
    # the runtime's version is stated below the page
    return f"{row['model']} {row['runtime'].split(' ')[0]} {row['precision']}{batch}"


def times_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """All measurements, in milliseconds per picture."""
    cells = []
    for row in rows:
        decode, total = row["decode_nms_ms"], row["total_ms"]
        cells.append(
            [
                row_name(row),
                f"{row['network_ms']['median']:.2f}",
                "inside" if decode is None else f"{decode['median']:.2f}",
                *(f"{total[name]:.2f}" for name in ("median", "p90", "p99", "p999")),
                f"{row['images_per_second']:.1f}",
                f"{total['spread']:.1%}",
                str(total["runs"]),
                str(row["engine"] or "-"),
            ]
        )
    headers = "network|network ms|decode+NMS ms|total p50|p90|p99|p99.9|images/s|spread|runs|engine"
    caption = "Milliseconds per picture; spread: how far the parts of one measurement differ"
    return Table(caption, headers.split("|"), cells)


def histograms(rows: Sequence[Mapping[str, Any]], prefixes: Iterator[str]) -> list[Block]:
    """Histograms of the durations of each measurement."""
    blocks: list[Block] = []
    for row in rows[:_MOST_HISTOGRAMS]:
        samples = row["samples_ms"]
        if not samples:
            continue
        names = {"p50": "median", "p90": "p90", "p99": "p99", "p99.9": "p999"}
        marks = {name: row["total_ms"][key] for name, key in names.items()}
        runs = row["total_ms"]["runs"]
        caption = f"{row_name(row)}: {runs} runs"
        if len(samples) < runs:
            caption += f", of which {len(samples)} are drawn"
        blocks.append(Plot(histogram(samples, marks, next(prefixes)), caption))
    if len(rows) > _MOST_HISTOGRAMS:
        blocks.append(Lines([f"Of {len(rows)} measurements the first are drawn."]))
    return blocks


def sweep(rows: Sequence[Mapping[str, Any]], prefix: str) -> list[Block]:
    """Throughput against latency, if a network was measured at several batch sizes."""
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = row_name({**row, "batch": 1})
        runs.setdefault(f"{name} {row['engine'] or ''}".strip(), []).append(row)
    several = {name: sorted(one, key=_batch) for name, one in runs.items() if len(one) > 1}
    if not several:
        return []
    curves = {
        name: (
            [row["total_ms"]["median"] * row["batch"] for row in one],
            [row["images_per_second"] for row in one],
        )
        for name, one in several.items()
    }
    labels = [[str(row["batch"]) for row in one] for one in several.values()]
    numbers = folded(
        "Throughput and latency by batch",
        ("network", "batch", "ms per batch", "images/s"),
        [
            [name, str(row["batch"]), f"{ms:.2f}", f"{speed:.1f}"]
            for (name, one), (times, speeds) in zip(several.items(), curves.values(), strict=True)
            for row, ms, speed in zip(one, times, speeds, strict=True)
        ],
    )
    svg = lines(curves, "ms per batch", "images/s", prefix, labels=labels)
    return [Plot(svg, "Throughput against latency; numbers: pictures per batch", numbers)]


def _batch(row: Mapping[str, Any]) -> int:
    return int(row["batch"])


def ledgers(rows: Sequence[Mapping[str, Any]], prefixes: Iterator[str]) -> list[Block]:
    """How the time for real pictures is spent."""
    blocks: list[Block] = []
    for row in rows:
        ledger = row["ledger"]
        if not ledger:
            continue
        stages = {
            {"decode_nms": "decode+NMS"}.get(name, name): timing
            for name, timing in ledger["stages"].items()
        }
        medians = {name: timing["median"] for name, timing in stages.items()}
        svg = bars_below(medians, "ms per picture", next(prefixes), sums=True)
        cells = [
            [
                name,
                *(f"{timing[key]:.2f}" for key in ("median", "p90", "p99")),
                f"{timing['share']:.1%}",
            ]
            for name, timing in stages.items()
        ]
        caption = f"{row_name(row)}: {ledger['pictures']} pictures, ms per picture"
        table = Table(caption, ("stage", "p50", "p90", "p99", "share"), cells)
        told = (
            f"One after the other {ledger['images_per_second']:.1f} pictures/s; reading ahead in "
            f"{ledger['workers']} threads {ledger['images_per_second_overlapped']:.1f}."
        )
        blocks += [Plot(svg, f"{row_name(row)}: stages one after the other"), table, Lines([told])]
    return blocks
