"""What tests see of signals does not depend on who started them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
#: starts pytest as nohup, a background shell or a batch system may
STARTS = """
import os, signal, sys
numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD]
if sys.argv[1] == "ignored":
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", sys.argv[2]])
"""
LOOKS = """
import os, signal, subprocess, sys

def test_a_child_is_born_hearing():
    child = "import signal as s; print([n for n in (s.SIGINT, s.SIGTERM, s.SIGHUP, s.SIGCHLD)"
    child += " if s.getsignal(n) is s.SIG_IGN], s.pthread_sigmask(s.SIG_BLOCK, []))"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True)
    assert done.stdout == "[] set()\\n"

def test_the_end_of_a_child_is_noticed():
    assert subprocess.run([sys.executable, "-c", "raise SystemExit(3)"]).returncode == 3
"""
SURVIVES = """
def test_nohup_is_obeyed_by_the_run_itself():
    os.kill(os.getpid(), signal.SIGHUP)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "more"), [("ignored", SURVIVES), ("blocked", "")])
def test_commands_under_test_hear_signals_that_the_run_was_started_deaf_to(
    tmp_path: Path, how: str, more: str
) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_one.py").write_text(LOOKS + more)
    done = subprocess.run(
        [sys.executable, "-c", STARTS, how, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
