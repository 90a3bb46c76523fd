"""Cutting decode + NMS off the network of an engine, so that it ends in its heads again."""

from __future__ import annotations

from pathlib import Path

from ..artefacts.build_options import ONNX_TARGETS
from ..artefacts.sidecar import find_sidecar, read_sidecar
from ..errors import UsageError
from ..requirements import require
from .base import Runtime


def cut_runtime(runtime: Runtime, path: str | Path, threads: int = 0) -> Runtime | None:
    """Open the network of an ONNX file or an engine for ONNX Runtime without decode + NMS.

    None if the outputs are the heads already, if another tool has removed the heads' names, or if
    the engine is not run by ONNX Runtime.

    Args:
        runtime: the opened runtime; stays open.
        path: the file it was opened from.
        threads: CPU threads; 0 for one per core.

    Raises:
        MissingRequirement: onnx is not installed.
    """
    if not runtime.description.has_decode_nms or not runtime.name.startswith("onnxruntime"):
        return None
    require("onnx", "the heads of an engine with decode + NMS inside")
    from .graph_files import heads_from_model, model_from_file
    from .onnxruntime import OnnxRuntimeRuntime

    model = model_from_file(Path(path))
    heads = None if model is None else heads_from_model(model)
    if heads is None:
        return None
    return OnnxRuntimeRuntime.from_model(
        heads.SerializeToString(),
        runtime.description.with_decode_nms(False),
        precision=runtime.precision,
        max_batch=runtime.max_batch,
        threads=threads,
        source=f"the network of {path} without decode + NMS",
    )


def runtime_of_heads(runtime: Runtime, threads: int = 0) -> Runtime:
    """Return a runtime that ends in the heads: ``runtime`` itself, or one cut from its file.

    Args:
        runtime: the opened runtime; stays open.
        threads: see :func:`cut_runtime`.

    Raises:
        UsageError: decode + NMS cannot be removed.
        MissingRequirement: onnx is not installed.
    """
    if not runtime.description.has_decode_nms:
        return runtime
    path = getattr(runtime, "path", None)
    cut = None if path is None else cut_runtime(runtime, path, threads)
    if cut is None:
        raise _inside_for_good(str(path or "this engine"), runtime.name)
    return cut


def check_has_heads(path: str | Path) -> None:
    """Refuse, by its sidecar, a plan with decode + NMS inside, before a GPU is needed.

    Raises:
        BadFile: the sidecar cannot be read.
        UsageError: decode + NMS cannot be removed.
    """
    if find_sidecar(path) is None:
        return
    sidecar = read_sidecar(path)
    if sidecar.target not in ONNX_TARGETS and sidecar.description.has_decode_nms:
        raise _inside_for_good(str(path), sidecar.target)


def _inside_for_good(what: str, runtime: str) -> UsageError:
    return UsageError(
        f"--tiles: what the network itself gives is merged, and {what} ({runtime}) has decode + "
        "NMS inside for good; build one that ends in its heads: build-engine --heads"
    )
