"""An ONNX Runtime engine for a checkpoint, built once and kept in the user's cache folder.

Opening it needs neither PyTorch nor onnx, whose imports take most of the time of a short run.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..artefacts.network import Labels, labels_from
from ..files import sha256_of
from ..models.shipped import find_shipped
from ..requirements import require
from ..runtimes import Runtime, open_engine
from ..system.cache import opened_from_cache, opened_once

if TYPE_CHECKING:
    from ..artefacts.build_options import BuildOptions

#: bytes of all engines in the cache together, enough for ten of SSD300 on VGG16
MOST_BYTES = 1 << 30
_BUILDERS = ("onnxruntime", "torch", "onnx", "onnxscript", "numpy")
_ENGINE = "network.engine"


def runtime_of_checkpoint(
    weights: str | Path,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    labels: Labels | None = None,
    threads: int = 0,
    cache: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Runtime:
    """Open a checkpoint in ONNX Runtime, with heads ``loc`` and ``conf``, in fp32.

    It finds what PyTorch finds, except for rounding. The cache identifies an engine by the hash of
    the file, the other arguments and the versions of the packages that build it.

    Args:
        weights: a file, or the name of a shipped checkpoint.
        model, num_classes, width, labels: see :func:`ssd_small.load`.
        threads: CPU threads; 0 for one per core.
        cache: use a cached engine, and keep a new one for the next time.
        progress: called with a message when an engine is built.

    Raises:
        BadFile, UsageError: see :func:`ssd_small.load`.
        MissingRequirement: ONNX Runtime, or a package needed to build an engine, is not installed.
    """
    require("onnxruntime", "running a checkpoint in ONNX Runtime")
    names = labels_from(labels)
    asked: dict[str, Any] = {
        "model": model,
        "num_classes": num_classes,
        "width": width,
        "labels": names,
    }

    def make(folder: Path) -> None:
        if progress is not None:
            progress(f"building an engine of {weights} for ONNX Runtime")
        _build(weights, asked, folder)

    def opened(folder: Path) -> Runtime:
        return open_engine(folder / _ENGINE, threads)

    if not cache:
        return opened_once(make, opened)
    return opened_from_cache(_key(weights, asked), make, opened, MOST_BYTES)


def _key(weights: str | Path, asked: dict[str, Any]) -> str:
    shipped = find_shipped(weights)
    content = {
        "weights": sha256_of(Path(weights) if shipped is None else shipped.path),
        "shipped": None if shipped is None else shipped.name,
        "asked": asked,
        "options": _options().to_dict(),
        "ssd-small": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in _BUILDERS},
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _options() -> BuildOptions:
    from ..artefacts.build_options import BuildOptions

    return BuildOptions("onnxruntime", "fp32", heads=True)


def _build(weights: str | Path, asked: dict[str, Any], folder: Path) -> None:
    """Write engine and sidecar into a folder."""
    for module in ("torch", "onnx", "onnxscript"):
        require(module, "building an engine of a checkpoint")
    from ..artefacts.network import network_from_checkpoint
    from .build_engine import build_engine
    from .onnx_file import write_onnx
    from .to_onnx import onnx_from_network

    source = folder / "network.onnx"
    write_onnx(onnx_from_network(*network_from_checkpoint(weights, **asked)), source)
    build_engine(source, folder / _ENGINE, _options())
    source.unlink()
