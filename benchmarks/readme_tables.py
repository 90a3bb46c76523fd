"""Building blocks of the README's figures: tables, result files, and where they were measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def table(rows: list[list[Any]], headers: str) -> str:
    """A Markdown table; ``headers`` are separated by ``|``."""
    return tabulate(rows, headers.split("|"), tablefmt="github", disable_numparse=True)


def result(name: str) -> Any:
    """A result file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def machine_line(machine: dict[str, Any], threads: Any) -> str:
    """Where a figure was measured."""
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    unit = "thread" if str(threads) == "1" else "threads"
    return f"{machine['cpu']}, {threads} {unit}, Python {machine['python']}, {packages}."
