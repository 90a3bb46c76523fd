"""Shared cases of export: scripts that say at their head what is right, and end with 0 where it is.

They take an environment by a variable: where other packages or versions are installed than here.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: environment of the checkout, with which the scripts make their inputs
CHECKOUT = ROOT / ".venv" / "bin"


def project_after_demo(folder: Path) -> Path:
    """A checkout after ``make demo``, as far as the scripts look at it."""
    (folder / "ssd_small").symlink_to(ROOT / "ssd_small")
    command = [CHECKOUT / "ssd-small", "digits", folder / "demo/digits"]
    subprocess.run(
        [*command, "--train-images", "2", "--val-images", "8"], check=True, capture_output=True
    )
    return folder


def run_script(
    script: Path, project: Path, **environments: Path
) -> subprocess.CompletedProcess[str]:
    """Run a script over a project, with environments by the script's variables."""
    variables = {"PROJ": project, "BIN": CHECKOUT, **environments}
    return subprocess.run(
        ["bash", script / "run.sh"],
        env={**os.environ, **{name: str(path) for name, path in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_script_passes(script: Path, project: Path, **environments: Path) -> None:
    """As :func:`run_script`, ended with 0."""
    done = run_script(script, project, **environments)
    assert done.returncode == 0, done.stdout + done.stderr
