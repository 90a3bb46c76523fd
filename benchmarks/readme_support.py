"""The block "What runs where": runtime, precision and platform, from code and result files.

Nothing in it is written by hand. The precisions of a runtime come from the build options, the
systems that its package supports from setup.cfg, and what was tried from the files in
benchmarks/results whose rows have network, precision, verdict and (except for ONNX Runtime) target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any, get_args

from packaging.requirements import Requirement
from readme_tables import RESULTS, ROOT, result, table

from ssd_small.artefacts.build_options import BuildOptions, Precision, Target
from ssd_small.artefacts.int8_options import Int8Options
from ssd_small.errors import UsageError
from ssd_small.evaluation.limits import HEAD_LIMITS, MAP_LIMIT

PLATFORMS = {"x86_64": "Linux x86-64", "aarch64": "Linux aarch64 (Jetson, Graviton)"}
#: package that executes a target, the extra that brings it, and what is executed on a GPU alone
PACKAGES = {
    "onnxruntime": "onnxruntime",
    "tensorrt-rtx": "tensorrt-rtx",
    "tensorrt": "tensorrt",
    "openvino": "openvino",
}
ON_GPU = ("tensorrt", "tensorrt-rtx")

Seen = dict[tuple[str, str, str], list[dict[str, Any]]]


def runs_where() -> str:
    """The table, and what its words mean."""
    seen = results_seen()
    rows = [
        [f"`{target}`", precision, *(state(target, precision, one, seen) for one in PLATFORMS)]
        for target, precision in combinations()
    ]
    systems = "|".join(PLATFORMS.values())
    return f"{table(rows, f'runtime|precision|{systems}')}\n\n{legend(seen)}"


def combinations() -> Iterator[tuple[str, str]]:
    """Target and precision, as far as the build options let them go together."""
    for target in (one for one in get_args(Target) if one != "auto"):
        for precision in get_args(Precision):
            int8 = Int8Options(Path("pictures")) if precision == "int8" else None
            try:
                BuildOptions(target=target, precision=precision, int8=int8)
            except UsageError:
                continue
            yield target, precision


def results_seen() -> Seen:
    """Rows of parity runs by target, precision and machine.

    INT8 and bf16 are not held to be equal: what they cost in AP is measured, that of INT8 by
    benchmarks/bench_int8.py, which executes its networks where no GPU is needed.
    """
    seen: Seen = defaultdict(list)
    for path in sorted(RESULTS.glob("*.json")):
        report = result(path.stem)
        rows = report.get("rows") if isinstance(report, dict) else None
        if rows and all({"target", "map_fp32", "map_int8"} <= {*row} for row in rows):
            rows = [
                row | {"precision": "int8", "change": row["map_int8"] - row["map_fp32"]}
                for row in rows
                if row["target"] not in ON_GPU
            ]
        elif not rows or not all({"network", "precision", "verdict"} <= {*row} for row in rows):
            continue
        machine = report["machine"]["system"].rpartition(" ")[2]
        for row in rows:
            if row["precision"] == "bf16":
                row = row | {"change": row["map"]["difference"]}
            key = (row.get("target", "onnxruntime"), row["precision"], machine)
            seen[key].append(row | {"machine": report["machine"]})
    return seen


def state(target: str, precision: str, platform: str, seen: Seen) -> str:
    """One cell: validated, available or blocked, and by what."""
    rows = seen.get((target, precision, platform), [])
    if rows and "change" in rows[0]:
        changes = [row["change"] for row in rows]
        ends = " to ".join(f"{end:+.4f}" for end in (min(changes), max(changes)))
        return f"measured: AP changes by {ends} in {len(rows)} networks"
    equal = [row for row in rows if row["verdict"] == "equal"]
    if rows:
        word = "validated" if len(equal) == len(rows) else "DIFFERENT"
        return f"{word}: {len(equal)} of {len(rows)} runs equal"
    if not has_package(target, platform):
        return "blocked: no package for it"
    if target not in ON_GPU:
        return "available: not executed here"
    if target == "tensorrt-rtx":  # builds without a GPU
        built = engines_built(precision)
        what = f"{built} engines built" if built else "engines are built"
        return f"available: {what}, none executed without a GPU"
    return "blocked: built and executed only on a GPU, and there was none"


def has_package(target: str, platform: str) -> bool:
    """Whether setup.cfg asks for the target's package on such a system."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    text = config["options.extras_require"].get(target, "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    system = {"platform_machine": platform, "sys_platform": "linux"}
    wanted = [Requirement(line) for line in lines]
    return any(
        one.name == PACKAGES[target] and (one.marker is None or one.marker.evaluate(system))
        for one in wanted
    )


def engines_built(precision: str) -> int:
    """Engines of benchmarks/build_all_engines.py, which builds for TensorRT-RTX."""
    return sum(one["precision"] == precision for one in result("engines")["engines"])


def legend(seen: Seen) -> str:
    """What the words mean, with limits and versions."""
    rows = [row for found in seen.values() for row in found if "change" not in row]
    names = sorted({row["network"] for row in rows})
    losses = [abs(row["map"]["difference"]) for row in rows if "map" in row]
    versions: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, version in row["machine"]["packages"].items():
            if name in ("torch", "onnx", *PACKAGES.values()):
                versions[name].add(version)
    told = ", ".join(f"{name} {' and '.join(sorted(one))}" for name, one in versions.items())
    judged = {row["precision"] for row in rows}
    limits = ", ".join(f"{HEAD_LIMITS[name]:g} in {name}" for name in HEAD_LIMITS if name in judged)
    return (
        "validated: `ssd-small parity` against PyTorch says equal, with one run for each of "
        f"{len(names)} networks, the trained ones and those of full width. Limits: {MAP_LIMIT:g} "
        f"AP (largest seen {max(losses):.5f}); for the heads, as a share of the largest value, "
        f"{limits}. available: the package and our code exist, but no engine was compared with "
        f"its network on such a machine. Versions: {told}."
    )


def first_detection() -> str:
    """`make test-first`, recorded."""
    report = result("first_detection")
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"That environment takes {report['megabytes']} MB on disk and "
        f"{report['install_seconds']:.0f} s to install with pip's downloads cached; the three "
        f"lines run in {report['seconds']:.1f} s ({machine['cpu']}, Python {machine['python']}, "
        f"{packages})."
    )


def cost() -> str:
    """`benchmarks/cost.py`: what the two commands take."""
    report = result("cost")
    shares = ", ".join(f"{name} {size / 1e3:.1f}" for name, size in report["largest_mb"].items())
    machine = report["machine"]
    return (
        f"`.venv` takes {report['environment_mb'] / 1e3:.1f} GB on disk ({shares}). Once that is "
        f"installed, `make demo` takes {report['demo_seconds']:.0f} s and {report['demo_mb']} MB; "
        "`make test` takes more than half an hour and creates further environments "
        f"({machine['cpu']}, {machine['cores']} cores)."
    )


def coverage() -> str:
    """`make coverage`, recorded."""
    report = result("coverage")
    rows = [
        [f"`{room}`", one["lines"], f"{one['run'] / one['lines']:.0%}"]
        for room, one in report["rooms"].items()
    ]
    lines, run = (sum(one[key] for one in report["rooms"].values()) for key in ("lines", "run"))
    folders = ", ".join(f"`{folder}`" for folder in report["tests"])
    said = (
        f"{run / lines:.1%} of {lines} lines of Python, by the tests of {folders} that are not "
        f"marked slow ({report['date']}, commit {report['commit']})."
    )
    return f"{said}\n\n{table(rows, 'room|lines|run')}"
