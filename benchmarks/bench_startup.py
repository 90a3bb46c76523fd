"""Measure the start-up cost of short runs: processor and wall time of whole commands.

    python benchmarks/bench_startup.py [--weights NAME] [--repeats 7]
        [--output benchmarks/results/startup.json]

Each contender is a process of its own on one picture; they take turns, and medians are written.
``first`` builds the engine that ``second`` takes from the cache; it is repeated three times, each
with an empty cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "benchmarks/results/cells.jpg"


def measured(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Processor and wall seconds of one command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ssd_small", *arguments],
        check=True,
        capture_output=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", default="bccd/mobilenet_v1_s1l0")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/startup.json")
    asked = parser.parse_args()
    weights = ["detect", str(PICTURE), "--weights", asked.weights]
    times: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx, engine = folder / "x.onnx", folder / "x.engine"
        for command in (
            ["export", "--weights", asked.weights, "-o", str(onnx)],
            ["build-engine", str(onnx), "--target", "onnxruntime", "--heads", "-o", str(engine)],
        ):
            measured(command, folder)
        contenders = {
            "help": ["--help"],
            "engine": ["detect", str(PICTURE), "--engine", str(engine)],
            "torch": weights,
            "first": [*weights, "--runtime", "onnxruntime"],
            "second": [*weights, "--runtime", "onnxruntime"],
        }
        for repeat in range(asked.repeats):
            for contender, command in contenders.items():
                if contender == "first" and repeat >= 3:
                    continue
                # the second call comes to what the first of the same cache has left
                cache = folder / f"cache{min(repeat, 2)}"
                times.setdefault(contender, []).append(measured(command, cache))
    rows = [
        {
            "name": name,
            "cpu_seconds": round(statistics.median(cpu for cpu, _ in runs), 3),
            "wall_seconds": round(statistics.median(wall for _, wall in runs), 3),
            "repeats": len(runs),
        }
        for name, runs in times.items()
    ]
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "weights": asked.weights,
        "rows": rows,
    }
    write_json(asked.output, result)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
