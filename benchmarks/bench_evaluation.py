"""Score a large result file with ours and pycocotools: processor time, memory, equal numbers.

    python benchmarks/bench_evaluation.py [--images 5000] [--output FILE.json]

Ground truth and detections are generated from a seed, as large as COCO's val2017 with an average
network: 80 classes, outlines, 86 detections per picture. Each reader with its scorer is a process
of its own, from two files on disk to the twelve numbers; our command also runs up to its whole
report, with the small-object scorecard. Exit code 1 if a number differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]
CLASSES, DETECTIONS, BOXES = 80, 86, 7.36

_REFEREE = """
import contextlib, io, json, sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(sys.argv[1])
    evaluation = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
    evaluation.evaluate(); evaluation.accumulate(); evaluation.summarize()
precision = evaluation.eval["precision"][:, :, :, 0, 2]
classes = [p[p > -1].mean() if (p > -1).any() else None for p in precision.transpose(2, 0, 1)]
print(json.dumps({"metrics": evaluation.stats.tolist(), "classes": classes}))
"""
_OURS = """
import json, sys
from ssd_small.datasets.coco import read_boxes_alone
from ssd_small.evaluation.coco_results import read_columns
from ssd_small.evaluation.score import score
truth = read_boxes_alone(sys.argv[1])
scores = score(truth, read_columns(sys.argv[2], truth).columns)
classes = [one.ap for one in scores.classes]
print(json.dumps({"metrics": list(scores.metrics.values()), "classes": classes}))
"""


def write_data(folder: Path, images: int) -> tuple[Path, Path]:
    """Ground truth and results; half of the detections lie near an object of their class."""
    rng = np.random.default_rng(0)
    boxes, found = [], []
    for number in range(1, images + 1):
        count = int(rng.poisson(BOXES))
        corners = rng.uniform(0, 500, (count, 2)).round(2)
        # sides as COCO's: from a few pixels to most of the picture
        sides = np.exp(rng.uniform(np.log(6), np.log(320), (count, 2))).round(2)
        kinds = rng.integers(1, CLASSES + 1, count)
        for kind, bbox in zip(kinds.tolist(), np.hstack([corners, sides]).tolist(), strict=True):
            outline = rng.uniform(0, 600, 2 * int(rng.integers(8, 60))).round(2).tolist()
            key = {"id": len(boxes) + 1, "image_id": number, "category_id": kind}
            area = round(bbox[2] * bbox[3] * 0.7, 4)
            crowd = int(rng.random() < 0.01)
            boxes.append(
                {**key, "bbox": bbox, "area": area, "iscrowd": crowd} | {"segmentation": [outline]}
            )
        for _ in range(DETECTIONS):
            if count and rng.random() < 0.5:
                one = int(rng.integers(count))
                moved = rng.normal(0, 0.12, 4) * np.tile(sides[one], 2)
                bbox = (np.concatenate([corners[one], sides[one]]) + moved).clip(1).round(3)
                kind, score = int(kinds[one]), rng.beta(2, 2)
            else:
                bbox = np.concatenate([rng.uniform(0, 500, 2), rng.uniform(5, 200, 2)]).round(3)
                kind, score = int(rng.integers(1, CLASSES + 1)), rng.beta(1, 6)
            key = {"image_id": number, "category_id": kind}
            found.append({**key, "bbox": bbox.tolist(), "score": round(float(score), 3)})
    pictures = [
        {"id": i, "file_name": f"{i:012}.jpg", "width": 640, "height": 480}
        for i in range(1, images + 1)
    ]
    categories = [{"id": c, "name": f"class {c}"} for c in range(1, CLASSES + 1)]
    truth = {"images": pictures, "annotations": boxes, "categories": categories}
    paths = folder / "truth.json", folder / "found.json"
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return paths


def measured(command: list[str]) -> tuple[dict[str, float], Any]:
    """Processor seconds and peak memory in MB of a process, and what it printed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)[:200]}: exit {child.returncode}")
    seconds = usage.ru_utime + usage.ru_stime
    return {"cpu_seconds": round(seconds, 2), "peak_mb": round(usage.ru_maxrss / 1024)}, json.loads(
        printed
    )


def main() -> None:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/evaluation.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        truth, found = write_data(Path(folder), options.images)
        python = sys.executable
        files = [str(truth), str(found)]
        eval_command = ["eval", "--annotations", files[0], "--detections", files[1], "--json"]
        commands = {
            "pycocotools": [python, "-c", _REFEREE, *files],
            "ours": [python, "-c", _OURS, *files],
            "command": [python, "-m", "ssd_small", *eval_command],
        }
        figures, numbers = {}, {}
        for name, command in commands.items():
            figures[name], numbers[name] = measured(command)
            print(name, figures[name], file=sys.stderr)
        sizes = {one.stem + "_mb": round(one.stat().st_size / 1e6) for one in (truth, found)}
    report = numbers.pop("command")
    numbers["command"] = {
        "metrics": list(report["metrics"].values()),
        "classes": [one["ap"] for one in report["classes"]],
    }
    equal = all(one == numbers["pycocotools"] for one in numbers.values())
    result = {
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("hotcoco", "msgspec", "pycocotools")},
        "commit": commit_of(ROOT),
        "images": options.images,
        "classes": CLASSES,
        "boxes": report["boxes"],
        "detections": report["detections"],
        **sizes,
        "equal": equal,
        "AP": report["metrics"]["AP"],
        **figures,
    }
    write_json(options.output, result)
    if not equal:
        raise SystemExit("the numbers differ")


if __name__ == "__main__":
    main()
