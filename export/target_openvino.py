"""Engines of OpenVINO: the network as an ONNX model that ends in its heads, run on the CPU.

The engine is no compiled blob, which only the same version on the same processor could load, but
what OpenVINO's ONNX reader takes: one file with its metadata, that every tool here can look into.
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
    # bf16 is how OpenVINO executes the network, not what is in the file
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
        # as it will be opened: an engine for single pictures is executed a little otherwise
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
    """Refuse bf16 of a network that finds out itself where the pixels of its input lie.

    OpenVINO computes these places in bf16 too, whose 8 bits are no place in a picture. Of pictures
    of one size they are constants, which it works out in float32 before.

    Raises:
        UsageError: pictures of any size are resized inside.
    """
    if precision == "bf16" and description.pictures and description.pictures.size is None:
        raise UsageError(
            f"--precision bf16 does not go with {onnx_path}, which resizes pictures of any size "
            "inside, where bf16 has no room for their pixels' places; export it with "
            "--picture-size, or without --input uint8"
        )


def check_executed(precision: str, executed: Executed) -> None:
    """Refuse an engine that is executed in another precision than was asked for.

    Raises:
        CheckFailed: bf16 was asked for and no layer runs in it, or fp32 and one runs in less.
    """
    found = executed.precisions
    told = ", ".join(f"{number} {name}" for name, number in found.items())
    less = found.get("bf16", 0) + found.get("fp16", 0)
    if (precision == "bf16") != bool(less):
        raise CheckFailed(
            f"{precision} was asked for, but OpenVINO executes {told}; nothing was written"
        )
