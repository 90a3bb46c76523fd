"""README blocks about large pictures: in tiles, whole, and compared with sahi."""

from __future__ import annotations

from typing import Any

from readme_tables import machine_line, result, table

#: what the pictures are
TITLES = {
    "cells": "blood cells, 6x6 pictures in one",
    "digits": "digits, 6x6 pictures in one",
    "trees": "trees from the air",
}
_SIZES = ("_small", "_medium", "_large")


def large_pictures() -> str:
    """What is found whole and in tiles, at the threshold of AP."""
    report = result("tiles")
    rows = []
    for name, title in TITLES.items():
        told = report.get(name)
        if told is None:
            continue
        for row in _rows(told, min(_thresholds(told))):
            if row["way"] == "sahi, numba":
                continue  # finds what it finds with numpy
            scores = row["scores"]
            rows.append(
                [
                    title,
                    row["way"].partition(",")[0],
                    _number(scores["AP"]),
                    *(_number(scores[f"AP{size}"]) for size in _SIZES),
                    _number(scores["recall"]),
                    *(_number(scores[f"recall{size}"]) for size in _SIZES),
                ]
            )
            title = ""
    headers = "pictures|seen|AP|small|medium|large|recall|small|medium|large"
    return f"{table(rows, headers)}\n\n{_what(report)}"


def large_times() -> str:
    """Seconds of a picture, and where they go."""
    report = result("tiles")
    rows = []
    for name, title in TITLES.items():
        told = report.get(name)
        for threshold in _thresholds(told) if told else ():
            found = {row["way"]: row for row in _rows(told, threshold)}
            own = found["tiles"]["seconds"]["total"]
            for way, row in found.items():
                if way not in ("tiles", "sahi, numpy", "sahi, numba"):
                    continue
                seconds = row["seconds"]
                network = seconds.get("network", seconds.get("detector"))
                rows.append(
                    [
                        title,
                        f"{threshold:g}",
                        way,
                        f"{row['detections'] / len(told['pictures']):.0f}",
                        _number(row["scores"]["AP"]),
                        f"{seconds['total']:.2f}",
                        f"{network:.2f}",
                        f"{seconds['total'] - network:.2f}",
                        f"{seconds['total'] / own:.2f}",
                    ]
                )
                title = ""
    headers = "pictures|score >|method|kept|AP|s per picture|engine s|other s|times ours"
    told = next(iter(report.values()))
    rounds = sorted({len(row["rounds"]) for one in report.values() for row in one["rows"]})
    noise = max(one["disturbance"]["others"] for one in report.values())
    line = machine_line(told["machine"], told["threads"])
    return (
        f"{table(rows, headers)}\n\n{line} sahi {told['sahi']}, batches of {told['batch']}; median "
        f"of {' to '.join(map(str, rounds))} alternating rounds while others used up to "
        f"{noise:.1f} cores: only the ratios are meaningful."
    )


def _thresholds(told: dict[str, Any]) -> list[float]:
    return sorted({row["score_threshold"] for row in told["rows"]})


def _rows(told: dict[str, Any], threshold: float) -> list[dict[str, Any]]:
    return [row for row in told["rows"] if row["score_threshold"] == threshold]


def _what(report: dict[str, Any]) -> str:
    """A line on the pictures of each."""
    lines = []
    for name, title in TITLES.items():
        if name in report:
            told = report[name]
            width, height = told["pictures"][0]
            lines.append(
                f"{title}: {len(told['pictures'])} of {width}x{height}, {told['objects']} objects, "
                f"median {told['median_side']:g} px; {told['tiles'][0]} tiles of "
                f"{told['tile'][0]}x{told['tile'][1]} ({told['weights']})"
            )
    return ". ".join(lines) + "."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
