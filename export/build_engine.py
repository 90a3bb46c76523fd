"""From ONNX to an engine of one of the targets, with its sidecar."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import MissingRequirement, UsageError
from ..sidecar import Sidecar

Target = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime"]
Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine.

    Attributes:
        target: runtime the engine is for.
        precision: fp32, or fp16 with L2Norm, decoding and scores in fp32.
        max_batch: largest batch the engine takes.
        heads: leave decode + NMS out, for the native library to do.
    """

    target: Target = "auto"
    precision: Precision = "fp32"
    max_batch: int = 8
    heads: bool = False

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise UsageError(f"max-batch {self.max_batch}: expected at least 1")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)


def resolve_target(target: Target) -> Target:
    """The target that ``auto`` stands for on this machine."""
    return "onnxruntime" if target == "auto" else target


def default_engine_path(onnx_path: Path, target: str, precision: str) -> Path:
    """``x.onnx`` to ``x.onnxruntime.fp32.engine``."""
    return onnx_path.with_name(f"{onnx_path.stem}.{target}.{precision}.engine")


def build_engine(onnx_path: Path, output: Path, options: BuildOptions) -> Sidecar:
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
    raise MissingRequirement(
        f"target {options.target}: engines of this target cannot be built by this version yet; "
        "use --target onnxruntime"
    )
