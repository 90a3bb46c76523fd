"""Differences between the modules ``tensorrt`` and ``tensorrt_rtx``, and the logger of each."""

from __future__ import annotations

import ctypes
import re
from collections import deque
from importlib import metadata
from typing import Any

from ..errors import MissingRequirement
from ..system.gpu import gpus

#: importable module of each flavour
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def create_runtime(trt: Any, log: Any) -> Any:
    """Create the vendor's ``Runtime``, which loads engines.

    If CUDA cannot start, TensorRT 10.15 to 11.4 log an error and return an object that ends the
    process when it is used or freed. Such an object is never freed here.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        log: its :func:`logger`.

    Raises:
        MissingRequirement: TensorRT cannot run here.
    """
    if fault := cuda_mismatch(trt):
        raise MissingRequirement(fault)
    log.errors.clear()
    try:
        runtime = trt.Runtime(log)
    except Exception as error:  # pybind11 raises a TypeError of its own for a null pointer
        raise _not_started(trt, log, str(error)) from error
    if log.errors:
        # one reference more than Python knows of, so it is not freed even when the interpreter ends
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))
        raise _not_started(trt, log)
    return runtime


def _not_started(trt: Any, log: Any, reason: str = "") -> MissingRequirement:
    """Make the error from the first logged one: later ones follow from it."""
    line = " ".join((log.errors[0] if log.errors else reason).split())
    log.errors.clear()
    return MissingRequirement(
        f"{trt.__name__} {trt.__version__} cannot start here ({line}); see 'ssd-small doctor'"
    )


def cuda_mismatch(trt: Any) -> str:
    """Say why the driver cannot run the CUDA of ``trt``'s package; empty if it can.

    A driver runs code built with its own or an earlier major version of CUDA. The result is also
    empty if the driver's version, or the one the package was built with, is unknown.
    """
    package, driver = cuda_major_of_package(trt.__name__), gpus().driver
    if package is None or driver is None or package <= int(driver.partition(".")[0]):
        return ""
    name = trt.__name__.replace("_", "-")
    return (
        f"{name} {trt.__version__} is built with CUDA {package}, and the driver is for CUDA "
        f"{driver}: install a driver for CUDA {package}, or run: pip install "
        f"{name}-cu{driver.partition('.')[0]}"
    )


def cuda_major_of_package(module: str) -> int | None:
    """Return the CUDA major version in the name of the package that provides a module, if any.

    NVIDIA's packages have such names (``tensorrt_cu13``); the module may also be in a package that
    requires one.
    """
    names = list(metadata.packages_distributions().get(module, ()))
    names += [need for name in names for need in metadata.requires(name) or ()]
    found = [match[1] for name in names if (match := re.search(r"[-_]cu(\d+)(?!\d)", name))]
    return int(found[0]) if found else None


def invalidity(trt: Any, runtime: Any, content: bytes) -> str:
    """Say, without loading a plan, why this machine cannot run it; empty if it can or if unknown.

    Only TensorRT-RTX can tell.
    """
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    validity, diagnostics = runtime.get_engine_validity(content)
    if validity != trt.EngineValidity.INVALID:
        return ""
    members = trt.EngineInvalidityDiagnostics.__members__.items()
    reasons = [n.lower().replace("_", " ") for n, bit in members if int(bit) & int(diagnostics)]
    return (
        f"{', '.join(reasons) or 'TensorRT-RTX gives no reason'}; build it again for this GPU "
        "(--compute-capability) with this version, or see 'ssd-small doctor'"
    )


def context_settings(trt: Any, engine: Any) -> Any:
    """Return create_execution_context's argument: contexts share the scratch memory we allocate."""
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        return strategy
    # TensorRT-RTX compiles kernels when a shape is first seen: immediately, not in the
    # background, or a graph would keep the provisional kernels for good
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    config.dynamic_shapes_kernel_specialization_strategy = (
        trt.DynamicShapesKernelSpecializationStrategy.EAGER
    )
    return config


_loggers: dict[str, Any] = {}


def logger(trt: Any) -> Any:
    """Return a flavour's logger, which keeps the last errors; TensorRT takes one per process."""
    if trt.__name__ in _loggers:
        return _loggers[trt.__name__]

    class Collecting(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: deque[str] = deque(maxlen=4)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)

        def last(self) -> str:
            """Return the newest error and clear all of them."""
            text = f" ({self.errors[-1].strip().splitlines()[0]})" if self.errors else ""
            self.errors.clear()
            return text

    _loggers[trt.__name__] = Collecting()
    return _loggers[trt.__name__]
