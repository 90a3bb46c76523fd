"""Shared cases of packages' versions, with those that are installed where this Python is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from case_scripts import assert_script_passes, project_after_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_after_demo(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize(
    "name", ["click-8.1", "onnxruntime-1.20-default-opset", "opencv-4.12", "torch-2.6-export"]
)
def test_script_passes(shared_cases: Path, project: Path, name: str) -> None:
    assert_script_passes(shared_cases / "export" / name, project, VENV=Path(sys.prefix))
