"""From ONNX to an engine for one of the targets, with its sidecar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ..artefacts.build_options import BuildOptions, BuildProgress, Target
from ..artefacts.description import Description
from ..artefacts.engine_output import sidecars_written, sole_builder
from ..artefacts.outputs import check_outputs
from ..artefacts.sidecar import Sidecar
from ..errors import UsageError
from ..files import check_writable
from ..pictures.listing import list_images
from ..requirements import require


def resolve_target(target: Target, compute_capabilities: Sequence[str] = ()) -> Target:
    """Return the target that ``auto`` stands for on this machine.

    With a GPU it is tensorrt (or tensorrt-rtx if only that is installed); without one it is
    tensorrt-rtx if a compute capability is requested, else onnxruntime.

    Raises:
        UsageError: a compute capability is requested although auto stands for tensorrt, which
            builds only for this machine's GPU.
    """
    if target != "auto":
        return target
    from ..system.gpu import gpus

    if not gpus().devices:
        return "tensorrt-rtx" if compute_capabilities else "onnxruntime"
    if find_spec("tensorrt_rtx") is not None and find_spec("tensorrt") is None:
        return "tensorrt-rtx"
    if compute_capabilities:
        raise UsageError(
            f"--compute-capability {' '.join(compute_capabilities)}: with this machine's GPU, "
            "--target auto is tensorrt, whose engines are for that GPU only; add --target "
            "tensorrt-rtx, or leave --compute-capability out"
        )
    return "tensorrt"


def default_engine_path(onnx_path: str | Path, target: str, precision: str) -> Path:
    """Turn ``x.onnx`` into ``x.onnxruntime.fp32.engine``."""
    onnx_path = Path(onnx_path)
    return onnx_path.with_name(f"{onnx_path.stem}.{target}.{precision}.engine")


def check_built_files(output: Path, options: BuildOptions, inputs: Iterable[Path | None]) -> None:
    """Check that engine, sidecar and kernel timings can be written and overwrite no input.

    Raises:
        UsageError, OutputError: see :func:`~ssd_small.artefacts.outputs.check_outputs`.
        BadFile: a folder of pictures holds no pictures.
    """
    timings = [options.timing_cache] if options.timing_cache else []
    for path in timings:
        check_writable(path, "--timing-cache")
    if options.check_images is not None:
        inputs = [*inputs, *list_images(options.check_images).files]
    if options.int8 is not None:
        given = [*list_images(options.int8.calibration).files, options.int8.annotations]
        inputs = [*inputs, *given]
    check_outputs([output, *sidecars_written(output), *timings], inputs)


def build_engine(
    onnx_path: str | Path,
    output: str | Path,
    options: BuildOptions,
    progress: BuildProgress | None = None,
    description: Description | None = None,
) -> Sidecar:
    """Build an engine file and its sidecar.

    Args:
        onnx_path: file written by ``ssd-small export``, and perhaps rewritten by other tools.
        output: engine file.
        options: how to build it.
        progress: called as the work proceeds.
        description: the network's description, if another tool has dropped the file's own.

    Raises:
        UsageError: the output would overwrite the ONNX file, or the file lacks a node that is to
            be kept in fp32.
        BadFile: the ONNX file was not written by this tool.
        MissingRequirement: the target is not installed or cannot run on this machine.
        CheckFailed: the engine does not have the requested precision.
        OutputError: the engine or its sidecar cannot be written, or another process is building
            it; checked before the long work.
    """
    onnx_path, output = Path(onnx_path), Path(output)
    require("onnx", "building an engine")
    from ..artefacts.onnx_weights import weights_beside

    check_built_files(output, options, [onnx_path, *weights_beside(onnx_path)])
    if options.target == "auto":
        raise UsageError("target auto: resolve_target() says what it stands for on this machine")
    with sole_builder(output):
        told = progress or (lambda phase, share: None)
        if options.target == "onnxruntime":
            from .target_onnxruntime import build

            return build(onnx_path, output, options, told, description)
        if options.target == "openvino":
            from .target_openvino import build as build_openvino

            return build_openvino(onnx_path, output, options, told, description)
        from .target_tensorrt import build as build_tensorrt

        return build_tensorrt(onnx_path, output, options, told, description)
