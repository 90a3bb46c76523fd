"""Execution of a network or engine behind one small interface."""

from __future__ import annotations

from pathlib import Path

from ..artefacts.sidecar import read_sidecar
from ..errors import BadFile
from .base import HeadOutputs, Runtime

__all__ = ["HeadOutputs", "Runtime", "open_engine"]


def open_engine(path: Path, threads: int = 0, *, cuda_graph: bool = True) -> Runtime:
    """Open an engine with the runtime its sidecar names.

    Args:
        path: engine file; its sidecar lies beside it.
        threads: CPU threads of the engine; 0 for one per core.
        cuda_graph: replay CUDA graphs (TensorRT).

    Raises:
        BadFile: the engine or its sidecar is absent, damaged or foreign.
        MissingRequirement: the runtime is not installed or cannot run here.
    """
    sidecar = read_sidecar(path)
    if sidecar.target == "onnxruntime":
        from .onnxruntime import OnnxRuntimeRuntime

        return OnnxRuntimeRuntime(path, sidecar, threads)
    if sidecar.target in ("tensorrt", "tensorrt-rtx"):
        from .tensorrt import TensorRtRuntime

        return TensorRtRuntime(path, sidecar, cuda_graph=cuda_graph)
    raise BadFile(
        f"engine {path} is for {sidecar.target!r}, which this version does not know; expected "
        "tensorrt, tensorrt-rtx or onnxruntime"
    )
