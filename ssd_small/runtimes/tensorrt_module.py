"""What differs between the modules ``tensorrt`` and ``tensorrt_rtx``, and their one logger."""

from __future__ import annotations

from collections import deque
from typing import Any

#: importable module of each flavour
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def invalidity(trt: Any, runtime: Any, content: bytes) -> str:
    """Why this machine cannot run a plan, without loading it; empty if it can or is not known.

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
    """Argument of create_execution_context: scratch memory is ours, one block for all contexts."""
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        return strategy
    # TensorRT-RTX compiles kernels when a shape is first seen; at once and not in the
    # background, or a graph would hold the provisional ones for ever
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    config.dynamic_shapes_kernel_specialization_strategy = (
        trt.DynamicShapesKernelSpecializationStrategy.EAGER
    )
    return config


_loggers: dict[str, Any] = {}


def logger(trt: Any) -> Any:
    """The one logger of a flavour (TensorRT takes only one per process); keeps the last errors."""
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
            """The newest error, told once."""
            text = f" ({self.errors[-1].strip().splitlines()[0]})" if self.errors else ""
            self.errors.clear()
            return text

    _loggers[trt.__name__] = Collecting()
    return _loggers[trt.__name__]
