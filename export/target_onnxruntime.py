"""Engines of ONNX Runtime: a model optimised offline, run on the CPU."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from ..artefacts.sidecar import Sidecar, engine_output
from ..errors import BadFile
from ..files import sha256_of
from ..requirements import require
from .precision import check_receipt, receipt_of_onnx
from .prepare import prepare

if TYPE_CHECKING:
    from .build_options import BuildOptions


def build(onnx_path: Path, output: Path, options: BuildOptions) -> Sidecar:
    """See :func:`ssd_small.export.build_engine.build_engine`."""
    ort = require("onnxruntime", "building an onnxruntime engine")
    started = time.perf_counter()
    prepared = prepare(onnx_path, options.precision, heads=options.heads, for_plugin=False)
    receipt = receipt_of_onnx(prepared.model)
    check_receipt(options.precision, receipt)
    with engine_output(output) as (temporary, write):
        _optimize(prepared.model, temporary, onnx_path)
        sidecar = Sidecar(
            target="onnxruntime",
            target_version=ort.__version__,
            precision=options.precision,
            description=prepared.description,
            onnx={"file": onnx_path.name, "sha256": sha256_of(onnx_path)},
            engine={
                "file": output.name,
                "sha256": sha256_of(temporary),
                "bytes": temporary.stat().st_size,
            },
            batch=options.batch,
            receipt=receipt,
            options=options.to_dict(),
            seconds=round(time.perf_counter() - started, 3),
            checks=prepared.checks,
        )
        write(sidecar)
    return sidecar


def _optimize(model: ModelProto, path: Path, source: Path) -> None:
    """Write the model with ONNX Runtime's portable optimisations applied."""
    ort = require("onnxruntime", "building an onnxruntime engine")
    settings = ort.SessionOptions()
    # "all" would add layouts that fit this machine's processor only; they come at load time
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(path)
    settings.log_severity_level = 3
    try:
        ort.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception types are not public
        reason = str(error).strip().splitlines()[0]
        # what it says of a file that it cannot open, and of one that it cannot write to the end
        if any(word in reason.lower() for word in ("optimized", "errno", "serialization failed")):
            raise OSError(errno.EIO, reason) from error
        raise BadFile(f"ONNX Runtime cannot build {source}: {reason}; export it again") from error
