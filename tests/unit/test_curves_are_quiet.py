"""What matplotlib says of its cache folder is kept off the terminal of a training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

DRAW = """
from pathlib import Path
from ssd_small.training.history import History, draw_curves
draw_curves(History(Path("history.csv")), Path("curves.png"), "a run")
"""


@pytest.mark.slow
def test_curves_are_drawn_without_a_word_where_matplotlib_may_keep_no_cache(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        cwd=tmp_path,
        env={**os.environ, "MPLCONFIGDIR": "/proc/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "curves.png").stat().st_size
