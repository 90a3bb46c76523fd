"""Writing an operating point into the sidecar of an engine, or into a checkpoint.

This is the only place where a file that is read is also changed: atomically, by one process at a
time, and only if it is still the file that was evaluated. Engines and the tensors of checkpoints
stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import BadFile, UsageError
from ..files import atomic_output, check_writable, open_file, sha256_of, write_bytes
from ..json_files import json_bytes
from ..models.shipped import find_shipped
from ..requirements import require
from .checkpoint import CheckpointRecord
from .description import Description
from .engine_output import sidecars_written, sole_builder
from .network import open_checkpoint
from .operating_point import OperatingPoint
from .record import read_record
from .sidecar import Sidecar, find_sidecar, read_sidecar, record_of_engine, records_from_sidecar


@dataclass(frozen=True)
class PointTarget:
    """A file into which an operating point will be written.

    Attributes:
        path: the engine or checkpoint.
        is_engine: whether it is an engine, in which case its sidecar is changed.
        sha256: hash of the file, hexadecimal.
    """

    path: Path
    is_engine: bool
    sha256: str

    def write(self, point: OperatingPoint, description: Description) -> None:
        """Write the point; ``description`` is added to a checkpoint that has no record yet.

        Raises:
            BadFile: the file has changed since it was examined.
            LockHeld: another process is at work on it.
            OutputError: it cannot be written; it stays as it was.
        """
        with sole_builder(self.path):
            if sha256_of(self.path) != self.sha256:
                raise BadFile(
                    f"{self.path} was replaced while it was evaluated; its operating point was not "
                    "saved: evaluate it again"
                )
            if self.is_engine:
                _write_sidecars(self.path, point)
            else:
                _write_checkpoint(self, point, description)


def target_from_engine(engine: Path) -> PointTarget:
    """An engine into whose sidecar an operating point can be written.

    Raises:
        UsageError: it has no sidecar, for instance because it is an ONNX file.
        BadFile: see :func:`.sidecar.read_sidecar`.
        OutputError: the sidecar cannot be written.
    """
    if find_sidecar(engine) is None:
        raise UsageError(
            f"--save-operating-point writes into the sidecar of an engine, and {engine} has none; "
            "build an engine of it with 'ssd-small build-engine'"
        )
    sidecar = read_sidecar(engine)
    for side in sidecars_written(engine, "--engine"):
        check_writable(side, "--engine")
    return PointTarget(engine, True, sidecar.engine.sha256)


def target_from_checkpoint(weights: Path) -> PointTarget:
    """A checkpoint into which an operating point can be written.

    Raises:
        UsageError: it is shipped with the package, or holds more than tensors and a record.
        BadFile: it cannot be read.
        OutputError: it cannot be written.
    """
    if (shipped := find_shipped(weights)) is not None:
        raise UsageError(
            f"--save-operating-point would change {shipped.name}, which belongs to the package; "
            "pass a copy of its file, or an engine"
        )
    digest = sha256_of(weights)
    _parts(weights)
    check_writable(weights, "--weights")
    return PointTarget(weights, False, digest)


def _write_sidecars(engine: Path, point: OperatingPoint) -> None:
    """Write all sidecars that describe an engine; the caller holds the engine's lock."""
    for side in sidecars_written(engine):
        record = record_of_engine(records_from_sidecar(read_record(side, "a sidecar")), engine)
        if record is None:
            continue  # a sidecar beside a link, of another engine
        own = Sidecar.from_dict(record, side)
        changed = replace(own, description=replace(own.description, operating_point=point))
        write_bytes(side, json_bytes(changed.to_dict()))


def _write_checkpoint(target: PointTarget, point: OperatingPoint, description: Description) -> None:
    opened = open_checkpoint(target.path)
    record = opened.record or CheckpointRecord(
        replace(description, has_decode_nms=False), origin=f"sha256:{target.sha256}"
    )
    record = replace(
        record,
        description=replace(record.description, operating_point=point),
        origin=opened.weights_hash,
    )
    from ..models.checkpoint import RECORD_KEY, save_tensors

    content = {"state_dict": _parts(target.path), RECORD_KEY: record.to_dict()}
    with atomic_output(target.path) as temporary:
        save_tensors(content, temporary)
        open_checkpoint(temporary)


def _parts(path: Path) -> Mapping[str, Any]:
    """The tensors of a checkpoint as the file stores them; UsageError if it holds anything else."""
    torch = require("torch", f"reading {path}")
    from ..models.checkpoint import RECORD_KEY
    from ..models.checkpoint_file import content_from_file
    from ..models.file_kinds import HEAD, is_safetensors

    content = content_from_file(path)
    with open_file(path) as stream:
        takes_no_record = is_safetensors(stream.read(HEAD))
    if isinstance(content, Mapping) and content.keys() == {"state_dict", RECORD_KEY}:
        content = content["state_dict"]
    plain = isinstance(content, Mapping) and all(
        isinstance(value, torch.Tensor) for value in content.values()
    )
    if not plain or takes_no_record:
        raise UsageError(
            f"--save-operating-point takes a checkpoint of 'ssd-small train' or a state dict, and "
            f"{path} is another trainer's or a safetensors file; build an engine and evaluate that"
        )
    return content  # type: ignore[return-value]
