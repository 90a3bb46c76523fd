"""The README's first Python lines in a fresh environment without torch (make test-first).

``first_detection.py FOLDER [--record FILE]`` makes the environment in FOLDER, installs the checkout
with ``[onnxruntime,images]`` and runs the lines in the checkout. Ends with 1 where the environment
has torch, is larger than it may be, or the lines do not run without a word on standard error.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ".[onnxruntime,images]"
MOST_MB = 600
ASKED = (
    "import json, importlib.util as found; from ssd_small.machine import describe_machine; "
    "print(json.dumps([found.find_spec('torch') is not None, describe_machine()]))"
)


def first_block() -> str:
    """The first Python block of the README that opens a detector."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return next(block for block in blocks if "ssd_small.load(" in block)


def megabytes(folder: Path) -> float:
    """What the files in a folder take, in 10^6 bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def main(folder: Path, record: Path | None) -> str | None:
    """What is wrong, or None."""
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", EXTRAS], cwd=ROOT, check=True)
    installing, size = time.perf_counter() - started, megabytes(folder)
    asked = subprocess.run([python, "-c", ASKED], cwd=folder, capture_output=True, check=True)
    has_torch, machine = json.loads(asked.stdout)
    started = time.perf_counter()
    # as a reader does it: the present folder, the checkout, comes first
    done = subprocess.run(
        [python, "-c", first_block()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    running = time.perf_counter() - started
    if has_torch:
        return "torch is installed there"
    if size > MOST_MB:
        return f"the environment takes {size:.0f} MB, and may take {MOST_MB}"
    if done.returncode != 0 or done.stderr or not done.stdout.strip():
        return f"the README's first lines end with {done.returncode}:\n{done.stdout}{done.stderr}"
    print(f"{size:.0f} MB in {installing:.0f} s, then {running:.1f} s:\n{done.stdout}", end="")
    if record is not None:
        times = {"install_seconds": round(installing), "seconds": round(running, 1)}
        report = {"machine": machine, "megabytes": round(size), **times}
        record.write_text(json.dumps(report, indent=2) + "\n")
    return None


if __name__ == "__main__":
    given = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    sys.exit(main(Path(sys.argv[1]).absolute(), Path(given["--record"]) if given else None))
