"""Engines for OpenVINO: the network as an ONNX model that ends in its heads, run on the CPU.

The engine is not a compiled blob, which only the same version on the same processor could load, but
an ONNX file with metadata, which OpenVINO reads and every tool here can inspect.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..artefacts.engine_output import engine_output
from ..artefacts.sidecar import Sidecar
from ..errors import CheckFailed, UsageError
from ..runtimes.executed import Executed
from ..runtimes.openvino import OpenVinoRuntime, check_precision, openvino_version
from .build_sidecar import sidecar_from_build
from .int8_target import int8_build
from .precision import check_receipt, receipt_of_onnx
from .prepare import prepare

if TYPE_CHECKING:
    from ..artefacts.build_options import BuildOptions, BuildProgress, Precision
    from ..artefacts.description import Description


def build(
    onnx_path: Path,
    output: Path,
    options: BuildOptions,
    progress: BuildProgress,
    description: Description | None = None,
) -> Sidecar:
    """See :func:`ssd_small.export.build_engine.build_engine`."""
    version = openvino_version()
    started = time.perf_counter()
    check_precision(options.precision, f"--precision {options.precision}")
    # bf16 is how OpenVINO executes the network; the file is in fp32
    held: Precision = "int8" if options.precision == "int8" else "fp32"
    prepared = prepare(
        onnx_path,
        held,
        heads=True,
        for_plugin=False,
        description=description,
        keep_fp=options.keep_fp,
        int8=int8_build(options, progress),
    )
    _check_pictures(options.precision, prepared.description, onnx_path)
    receipt = replace(receipt_of_onnx(prepared.model), int8=prepared.quantised)
    check_receipt(options.precision, receipt)
    content = prepared.model.SerializeToString()
    executed = OpenVinoRuntime(
        content,
        prepared.description,
        precision=options.precision,
        # as it will be opened: an engine for single pictures is executed slightly differently
        max_batch=options.max_batch,
        source=f"what is built of {onnx_path}",
        teller="its metadata describe",
        advice="export it again",
    ).try_once()
    check_executed(options.precision, executed)
    with engine_output(output) as (temporary, write):
        temporary.write_bytes(content)
        sidecar = sidecar_from_build(
            onnx_path,
            output,
            temporary,
            options,
            prepared,
            version=version,
            receipt=replace(receipt, executed=executed.precisions),
            seconds=time.perf_counter() - started,
        )
        write(sidecar)
    return sidecar


def _check_pictures(precision: str, description: Description, onnx_path: Path) -> None:
    """Refuse bf16 for a network that computes pixel positions in pictures of any size.

    OpenVINO computes these positions in bf16 too, whose 8 bits are too few for them. For pictures
    of one size they are constants, which it computes in float32 beforehand.

    Raises:
        UsageError: the network resizes pictures of any size.
    """
    if precision == "bf16" and description.pictures and description.pictures.size is None:
        raise UsageError(
            f"--precision bf16 does not go with {onnx_path}, which resizes pictures of any size "
            "inside, where bf16 has no room for their pixels' places; export it with "
            "--picture-size, or without --input uint8"
        )


def check_executed(precision: str, executed: Executed) -> None:
    """Refuse an engine that is executed in a precision other than the requested one.

    Raises:
        CheckFailed: bf16 was requested and no layer runs in half precision, or another precision
            and one does.
    """
    found = executed.precisions
    told = ", ".join(f"{number} {name}" for name, number in found.items())
    less = found.get("bf16", 0) + found.get("fp16", 0)
    if (precision == "bf16") != bool(less):
        raise CheckFailed(
            f"{precision} was asked for, but OpenVINO executes {told}; nothing was written"
        )
