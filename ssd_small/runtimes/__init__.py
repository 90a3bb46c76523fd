"""Execution of a network or engine behind one small interface."""

from __future__ import annotations

from pathlib import Path

from ..artefacts.sidecar import read_engine
from ..errors import BadFile, UsageError
from .base import HeadOutputs, Runtime

__all__ = ["HeadOutputs", "Runtime", "open_engine", "open_onnx"]


def open_engine(
    path: str | Path, threads: int = 0, *, cuda_graph: bool = True, device: str | None = None
) -> Runtime:
    """Open an engine with the runtime named in its sidecar.

    Args:
        path: engine file, with its sidecar beside it.
        threads: CPU threads of the engine; 0 for one per core.
        cuda_graph: replay CUDA graphs (TensorRT).
        device: ``cpu``, ``cuda`` or ``cuda:N``; None for the kind of device the engine is for.

    Raises:
        BadFile: the engine or its sidecar is absent, damaged or foreign.
        MissingRequirement: the runtime is not installed or cannot run on this machine.
        UsageError: the engine is not for this device.
    """
    path = Path(path)
    sidecar, content = read_engine(path)
    if sidecar.target == "onnxruntime":
        from .onnxruntime import OnnxRuntimeRuntime

        _check_cpu(device, f"engine {path} is run by")
        return OnnxRuntimeRuntime.from_engine(path, sidecar, threads, content)
    if sidecar.target == "openvino":
        from .openvino import OpenVinoRuntime

        _check_cpu(device, f"engine {path} is run by", "OpenVINO")
        return OpenVinoRuntime.from_engine(path, sidecar, content, threads)
    if sidecar.target in ("tensorrt", "tensorrt-rtx"):
        from .cuda_device import open_device
        from .tensorrt import TensorRtRuntime

        index = gpu_index(device)
        if index is None and device is not None:
            raise UsageError(
                f"device {device!r}: engine {path} is for a GPU; expected cuda or cuda:N, or build "
                "one for ONNX Runtime, which runs on the CPU"
            )
        gpu = open_device(index) if index is not None else None
        return TensorRtRuntime(path, sidecar, cuda_graph=cuda_graph, device=gpu, content=content)
    raise BadFile(
        f"engine {path} is for {sidecar.target!r}, which this version does not know; expected "
        "tensorrt, tensorrt-rtx, onnxruntime or openvino"
    )


def open_onnx(
    path: str | Path, threads: int = 0, *, device: str | None = None, max_batch: int = 8
) -> Runtime:
    """Open an ONNX file written by ``ssd-small export`` with ONNX Runtime, on the CPU.

    The file takes any batch size; ``max_batch`` limits how many images are executed at once.

    Raises:
        BadFile: the file is absent, not ONNX, or without a description of itself.
        MissingRequirement: ONNX Runtime or onnx is not installed.
        UsageError: the device is not the CPU.
    """
    from .onnxruntime import OnnxRuntimeRuntime

    _check_cpu(device, f"ONNX file {path} is run by")
    return OnnxRuntimeRuntime.from_onnx(Path(path), threads, max_batch)


def gpu_index(device: str | None) -> int | None:
    """Return the number of the GPU that ``device`` names; None for the CPU or no device.

    Raises:
        UsageError: the device is not ``cpu``, ``cuda`` or ``cuda:N``.
    """
    if device is None or str(device) == "cpu":  # also accepts a torch.device
        return None
    kind, colon, number = str(device).partition(":")
    if kind != "cuda" or (colon and not (number.isascii() and number.isdigit())):
        raise UsageError(f"device {device!r}: expected cpu, cuda or cuda:N")
    return int(number or 0)


def _check_cpu(device: str | None, what: str, runtime: str = "ONNX Runtime") -> None:
    if gpu_index(device) is not None:
        raise UsageError(
            f"device {device!r}: {what} {runtime}, on the CPU; expected cpu, or build an engine "
            "for TensorRT"
        )
