"""The machine and package versions with which a figure was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from ._version import __version__
from .system.gpu import gpus

_PACKAGES = (
    "numpy",
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
)


def describe_machine() -> dict[str, Any]:
    """Processor, cores, GPUs and driver, system and package versions, JSON-ready."""
    found = gpus()
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": [{"name": gpu.name, "capability": gpu.capability} for gpu in found.devices],
        "driver": found.driver,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "ssd-small": __version__,
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
    }


def commit_of(folder: Path) -> str | None:
    """The commit of a checkout, with ``+`` if the tree has changes; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
