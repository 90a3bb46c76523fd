"""Engines for ONNX Runtime: a model optimised offline, run on the CPU."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from ..artefacts.engine_output import engine_output
from ..artefacts.sidecar import Sidecar
from ..errors import BadFile
from ..requirements import require
from ..runtimes.onnxruntime import (
    OnnxRuntimeRuntime,
    advice_from_reason,
    is_text,
    reason_from_error,
)
from ..runtimes.onnxruntime_profile import executed_by_onnxruntime
from ..system.temporary import temporary_folder
from .build_sidecar import sidecar_from_build
from .int8_target import int8_build
from .precision import check_receipt, receipt_of_onnx
from .prepare import prepare

if TYPE_CHECKING:
    from ..artefacts.build_options import BuildOptions, BuildProgress
    from ..artefacts.description import Description


def build(
    onnx_path: Path,
    output: Path,
    options: BuildOptions,
    progress: BuildProgress,
    description: Description | None = None,
) -> Sidecar:
    """See :func:`ssd_small.export.build_engine.build_engine`."""
    ort = require("onnxruntime", "building an onnxruntime engine")
    started = time.perf_counter()
    prepared = prepare(
        onnx_path,
        options.precision,
        heads=options.heads,
        for_plugin=False,
        description=description,
        keep_fp=options.keep_fp,
        check_images=options.check_images,
        int8=int8_build(options, progress),
    )
    receipt = replace(receipt_of_onnx(prepared.model), int8=prepared.quantised)
    check_receipt(options.precision, receipt)
    with engine_output(output) as (temporary, write):
        _optimize(prepared.model, temporary, onnx_path, fused=options.precision != "int8")
        OnnxRuntimeRuntime.from_built(temporary, prepared.description, onnx_path).try_once()
        if options.precision != "fp32":
            built = f"what it has built of {onnx_path}"
            content = temporary.read_bytes()
            executed = executed_by_onnxruntime(content, prepared.description, built)
            receipt = replace(receipt, executed=executed.precisions)
        sidecar = sidecar_from_build(
            onnx_path,
            output,
            temporary,
            options,
            prepared,
            version=ort.__version__,
            receipt=receipt,
            seconds=time.perf_counter() - started,
        )
        write(sidecar)
    return sidecar


def _optimize(model: ModelProto, path: Path, source: Path, *, fused: bool) -> None:
    """Write the model with ONNX Runtime's portable optimisations, or only functions inlined."""
    if is_text(path):
        _write_optimized(model, path, source, fused=fused)
        return
    with temporary_folder() as folder:
        written = folder / "optimized"
        _write_optimized(model, written, source, fused=fused)
        path.write_bytes(written.read_bytes())


def _write_optimized(model: ModelProto, path: Path, source: Path, *, fused: bool) -> None:
    ort = require("onnxruntime", "building an onnxruntime engine")
    settings = ort.SessionOptions()
    # "all" would add layouts for this machine's processor only; they are applied at load time.
    # An int8 network keeps its Q/DQ, which are counted and compared; they are fused at load time
    levels = ort.GraphOptimizationLevel
    settings.graph_optimization_level = (
        levels.ORT_ENABLE_EXTENDED if fused else levels.ORT_DISABLE_ALL
    )
    settings.optimized_model_filepath = str(path)
    settings.log_severity_level = 4  # the exception reports failures
    content = model.SerializeToString()
    try:
        ort.InferenceSession(content, settings, ["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception types are not public
        reason = reason_from_error(error)
        # its messages about a file that it cannot open or cannot write completely
        if any(word in reason.lower() for word in ("optimized", "errno", "serialization failed")):
            raise _write_fault(path, len(content), reason) from error
        raise BadFile(
            f"ONNX Runtime {ort.__version__} cannot build {source}: {reason}; "
            + advice_from_reason(reason, "export it again")
        ) from error


def _write_fault(path: Path, size: int, reason: str) -> OSError:
    """Find out, by writing ``size`` bytes, why ONNX Runtime could not write a file.

    ``reason`` is ONNX Runtime's own message, used if this succeeds.
    """
    try:
        with path.open("ab") as file:
            file.write(bytes(size))
    except OSError as error:
        return OSError(error.errno, error.strerror, str(path))
    return OSError(errno.EIO, reason, str(path))
