"""Measure disk space and time of the README's two commands: ``python benchmarks/cost.py``.

Run it with the Python of ``.venv`` after ``make install``; downloads are not timed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from readme_tables import ROOT

from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

LARGEST = 3


def megabytes(path: Path) -> float:
    """What a file or the files in a folder take, in 10^6 bytes."""
    files = path.rglob("*") if path.is_dir() else iter([path])
    return sum(one.stat().st_size for one in files if one.is_file() and not one.is_symlink()) / 1e6


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/cost.json")
    arguments = parser.parse_args()
    packages = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
    sizes = sorted(((megabytes(one), one.name) for one in packages.iterdir()), reverse=True)
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        started = time.perf_counter()
        command = [sys.executable, "-m", "ssd_small", "demo", "--output", "demo"]
        subprocess.run(command, cwd=temporary, check=True, stdout=subprocess.DEVNULL)
        seconds, demo = time.perf_counter() - started, megabytes(Path(temporary))
    report = {
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "environment_mb": round(megabytes(Path(sys.prefix))),
        "largest_mb": {name: round(size) for size, name in sizes[:LARGEST]},
        "demo_seconds": round(seconds, 1),
        "demo_mb": round(demo),
    }
    write_json(arguments.output, report)


if __name__ == "__main__":
    main()
