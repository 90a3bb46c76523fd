"""Checkpoints, thresholds and installations as users have them (shared cases of export).

Those of other package versions are run by ``tests/lowest`` and ``tests/handover``, where these are.
"""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

import pytest
from case_scripts import assert_script_passes, project_after_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_after_demo(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint-wrappers",
        "detect-threshold-below-engine",
        "int8-checkpoint",
        "label-names-one-differs",
    ],
)
def test_script_passes(shared_cases: Path, project: Path, name: str) -> None:
    assert_script_passes(shared_cases / "export" / name, project)


def test_script_of_an_installation_without_torch_passes(
    shared_cases: Path, project: Path, tmp_path: Path
) -> None:
    """All that is installed here but torch, which is hidden."""
    folder = tmp_path / "engine only"
    venv.create(folder, symlinks=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    here = sysconfig.get_path("purelib")
    # what is installed as editable is found by .pth files, which are read of site folders alone
    lines = [f"import site; site.addsitedir({here!r})", "import sys; sys.modules['torch'] = None"]
    (own / "packages.pth").write_text("\n".join(lines) + "\n")
    script = folder / "bin" / "ssd-small"
    script.write_text(f"#!/bin/sh\nexec '{folder}/bin/python' -m ssd_small \"$@\"\n")
    script.chmod(0o755)
    assert_script_passes(
        shared_cases / "export" / "doctor-self-test-without-torch", project, VENV=folder
    )
