"""Build all six networks at full width for TensorRT-RTX, fp32 and fp16: time, memory, size.

    python benchmarks/build_all_engines.py [--output benchmarks/results/engines.json]

Weights are random. No GPU is needed, and none of the engines is executed. Exit code 1 if a build
step took 20 s or 4 GiB, or an fp16 plan is larger than 0.55 of the fp32 one. ``--folder`` keeps
what is built: ``NAME.onnx``, ``NAME.fp32.engine``, ``NAME.fp16.engine`` and their sidecars.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ssd_small import list_models
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]
SECONDS, GIB, RATIO = 20.0, 4.0, 0.55


def main() -> int:
    """Build, write the results, and judge them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/engines.json")
    parser.add_argument("--compute-capability", nargs="+", default=["8.6", "8.9"])
    parser.add_argument("--models", nargs="+", default=list_models())
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    rows = []
    for model in arguments.models:
        with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
            folder = arguments.folder or Path(temporary)
            network = ("--model", model)
            rows += build_both(model, folder, arguments.compute_capability, network)
    faults = list(faults_of(rows))
    write_json(
        arguments.output,
        {
            "what": "ssd-small build-engine --target tensorrt-rtx, batch 1 to 8, 81 classes; "
            "peak memory is that of the larger of the command and the process it builds in; "
            "nothing is executed on a GPU",
            "limits": {"build_seconds": SECONDS, "peak_gib": GIB, "fp16_share": RATIO},
            "machine": describe_machine(),
            "commit": commit_of(ROOT),
            "engines": rows,
        },
    )
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def build_both(
    model: str, folder: Path, capabilities: list[str], network: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Export the network that the options name, and build it in both precisions."""
    onnx_file = folder / f"{model}.onnx"
    run_command("export", *network, "--random-weights", "-o", str(onnx_file))
    rows = []
    for precision in ("fp32", "fp16"):
        engine = folder / f"{model}.{precision}.engine"
        total, peak = run_command(
            *("build-engine", str(onnx_file), "--target", "tensorrt-rtx", "-o", str(engine)),
            *("--precision", precision, "--compute-capability", *capabilities),
        )
        sidecar = json.loads(Path(f"{engine}.json").read_text())
        rows.append(
            {
                "model": model,
                "precision": precision,
                "build_seconds": sidecar["seconds"],
                "total_seconds": round(total, 2),
                "peak_gib": round(peak, 2),
                "bytes": sidecar["engine"]["bytes"],
                "tensorrt_rtx": sidecar["target_version"],
                "compute_capabilities": sidecar["compute_capabilities"],
                "receipt": sidecar["receipt"],
                "checks": sidecar["checks"],
            }
        )
        row = rows[-1]
        print(
            f"{model:24} {precision}  build {row['build_seconds']:5.1f} s  all "
            f"{row['total_seconds']:5.1f} s  {row['peak_gib']:.2f} GiB  {row['bytes'] / 1e6:.1f} MB"
        )
    return rows


def run_command(*arguments: str) -> tuple[float, float]:
    """Run the command line in a process of its own; seconds, and GiB of its largest process.

    What wait4 tells includes the processes that the command itself has waited for.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "ssd_small", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    # wait4 has reaped it: Popen must not look for it again
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"ssd-small {' '.join(arguments)}: exit code {process.returncode}")
    return time.monotonic() - started, usage.ru_maxrss / 2**20


def faults_of(rows: list[dict[str, Any]]) -> list[str]:
    """Which of the promises an engine does not keep."""
    sizes = {(row["model"], row["precision"]): row["bytes"] for row in rows}
    faults = []
    for row in rows:
        name = f"{row['model']} {row['precision']}"
        if row["build_seconds"] >= SECONDS:
            faults.append(f"{name}: built in {row['build_seconds']} s, limit {SECONDS:g}")
        if row["peak_gib"] >= GIB:
            faults.append(f"{name}: {row['peak_gib']} GiB, limit {GIB:g}")
        share = sizes[row["model"], "fp16"] / sizes[row["model"], "fp32"]
        if row["precision"] == "fp16" and share > RATIO:
            faults.append(f"{name}: {share:.2f} of the fp32 plan, limit {RATIO}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
