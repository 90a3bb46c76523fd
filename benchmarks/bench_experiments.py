"""Take every published configuration from its file to engines: priors, size, times.

    python benchmarks/bench_experiments.py FOLDER [--output benchmarks/results/experiments.json]

FOLDER holds the configuration files (``*.yml``). Weights are random. ONNX Runtime runs heads and
decode + NMS on the CPU, one picture at a time; TensorRT-RTX builds both precisions without a GPU,
and those engines are not executed. A file that does not describe a network gives a row with the
reason. Each file takes about a minute; ``--only NAME`` selects some, and results are written after
each. ``--times`` only repeats the timing of export and ONNX Runtime for existing rows: builds load
the machine, and these times need a quiet one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from build_all_engines import build_both, run_command

from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure file by file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/experiments.json")
    parser.add_argument("--only", nargs="+", help="names of files without .yml")
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing per engine")
    parser.add_argument("--compute-capability", nargs="+", default=["8.6", "8.9"])
    parser.add_argument("--times", action="store_true", help="only export and ONNX Runtime, anew")
    arguments = parser.parse_args()
    if arguments.times:
        measure_times(arguments.folder, arguments.output, arguments.seconds)
        return
    rows: list[dict[str, Any]] = []
    for config in sorted(arguments.folder.glob("*.yml")):
        if arguments.only is None or config.stem in arguments.only:
            rows.append(measure(config, arguments.seconds, arguments.compute_capability))
            write_json(arguments.output, report(rows, arguments.seconds))


def measure_times(configs: Path, output: Path, seconds: float) -> None:
    """Put new times of export and ONNX Runtime into the rows of a result file."""
    rows = json.loads(output.read_text())["experiments"]
    for row in rows:
        if "refused" not in row:
            with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
                network = options_of(configs / f"{row['config']}.yml")
                row |= onnxruntime_row(network, Path(temporary), seconds)
            write_json(output, report(rows, seconds))


def options_of(config: Path) -> tuple[str, ...]:
    """What names the network of a file to ``ssd-small export``."""
    # the files' protocol has no cut over all classes: thousands of detections of random weights
    return ("--config", str(config), "--preset", "deploy")


def report(rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What is written."""
    return {
        "what": "published configurations with random weights and the deploy preset; ONNX Runtime: "
        f"milliseconds of one picture, median over {seconds:g} s; TensorRT-RTX: seconds of the "
        "build step, bytes of the plan, nothing executed on a GPU",
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "experiments": rows,
    }


def measure(config: Path, seconds: float, capabilities: list[str]) -> dict[str, Any]:
    """A row: the network's figures, and what each target made of it."""
    shown = subprocess.run(
        [sys.executable, "-m", "ssd_small", "models", "--config", str(config), "--json"],
        capture_output=True,
        text=True,
    )
    if shown.returncode:
        reason = shown.stderr.strip().splitlines()[-1].replace(str(config), config.name)
        print(f"{config.stem:52} {reason}")
        return {"config": config.stem, "refused": reason, "exit_code": shown.returncode}
    network = json.loads(shown.stdout)["networks"][0]
    keys = ("name", "input", "feature_maps", "priors", "parameters", "macs")
    row = {"config": config.stem, **{key: network[key] for key in keys}}
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        folder = Path(temporary)
        network = options_of(config)
        row |= onnxruntime_row(network, folder, seconds)
        for built in build_both(config.stem, folder, capabilities, network):
            row[f"tensorrt_rtx_{built['precision']}"] = {
                key: built[key] for key in ("build_seconds", "peak_gib", "bytes")
            }
    return row


def onnxruntime_row(network: tuple[str, ...], folder: Path, seconds: float) -> dict[str, Any]:
    """Export, and ONNX Runtime on the CPU."""
    onnx_file, engine = folder / "x.onnx", folder / "x.engine"
    export_seconds, _ = run_command(*("export", *network, "--random-weights", "-o", str(onnx_file)))
    run_command("build-engine", str(onnx_file), "-o", str(engine))
    options = ("--batch", "1", "--seconds", str(seconds), "--json")
    bench = subprocess.run(
        [sys.executable, "-m", "ssd_small", "bench", "--engine", str(engine), *options],
        capture_output=True,
        text=True,
        check=True,
    )
    timed = json.loads(bench.stdout)["results"][0]["total_ms"]
    return {
        "export_seconds": round(export_seconds, 2),
        "onnx_bytes": onnx_file.stat().st_size,
        "onnxruntime_ms": {key: timed[key] for key in ("median", "p90", "runs")},
    }


if __name__ == "__main__":
    main()
