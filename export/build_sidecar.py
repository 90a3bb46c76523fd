"""The sidecar of an engine that has just been built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artefacts.build_record import BatchRange, EngineFile, Receipt, SourceFile, name_from_path
from ..artefacts.sidecar import Sidecar
from ..files import sha256_of
from .prepare import Prepared

if TYPE_CHECKING:
    from ..artefacts.build_options import BuildOptions


def sidecar_from_build(
    onnx_path: Path,
    output: Path,
    written: Path,
    options: BuildOptions,
    prepared: Prepared,
    *,
    version: str,
    receipt: Receipt,
    seconds: float,
    **of_target: Any,
) -> Sidecar:
    """Make the sidecar of an engine.

    Args:
        onnx_path: ONNX file that it was built from.
        output: final path of the engine.
        written: present path of the engine.
        options: how it was built; the target must not be ``auto``.
        prepared: the model given to the target.
        version: version of the target's package.
        receipt: see :class:`Sidecar`, also for the target-specific fields in ``of_target``.
        seconds: duration of the build.
    """
    return Sidecar(
        target=options.target,
        target_version=version,
        precision=options.precision,
        description=prepared.description,
        onnx=SourceFile(name_from_path(onnx_path), sha256_of(onnx_path)),
        engine=EngineFile(name_from_path(output), sha256_of(written), written.stat().st_size),
        batch=BatchRange(**options.batch),
        receipt=receipt,
        options=options,
        seconds=round(seconds, 3),
        precision_check=prepared.precision_check,
        calibration=prepared.calibration,
        **of_target,
    )
