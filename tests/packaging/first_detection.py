"""The README's first Python lines in a fresh environment without torch (make test-first).

Run in the root of the checkout by the environment's Python: ``first_detection.py [--record FILE]``.
Ends with 1 where the environment has torch, is larger than it may be, or the lines do not run
without a word on standard error.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_MB = 600


def first_block() -> str:
    """The first Python block of the README that opens a detector."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return next(block for block in blocks if "ssd_small.load(" in block)


def megabytes(folder: Path) -> float:
    """What the files in a folder take, in 10^6 bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> str | None:
    """What is wrong, or None."""
    installed = {found.name.lower(): found.version for found in distributions()}
    if "torch" in installed:
        return "torch is installed here"
    size = megabytes(Path(sys.prefix))
    if size > MOST_MB:
        return f"the environment takes {size:.0f} MB, and may take {MOST_MB}"
    started = time.perf_counter()
    # as a reader does it: the present folder, the checkout, comes first
    done = subprocess.run(
        [sys.executable, "-c", first_block()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0 or done.stderr or not done.stdout.strip():
        return f"the README's first lines end with {done.returncode}:\n{done.stdout}{done.stderr}"
    print(f"{size:.0f} MB, {seconds:.1f} s:\n{done.stdout}", end="")
    if sys.argv[1:2] == ["--record"]:
        sys.path.insert(0, str(ROOT))
        from ssd_small.machine import describe_machine

        machine = describe_machine()
        record = {"machine": machine, "megabytes": round(size), "seconds": round(seconds, 1)}
        Path(sys.argv[2]).write_text(json.dumps(record, indent=2) + "\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
