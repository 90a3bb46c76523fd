"""From ONNX to an engine of one of the targets, with its sidecar."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..sidecar import Sidecar

Target = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime"]
Precision = Literal["fp32", "fp16"]

#: called with the phase of a build and the share of it that is done, 0 to 1
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine.

    All but the first four are for the TensorRT targets.

    Attributes:
        target: runtime the engine is for.
        precision: fp32, or fp16 with L2Norm, decoding and scores in fp32.
        max_batch: largest batch the engine takes.
        heads: leave decode + NMS out, for the native library to do.
        min_batch: smallest batch the engine takes.
        opt_batch: batch the engine is tuned for; None for the largest.
        compute_capabilities: GPU architectures such as ``"8.6"`` (tensorrt-rtx).
        optimization_level: effort of the builder, 0 to 5; None for its default.
        timing_cache: file with kernel timings, read and written (tensorrt).
        workspace: scratch memory the engine may use in MiB; None for the builder's default.
        version_compatible: let newer versions of TensorRT run the engine (tensorrt).
        tf32: allow 10-bit mantissas in fp32 convolutions.
        verbose: show the builder's log.
    """

    target: Target = "auto"
    precision: Precision = "fp32"
    max_batch: int = 8
    heads: bool = False
    min_batch: int = 1
    opt_batch: int | None = None
    compute_capabilities: tuple[str, ...] = ()
    optimization_level: int | None = None
    timing_cache: Path | None = None
    workspace: int | None = None
    version_compatible: bool = False
    tf32: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "compute_capabilities", tuple(self.compute_capabilities))
        if self.max_batch < 1:
            raise UsageError(f"max-batch {self.max_batch}: expected at least 1")
        if not 1 <= self.min_batch <= self.batch["opt"] <= self.max_batch:
            raise UsageError(
                f"batch range {self.min_batch}, {self.batch['opt']}, {self.max_batch}: expected "
                "1 <= min-batch <= opt-batch <= max-batch"
            )
        for capability in self.compute_capabilities:
            if not re.fullmatch(r"[1-9]\d*\.\d", capability):
                raise UsageError(f"compute capability {capability!r}: expected the form 8.6")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise UsageError(f"optimization-level {self.optimization_level}: expected 0 to 5")
        if self.workspace is not None and self.workspace < 1:
            raise UsageError(f"workspace {self.workspace} MiB: expected at least 1")
        self._check_target()

    def _check_target(self) -> None:
        if self.target == "onnxruntime":
            for name in _TENSORRT_ONLY:
                if getattr(self, name) not in (None, False, ()):
                    raise UsageError(
                        f"--{_option(name)} does not go with --target onnxruntime; "
                        "leave it out or name a TensorRT target"
                    )
        if self.target == "tensorrt" and self.compute_capabilities:
            raise UsageError(
                "--compute-capability does not go with --target tensorrt, whose engines are for "
                "the GPU they are built on; use --target tensorrt-rtx"
            )
        if self.target == "tensorrt-rtx" and self.timing_cache:
            raise UsageError(
                "--timing-cache does not go with --target tensorrt-rtx, which has none; leave it "
                "out"
            )
        if self.target == "tensorrt-rtx" and self.version_compatible:
            raise UsageError(
                "--version-compatible does not go with --target tensorrt-rtx, whose engines run "
                "on the release that built them only; leave it out"
            )

    @property
    def batch(self) -> dict[str, int]:
        """Smallest, optimal and largest batch."""
        optimum = self.max_batch if self.opt_batch is None else self.opt_batch
        return {"min": self.min_batch, "opt": optimum, "max": self.max_batch}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self) | {
            "compute_capabilities": list(self.compute_capabilities),
            "timing_cache": self.timing_cache.name if self.timing_cache else None,
        }


_TENSORRT_ONLY = (
    "compute_capabilities",
    "optimization_level",
    "timing_cache",
    "workspace",
    "version_compatible",
    "tf32",
)


def _option(name: str) -> str:
    return {"compute_capabilities": "compute-capability"}.get(name, name.replace("_", "-"))


def resolve_target(target: Target, compute_capabilities: Sequence[str] = ()) -> Target:
    """The target that ``auto`` stands for on this machine.

    With a GPU that is tensorrt (or tensorrt-rtx where only that is installed), else
    tensorrt-rtx if a compute capability is asked for, else onnxruntime.
    """
    if target != "auto":
        return target
    if compute_capabilities:
        return "tensorrt-rtx"
    from ..runtimes.gpu import gpus

    if not gpus().devices:
        return "onnxruntime"
    rtx_only = find_spec("tensorrt_rtx") is not None and find_spec("tensorrt") is None
    return "tensorrt-rtx" if rtx_only else "tensorrt"


def default_engine_path(onnx_path: Path, target: str, precision: str) -> Path:
    """``x.onnx`` to ``x.onnxruntime.fp32.engine``."""
    return onnx_path.with_name(f"{onnx_path.stem}.{target}.{precision}.engine")


def build_engine(
    onnx_path: Path, output: Path, options: BuildOptions, progress: Progress | None = None
) -> Sidecar:
    """Build an engine file and its sidecar.

    Raises:
        BadFile: the ONNX file is not of this tool.
        MissingRequirement: the target is not installed or cannot run here.
        CheckFailed: the engine is not in the precision asked for.
        OutputError: the engine cannot be written.
    """
    if options.target == "onnxruntime":
        from .target_onnxruntime import build

        return build(onnx_path, output, options)
    if options.target == "auto":
        raise UsageError("target auto: resolve_target() says what it stands for on this machine")
    from .target_tensorrt import build as build_tensorrt

    return build_tensorrt(onnx_path, output, options, progress or (lambda phase, share: None))
