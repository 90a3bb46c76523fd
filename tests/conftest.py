"""Where shared data lies, and what the tests of several folders need."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

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
