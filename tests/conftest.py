"""Where shared data lies, and what the tests of several folders need."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Commands under test hear Ctrl-C also where a shell started the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real pictures and annotations."""
    folder = Path(os.environ.get("SSD_SMALL_DATA", SHARED / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder.name}/ (set SSD_SMALL_DATA)")
    return folder


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process, file descriptors watched."""
    from ssd_small.cli import main

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run
