"""The benchmark of training runs, and finds our loss to be torchvision's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torchvision", reason="needs torchvision")

ROOT = Path(__file__).resolve().parents[2]


def test_training_is_validated_and_timed(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    script = ROOT / "benchmarks" / "bench_training.py"
    command = [sys.executable, "-W", "error", script, "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, "--output", result], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    # sums of some thousand terms in another order, relatively
    assert report["loss_difference"] < 1e-5
    assert [row["layout"] for row in report["rows"]] == ["contiguous", "channels_last"]
    assert all(row["images_per_second"] > 0 for row in report["rows"])
