"""The benchmark of training runs, and finds our loss to be torchvision's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torchvision", reason="needs torchvision")

import torch

from ssd_small.models.checkpoint import read_state_dict

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_training_is_validated_and_timed(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    script = ROOT / "benchmarks" / "bench_training.py"
    command = [sys.executable, "-W", "error", script, "--quick", "--amp", "--threads", "1"]
    done = subprocess.run(
        [*command, "--output", result], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    # sums of some thousand terms in another order, relatively
    assert report["loss_difference"] < 1e-5
    timed = [(row["layout"], row["precision"]) for row in report["rows"]]
    assert timed == [("contiguous", "fp32"), ("channels_last", "fp32"), ("channels_last", "amp")]
    assert all(row["images_per_second"] > 0 for row in report["rows"])
    assert all(0 < row["cells_with_gradient"] < 1 for row in report["rows"])


def test_torchvision_s_network_is_timed_beside_ours(tmp_path: Path) -> None:
    """A step of each in both layouts."""
    result = tmp_path / "result.json"
    script = ROOT / "benchmarks" / "bench_training.py"
    options = ("--models", "vgg16", "--width", "0.125", "--batch", "1", "--seconds", "0")
    command = [sys.executable, "-W", "error", script, *options, "--threads", "1"]
    done = subprocess.run(
        [*command, "--output", result], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(result.read_text())
    names = [row["name"] for row in report["rows"]]
    assert names == ["vgg16"] * 2 + ["torchvision ssd300_vgg16"] * 2
    ours, theirs = (row["images_per_second"] for row in report["rows"][::2])
    ratios = report["vgg16_times_torchvision"]
    assert ratios["contiguous"] == pytest.approx(ours / theirs, abs=0.001)
    # a 64th of the arithmetic
    assert ratios["better"] > 2


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two pictures with two boxes each, laid out as bccd-mosaic."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for split in ("train", "val"):
        picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
        assert cv2.imwrite(str(folder / "images" / f"{split}.png"), picture)
        boxes = [
            {"id": i, "image_id": 1, "category_id": i, "bbox": [20 * i, 10, 18, 20]} for i in (1, 2)
        ]
        content = {
            "images": [{"id": 1, "file_name": f"{split}.png", "width": 80, "height": 60}],
            "annotations": boxes,
            "categories": [{"id": 1, "name": "Platelets"}, {"id": 2, "name": "RBC"}],
        }
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def test_runs_of_the_table_are_stopped_resumed_and_collected(cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco", reason="needs hotcoco")

    def run(*options: object) -> None:
        script = ROOT / "benchmarks" / "train_bccd.py"
        given = ("--data", cells, "--output", tmp_path / "runs", "--workers", 0, *options)
        done = subprocess.run(
            [sys.executable, script, *map(str, given)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    wanted = ("--model", "mobilenet_v1", "--seed", 1, "--iterations", 3)
    folder = tmp_path / "runs" / "mobilenet_v1-1"
    run(*wanted, "--stop-after", 1e-9)
    assert not folder.exists(), "no time, no run"
    run(*wanted, "--stop-after", 1e-3)
    assert (folder / "resume.pth").exists()
    assert not (folder / "result.json").exists()
    run(*wanted)
    kept = (folder / "result.json").read_bytes()
    run(*wanted)
    assert (folder / "result.json").read_bytes() == kept, "a finished run is left alone"
    run("--model", "mobilenet_v1_s1l0", "--seed", 0, "--iterations", 3)
    shipped = tmp_path / "shipped"
    where = ("--result", tmp_path / "bccd.json", "--ship", shipped)
    run("--collect", "--seconds", 0, "--iterations", 3, *where)
    row, other = json.loads((tmp_path / "bccd.json").read_text())["runs"]
    assert (row["model"], row["seed"], row["iterations"], row["images_seen"]) == (
        *("mobilenet_v1", 1),
        *(3, 24),
    )
    assert set(row["metrics"]) == {"AP", "AP50", "AP_small", "AP_medium", "AP_large"}
    assert set(row["class_AP"]) == {"Platelets", "RBC"}
    assert 0 < row["gmac"] < 1
    assert row["network_ms"]["median"] > 0
    logs = [f"{other['model']}-0.log", "mobilenet_v1-1.log"]
    assert sorted(file.name for file in (tmp_path / "bccd").iterdir()) == sorted(logs)
    (entry,) = json.loads((shipped / "checkpoints.json").read_text())["checkpoints"]
    scores = {k: v for k, v in other["metrics"].items() if v is not None}
    assert entry["metrics"] == {k: pytest.approx(v, abs=5e-5) for k, v in scores.items()}
    weights = shipped / "mobilenet_v1_s1l0.pth"
    last = read_state_dict(folder.with_name("mobilenet_v1_s1l0-0") / "last.pth")
    kept = read_state_dict(weights)
    assert kept.keys() == last.keys()
    assert all(torch.equal(kept[key], last[key]) for key in last)
    assert (shipped / "labels.txt").read_text().split() == ["Platelets", "RBC"]
