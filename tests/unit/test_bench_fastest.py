"""Which of the measured engines is the fastest."""

from __future__ import annotations

from typing import Any

from ssd_small.bench.fastest import fastest_of_rows


def row(model: str, runtime: str, precision: str, median: float, batch: int = 1) -> dict[str, Any]:
    return {
        "model": model,
        "batch": batch,
        "runtime": runtime,
        "precision": precision,
        "engine": None if runtime == "torch" else f"{runtime}.{precision}",
        "total_ms": {"median": median},
    }


def test_the_least_median_of_each_network_and_batch_is_named() -> None:
    rows = [
        row("a", "torch", "fp32", 30.0),
        row("a", "ort", "fp32", 12.0),
        row("a", "torch", "fp32", 24.0),
        row("a", "ov", "bf16", 6.0),
        row("a", "ort", "fp32", 5.0, batch=8),
        row("a", "ov", "bf16", 10.0, batch=8),
        row("b", "ort", "fp32", 1.0),
    ]
    first, second = fastest_of_rows(rows)
    assert (first["runtime"], first["precision"], first["total_ms"]) == ("ov", "bf16", 6.0)
    assert [(o["runtime"], o["times"]) for o in first["others"]] == [("ort", 2.0), ("torch", 4.0)]
    assert (second["batch"], second["runtime"], second["engine"]) == (8, "ort", "ort.fp32")


def test_one_alone_is_not_called_the_fastest() -> None:
    assert fastest_of_rows([row("a", "torch", "fp32", 3.0), row("a", "torch", "fp32", 2.0)]) == []
