"""The wheel that ``pip wheel .`` makes of this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: what a checkout does not hold, or what a wheel must not depend on
LEFT_OUT = (".git", ".venv*", "build", "dist", "demo", "*.egg-info", "__pycache__", "_native")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pip wheel .`` on a copy of the tree, with the build tools of this environment.

    A library that does not build is an error; a plugin that is left out for want of nvcc is none.
    """
    try:
        fits = int(metadata.version("setuptools").partition(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        fits = False
    if not fits:
        pytest.skip("building a wheel without the network needs setuptools 77 installed")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    options = ("--no-deps", "--no-index", "--no-build-isolation")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", ".", "--wheel-dir", folder, *options],
        cwd=tree,
        env={**os.environ, "PATH": path, "SSD_SMALL_REQUIRE_NATIVE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as an installation has it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder
