"""Check parity of the trained networks in the package, in single and half precision.

    python benchmarks/parity_shipped.py --bccd FOLDER [--target onnxruntime] [--precision fp32 fp16]
        [--output benchmarks/results/parity.json]

FOLDER holds ``val.json`` and ``images`` of bccd-mosaic; the digits are generated. Everything runs
under the published protocol; results are written after each engine. OpenVINO's results are in
benchmarks/results/parity_openvino.json: ``--target openvino --precision fp32 bf16``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.shipped import shipped_checkpoints

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure engine by engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bccd", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/parity.json")
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16"])
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        folder = Path(temporary)
        run("digits", folder / "digits", "--train-images", "0")
        truths = {
            "digits": (folder / "digits/val.json", folder / "digits/val"),
            "bccd": (arguments.bccd / "val.json", arguments.bccd / "images"),
        }
        for shipped in shipped_checkpoints():
            data = shipped.name.partition("/")[0]
            onnx_file = folder / "x.onnx"
            run("export", "--weights", shipped.name, "--preset", "coco", "-o", onnx_file)
            for precision in arguments.precision:
                build = ("--target", arguments.target, "--precision", precision)
                found = row_of(shipped.name, onnx_file, build, *truths[data])
                rows.append({"target": arguments.target, "precision": precision} | found)
                report = {"machine": describe_machine(), "commit": commit_of(ROOT), "rows": rows}
                write_json(arguments.output, report)


def row_of(
    name: str, onnx_file: Path, build: tuple[str, ...], annotations: Path, images: Path
) -> dict[str, Any]:
    """What parity says of one engine, without its examples."""
    engine = onnx_file.with_suffix(".engine")
    run("build-engine", onnx_file, *build, "-o", engine)
    truth = ("--annotations", annotations, "--images", images)
    found = json.loads(run("parity", engine, *truth, "--json", may_differ=True))
    counts = found["detections"]
    del counts["examples"]
    return {
        "network": name,
        "images": found["images"],
        "verdict": found["verdict"],
        "map": found["map"],
        "detections": counts,
        "heads": found["heads"],
        "self_consistency": found["self_consistency"],
    }


def run(*arguments: object, may_differ: bool = False) -> str:
    """What a command of ours prints on standard output."""
    command = [sys.executable, "-m", "ssd_small", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in ((0, 1) if may_differ else (0,)):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
