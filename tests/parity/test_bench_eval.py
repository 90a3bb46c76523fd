"""The benchmark of `eval` beside the bare network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_eval_is_timed_beside_the_network_and_stage_by_stage(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    script = ROOT / "benchmarks" / "bench_eval.py"
    options = ["--models", "mobilenet_v1", "--width", "0.25", "--threads", "1"]
    options += ["--seconds", "0", "--pictures", "8"]
    done = subprocess.run(
        [sys.executable, script, *options, "--output", result],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(result.read_text())["results"]
    assert row["turns"] == 3
    assert row["pictures"] % row["batch"] == 0
    assert 0 < row["ratio_range"][0] <= row["ratio"] <= row["ratio_range"][1]
    spent = row["processor_ms"]
    stages = ["read", "decode", "resize", "batch", "network", "decode_nms", "collect", "score"]
    assert list(spent) == stages
    assert row["at_most"] == pytest.approx(spent["network"] / sum(spent.values()), rel=1e-3)
    # scores are spread so that there is something to suppress and to score
    for found in row["detect"].values():
        assert 0 < found["ratio_range"][0] <= found["ratio"] <= found["ratio_range"][1]
    assert all(100 < peak < 4000 for peak in row["peak_mb"].values())
    assert row["candidates_per_picture"] > row["detections_per_picture"] > 20
