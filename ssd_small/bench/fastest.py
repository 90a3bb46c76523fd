"""Which of the measured runtimes and precisions is the fastest for each network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NAMES = ("runtime", "precision", "engine")


def fastest_of_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Find the fastest for each network and batch, if several were measured.

    Args:
        rows: results in a report of ``bench``; a contender measured several times counts with its
            best median.

    Returns:
        For each, ``model``, ``batch``, ``runtime``, ``precision``, ``engine``, ``total_ms`` and
        ``others``: the slower ones, fastest first, each with ``times``, how many times as long it
        takes.
    """
    groups: dict[tuple[str, int], dict[tuple[Any, ...], float]] = {}
    for row in rows:
        best = groups.setdefault((row["model"], row["batch"]), {})
        name, median = tuple(row[key] for key in _NAMES), float(row["total_ms"]["median"])
        best[name] = min(median, best.get(name, median))
    found = []
    for (model, batch), best in groups.items():
        (first, least), *others = sorted(best.items(), key=lambda one: one[1])
        if others and least > 0:
            rest = [
                dict(zip(_NAMES, name, strict=True)) | {"times": round(median / least, 3)}
                for name, median in others
            ]
            own = dict(zip(_NAMES, first, strict=True))
            found.append({"model": model, "batch": batch, **own, "total_ms": least, "others": rest})
    return found
