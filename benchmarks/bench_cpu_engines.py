"""Compare the engines that a processor can run: six networks at full width.

    python benchmarks/bench_cpu_engines.py --folder build/cpu_engines --build-only
    python benchmarks/bench_cpu_engines.py --folder build/cpu_engines

ONNX Runtime in fp32, OpenVINO in fp32, and in bf16 if the processor supports it; one picture per
call, heads only, random weights, the runtimes taking turns. Before timing, their heads are compared
with PyTorch's; differences are relative to the largest value.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artefacts.build_options import BuildOptions, Precision, Target
from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.bench.disturbance import Watch
from ssd_small.bench.run import FULL_CLASSES, reference_runtime
from ssd_small.bench.synthetic import picture_input
from ssd_small.bench.timing import measure
from ssd_small.errors import CheckFailed, MissingRequirement
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.evaluation.proof import heads_difference
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.registry import get_spec, list_models
from ssd_small.runtimes import HeadOutputs, Runtime, open_engine
from ssd_small.runtimes.openvino import check_precision

ROOT = Path(__file__).resolve().parents[1]
KINDS: tuple[tuple[Target, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)


def main() -> None:
    """Build what is missing, compare, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the engines, kept")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--seconds", type=float, default=15.0, help="per network")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/cpu_engines.json")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    machine, watch = describe_machine(), Watch()
    rows = []
    for name in list_models():
        description = description_from_spec(get_spec(name), FULL_CLASSES, 1.0)
        errors = compared(arguments.folder, description, machine["cores"])
        if not arguments.build_only:
            rows.append(timed(arguments.folder, name, errors, machine["cores"], arguments.seconds))
    if rows:
        report = {
            "what": "one picture of 300x300 a call, heads only, 81 classes, full width, random "
            "weights; median milliseconds; heads as far from PyTorch's as a share of the largest",
            "machine": machine,
            "threads": machine["cores"],
            "commit": commit_of(ROOT),
            "disturbance": watch.seen().to_dict(),
            "results": rows,
        }
        write_json(arguments.output, report)


def kinds() -> list[tuple[Target, Precision]]:
    """The runtimes and precisions that this processor has."""
    found = []
    for target, precision in KINDS:
        try:
            check_precision(precision, target)
        except MissingRequirement:
            continue
        found.append((target, precision))
    return found


def path_of(folder: Path, name: str, target: str, precision: str) -> Path:
    """Where an engine lies."""
    return folder / f"{name}.{target}.{precision}.engine"


def compared(folder: Path, description: Description, threads: int) -> dict[str, float]:
    """Build the engines of a network that are missing; how far their heads are from PyTorch's.

    Raises:
        CheckFailed: further than rounding explains.
    """
    name = description.model
    images = picture_input(1, *description.network_size)
    errors = {}
    with reference_runtime(description, threads) as reference:
        expected = reference.infer(images)
        source = folder / f"{name}.onnx"
        for target, precision in kinds():
            path = path_of(folder, name, target, precision)
            if not path.is_file():
                if not source.is_file():
                    write_onnx(onnx_from_network(reference.net, description), source)
                options = BuildOptions(target, precision, max_batch=1, heads=True)
                build_engine(source, path, options)
            with open_engine(path, threads) as engine:
                found = engine.infer(images)
            assert isinstance(found, HeadOutputs)
            found = found.as_float32()
            error = heads_difference((found.loc, found.conf), (expected.loc, expected.conf))
            if not error <= HEAD_LIMITS[precision]:
                raise CheckFailed(f"{path}: heads differ from PyTorch's by {error:.2g}")
            errors[f"{target} {precision}"] = float(f"{error:.3g}")
    return errors


def timed(
    folder: Path, name: str, errors: dict[str, float], threads: int, seconds: float
) -> dict[str, Any]:
    """Times of all engines of a network, in turn."""
    with ExitStack() as opened:
        engines: list[Runtime] = [
            opened.enter_context(open_engine(path_of(folder, name, *kind), threads))
            for kind in kinds()
        ]
        images = picture_input(1, 300, 300)
        # threads of ONNX Runtime spin for some 30 ms after a run, which the next one would pay for
        stages = [stage for e in engines for stage in (settle, partial(e.infer, images))]
        *parts, _ = measure(stages, seconds)
        parts = parts[1::2]
    return {
        "model": name,
        "engines": {
            f"{target} {precision}": {
                "runtime": engine.name,
                "network_ms": part.to_dict(),
                "heads_error": errors[f"{target} {precision}"],
            }
            for (target, precision), engine, part in zip(kinds(), engines, parts, strict=True)
        },
    }


def settle() -> None:
    """Let the threads of the run before go to sleep."""
    time.sleep(0.05)


if __name__ == "__main__":
    main()
