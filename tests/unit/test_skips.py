"""In continuous integration a test that is left out without need fails the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FINE = """
import pytest
@pytest.mark.parametrize("reason", [
    "not executed here: no GPU, or no library for it",
    "not executed here: no NVIDIA driver (libcuda.so.1 cannot be loaded)",
    "not executed here: there is a GPU",
    "not executed here: no shared data in x (set SSD_SMALL_DATA)",
    "not executed here: strace is absent or may not trace",
    "not executed here: no network namespace of its own",
    "not executed here: no browser (apt-get install chromium)",
    "not executed here: no emulator qemu-aarch64 with a C library",
    "not executed here: no package index that has pycuda==2026.1 for this Python",
])
def test_skips(reason): pytest.skip(reason)
def test_passes(): pass
"""
NEEDLESS = {
    "test_one.py": "import pytest\ndef test_one(): pytest.skip('needs torch')",
    "test_two.py": "import pytest\ndef test_two(): pytest.skip('not executed here: slow')",
    "test_three.py": "import pytest\npytest.importorskip('a_package_that_is_not_there')",
}


def run(folder: Path, files: dict[str, str], ci: str) -> tuple[int, str]:
    """Exit code and output of a run on these files under the conftest.py of this folder."""
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    for name, text in files.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_what_cannot_be_installed_may_be_absent(tmp_path: Path) -> None:
    code, out = run(tmp_path, {"test_fine.py": FINE}, "true")
    assert code == 0, out
    assert "1 passed, 9 skipped" in out


@pytest.mark.slow
def test_anything_else_fails_where_ci_is_true_and_nowhere_else(tmp_path: Path) -> None:
    files = {"test_fine.py": FINE} | NEEDLESS
    code, out = run(tmp_path, files, "true")
    assert code == 1, out
    shown = out.partition("skipped, which fails where CI=true")[2].splitlines()
    assert [line.rpartition("/")[2] for line in shown if "Skipped" in line] == [
        "test_one.py:2: Skipped: needs torch",
        "test_three.py:2: Skipped: could not import 'a_package_that_is_not_there': "
        "No module named 'a_package_that_is_not_there'",
        "test_two.py:2: Skipped: not executed here: slow",
    ]
    code, out = run(tmp_path, files, "false")
    assert code == 0, out
    assert "which fails" not in out
