"""In continuous integration a test that is left out without need fails the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NEEDED = """
import pytest
def test_fine(): pass
def test_other(): pytest.skip({reason!r})
"""
WHOLE_FILE = """
import pytest
pytest.importorskip("a_package_that_is_not_there")
"""


def run(folder: Path, text: str, ci: str) -> tuple[int, str]:
    """Exit code and output of a run on one file beside a copy of this folder's conftest.py."""
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (folder / "test_one.py").write_text(text)
    (folder / "test_two.py").write_text("def test_fine(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "reason",
    [
        "not executed here: no GPU, or no library for it",
        "not executed here: no NVIDIA driver (libcuda.so.1 cannot be loaded)",
        "not executed here: there is a GPU",
        "not executed here: no shared data in x (set SSD_SMALL_DATA)",
    ],
)
def test_what_cannot_be_installed_may_be_absent(tmp_path: Path, reason: str) -> None:
    code, out = run(tmp_path, NEEDED.format(reason=reason), "true")
    assert code == 0, out
    assert "2 passed, 1 skipped" in out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (NEEDED.format(reason="needs torch"), "test_one.py:4: Skipped: needs torch"),
        (NEEDED.format(reason="not executed here: slow"), "Skipped: not executed here: slow"),
        (WHOLE_FILE, "test_one.py:3: Skipped: could not import 'a_package_that_is_not_there'"),
    ],
)
def test_anything_else_fails_where_ci_is_true_and_nowhere_else(
    tmp_path: Path, text: str, shown: str
) -> None:
    code, out = run(tmp_path, text, "true")
    assert code == 1, out
    assert shown in out.partition("skipped, which fails where CI=true")[2]
    code, out = run(tmp_path, text, "false")
    assert code == 0, out
    assert "which fails" not in out
