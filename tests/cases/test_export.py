"""Checkpoints, ONNX files and package versions as users have them (shared cases of export).

Each is a script that says at its head what is right, and ends with 0 where it holds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow

#: environments of other packages, as make targets make them; by the script that asks for one
LOWEST, ONNX_RUNTIMES = ROOT / ".venv-lowest", ROOT / ".venv-onnx"
ENVIRONMENTS = {
    "any-onnx-runtime": ("TOOLS", ONNX_RUNTIMES),
    "click-8.1": ("VENV", LOWEST),
    "onnxruntime-1.20-default-opset": ("VENV", LOWEST),
    "opencv-4.12": ("VENV", LOWEST),
    "torch-2.6-export": ("VENV", LOWEST),
}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout after ``make demo``, as far as the scripts look at it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "ssd_small").symlink_to(ROOT / "ssd_small")
    command = [sys.executable, "-m", "ssd_small", "digits", folder / "demo/digits"]
    subprocess.run(
        [*command, "--train-images", "2", "--val-images", "8"], check=True, capture_output=True
    )
    return folder


@pytest.mark.parametrize(
    "name",
    [
        *ENVIRONMENTS,
        "checkpoint-wrappers",
        "detect-threshold-below-engine",
        "int8-checkpoint",
        "label-names-one-differs",
    ],
)
def test_script_of_a_case_passes(shared_cases: Path, project: Path, name: str) -> None:
    variables = {"PROJ": str(project), "BIN": str(Path(sys.executable).parent)}
    if name in ENVIRONMENTS:
        variable, folder = ENVIRONMENTS[name]
        if not (folder / ".installed").exists():
            pytest.skip(f"not executed here: run make {folder.name.removeprefix('.venv')}")
        variables[variable] = str(folder)
    done = subprocess.run(
        ["bash", shared_cases / "export" / name / "run.sh"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
