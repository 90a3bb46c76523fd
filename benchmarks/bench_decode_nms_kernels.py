"""Count launches, bytes and registers of the CUDA decode + NMS kernels, and model their time.

The kernels run in the CPU executor, which counts every access; each case is first validated
against the numpy oracle. Microseconds are **modelled** from bytes and launches, not measured: the
model ignores arithmetic, latency within kernels and the greedy scan, so it is a lower bound.

Run ``python benchmarks/bench_decode_nms_kernels.py --help``. Needs the executor library (CMake,
``-DSSD_SMALL_BUILD_TESTS=ON``) and, for registers, nvcc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench_decode_nms import CLASSES, make_heads
from tabulate import tabulate

from ssd_small.machine import describe_machine
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec, list_models
from ssd_small.postprocess import PostprocessParams, decode_nms

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "decode_nms_kernels.json"
sys.path[:0] = [str(ROOT / "tests" / "parity"), str(ROOT / "tests")]
from kernel_library import KernelLibrary, load  # noqa: E402

PRESETS = {"deployment": PostprocessParams(), "coco": PostprocessParams.coco()}
#: peak memory bandwidth, GB/s (vendor data sheets: H100 SXM, A100 SXM 80 GB, L4, T4, AGX Orin)
BANDWIDTH = {"H100": 3350.0, "A100": 2039.0, "L4": 300.0, "T4": 320.0, "Orin": 204.8}
REACHED = 0.8  # share of the peak that a streaming kernel reaches
LAUNCH_US = {"stream": 3.0, "graph": 1.25}  # a dependent launch, in the middle of 2-4 and 1-1.5
#: GPUs on which a launch's kernels overlap (programmatic dependent launch, sm_90 and newer)
OVERLAPPING = ("H100",)
INPUTS = ("loc", "conf", "priors")
OUTPUTS = ("num_detections", "boxes", "scores", "labels", "prior_indices")


def run_case(library: KernelLibrary, model: str, density: str, preset: str) -> dict[str, Any]:
    """Validate one image and count what the kernels do for it."""
    priors = priors_from_spec(get_spec(model))
    loc, conf = make_heads(density, priors)
    params = PRESETS[preset]
    expected = decode_nms(loc, conf, priors, params, backend="numpy")[0]
    padded = library(loc, conf, priors, params, seed=1)
    found = padded.detections()[0]
    for name in ("prior_indices", "labels", "scores", "boxes"):
        if getattr(found, name).tobytes() != getattr(expected, name).tobytes():
            raise SystemExit(f"{model}, {density}: {name} differ from the oracle; nothing counted")
    traffic = {name: library.traffic(name) for name in (*INPUTS, "workspace", *OUTPUTS)}
    outputs = sum(getattr(padded, name).nbytes for name in OUTPUTS)
    least = loc.nbytes + conf.nbytes + outputs
    moved = sum(t.bytes_read + t.bytes_written for t in traffic.values())
    sectors = 32 * sum(t.sectors_read + t.sectors_written for t in traffic.values())
    launches = library.launches()
    return {
        "model": model,
        "num_priors": len(priors),
        "num_classes": CLASSES,
        "density": density,
        "preset": preset,
        "score_threshold": params.score_threshold,
        "detections": len(found),
        "launches": [launch.split()[0].split("::")[-1] for launch in launches],
        "minimum_bytes": least,
        "bytes": moved,
        "sector_bytes": sectors,
        "conf_bytes_ratio": round(traffic["conf"].bytes_read / conf.nbytes, 4),
        "bytes_ratio": round(moved / least, 4),
        "sector_bytes_ratio": round(sectors / least, 4),
        "workspace_bytes": library.workspace_bytes(loc, conf, priors, params),
        "modelled_us": modelled_us(least, sectors, len(launches)),
    }


def modelled_us(least: int, sector_bytes: int, launches: int) -> dict[str, dict[str, float]]:
    """Microseconds per GPU: the floor (least bytes at peak bandwidth), launched, in a graph.

    ``graph_overlapping`` is a bound, not an estimate: kernels that begin before the one before has
    ended hide at most the latency of every launch but the first, ``(launches - 1) * LAUNCH_US``.
    How much of it they hide only a GPU shows.
    """
    modelled = {}
    for gpu, bandwidth in BANDWIDTH.items():
        moving = sector_bytes / (REACHED * bandwidth) / 1e3
        modelled[gpu] = {"floor": round(least / bandwidth / 1e3, 2)}
        for how, each in LAUNCH_US.items():
            modelled[gpu][how] = round(moving + launches * each, 2)
        if gpu in OVERLAPPING:
            modelled[gpu]["graph_overlapping"] = round(moving + LAUNCH_US["graph"], 2)
    return modelled


def registers() -> list[dict[str, Any]] | None:
    """Kernels as ptxas reports them, or None where there is no nvcc."""
    script = ROOT / "kernels" / "check_kernels.py"
    done = subprocess.run([sys.executable, script, "--json"], capture_output=True, text=True)
    if done.returncode == 3:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Count all cases and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", action="append", choices=list_models(), help="default: all")
    parser.add_argument("--worst", action="store_true", help="the worst case too (minutes)")
    parser.add_argument("--no-registers", action="store_true", help="without nvcc")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    library = load("executor")
    if library is None:
        raise SystemExit("the executor library is not built (cmake -DSSD_SMALL_BUILD_TESTS=ON)")
    cases = []
    for model in arguments.model or list_models():
        for density in ("empty", "scene", *(["worst"] if arguments.worst else [])):
            for preset in PRESETS if density == "scene" else ["deployment"]:
                print(f"{model}, {density}, {preset}", file=sys.stderr)
                cases.append(run_case(library, model, density, preset))
    result = {
        "what": "counted in the CPU executor; microseconds are a model (bytes and launches), "
        "not measured on a GPU",
        "model": {
            "bandwidth_gb_s": BANDWIDTH,
            "share_of_bandwidth": REACHED,
            "launch_us": LAUNCH_US,
            "left_out": "arithmetic, latency inside kernels, the serial part of greedy NMS",
        },
        "machine": describe_machine(),
        "cases": cases,
        "kernels": None if arguments.no_registers else registers(),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    rows = [
        [c["model"], c["num_priors"], c["density"], c["preset"], len(c["launches"]),
         c["conf_bytes_ratio"], c["bytes_ratio"], c["sector_bytes_ratio"],
         *(c["modelled_us"][gpu]["graph"] for gpu in BANDWIDTH)]
        for c in cases
    ]  # fmt: skip
    headers = ["model", "P", "density", "preset", "launches", "conf read", "bytes", "sectors"]
    print(tabulate(rows, [*headers, *(f"{gpu} us*" for gpu in BANDWIDTH)]))
    print("* modelled (bytes and launches in a graph), not measured")


if __name__ == "__main__":
    main()
