"""Files of packages that pip publishes, to be read: nothing of them is built or installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CACHE = Path(__file__).resolve().parents[1] / "build" / "published"


def unpacked(requirement: str, *, source: bool = False) -> Path:
    """The folder of a wheel for this Python, or of a source archive; kept in build/.

    Skips where no package index gives it.
    """
    folder = CACHE / f"{requirement}-{sys.implementation.cache_tag}"
    if folder.is_dir():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    kind = "--no-binary=:all:" if source else "--only-binary=:all:"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation",
         "--retries=1", kind, "--dest", partial, requirement],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    files = list(partial.glob("*")) if done.returncode == 0 else []
    if not files:
        pytest.skip(f"not executed here: no package index that has {requirement} for this Python")
    for file in files:
        if file.suffix == ".whl":
            zipfile.ZipFile(file).extractall(partial)
        else:
            with tarfile.open(file) as archive:
                archive.extractall(partial, filter="data")
        file.unlink()
    partial.rename(folder)
    return folder
