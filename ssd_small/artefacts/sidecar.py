"""The JSON file beside an engine: what it was built from, how, and for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import BadFile, quoted
from ..files import check_is_file, check_is_readable, read_bytes, sha256_of
from .build_options import BuildOptions
from .build_record import (
    BatchRange,
    EngineFile,
    PluginFile,
    PrecisionCheck,
    Receipt,
    SourceFile,
)
from .description import METADATA_KEY, Description
from .int8_options import Calibration
from .record import Fields, check_record, read_record, unknown_fields, with_unknown_fields

SIDECAR_FORMAT = 1
TARGETS = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
#: suffixes of engine files, in lower case; a file with a sidecar is an engine whatever its suffix
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")

#: as many links as Linux follows
_MOST_LINKS = 40

#: field that holds the sidecar of the engine being replaced
REPLACED = "replaces"
#: how many rebuilds of an engine are tolerated while it is being opened
_MOST_LOOKS = 100
_ENGINE = "an engine written by 'ssd-small build-engine'"
_ADVICE = "build the engine again with 'ssd-small build-engine'"


@dataclass(frozen=True)
class Sidecar:
    """The contents of an engine's sidecar.

    Attributes:
        target: ``onnxruntime``, ``openvino``, ``tensorrt`` or ``tensorrt-rtx``.
        target_version: version of that runtime.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        description: the network inside.
        onnx: the ONNX file it was built from.
        engine: the engine file.
        batch: smallest, optimal and largest batch.
        receipt: which precision was actually achieved.
        options: every build option.
        seconds: duration of the build.
        plugin: the plugin library, if one is needed.
        compute_capabilities: GPU architectures the engine was built for.
        precision_check: fp16 against fp32, measured on the CPU before the build; None for fp32.
        calibration: what int8 was calibrated on; None for other precisions, and if the network was
            quantised elsewhere.
        tool_version: version of this package that wrote it.
        unknown: fields of a newer minor format, kept for later readers of the file.
    """

    target: str
    target_version: str
    precision: str
    description: Description
    onnx: SourceFile
    engine: EngineFile
    batch: BatchRange
    receipt: Receipt
    options: BuildOptions
    seconds: float
    plugin: PluginFile | None = None
    compute_capabilities: tuple[str, ...] = ()
    precision_check: PrecisionCheck | None = None
    calibration: Calibration | None = None
    tool_version: str = __version__
    unknown: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, including unknown fields that were read."""
        check = self.precision_check
        own: dict[str, Any] = {
            "format": SIDECAR_FORMAT,
            "target": self.target,
            "target_version": self.target_version,
            "precision": self.precision,
            "description": self.description.to_dict(),
            "onnx": asdict(self.onnx),
            "engine": asdict(self.engine),
            "batch": asdict(self.batch),
            "receipt": self.receipt.to_dict(),
            "options": self.options.to_dict(),
            "seconds": self.seconds,
            "plugin": asdict(self.plugin) if self.plugin else None,
            "compute_capabilities": list(self.compute_capabilities),
            "checks": {"fp16_against_fp32": check.to_dict()} if check else {},
            "tool_version": self.tool_version,
        }
        if self.calibration is not None:
            own["calibration"] = self.calibration.to_dict()
        return with_unknown_fields(own, self.unknown)

    def _check(self) -> None:
        """Refuse a sidecar that contradicts itself, with ValueError."""
        for name in ("target", "precision"):
            own, asked = getattr(self, name), getattr(self.options, name)
            if own != asked:
                raise ValueError(f"{name}: got {own!r}, and {quoted(asked)} in its options")

    @classmethod
    def from_dict(cls, values: object, source: str | Path) -> Sidecar:
        """Rebuild from :meth:`to_dict`.

        Raises:
            BadFile: written in a newer format, or a field is missing or wrong.
        """
        known = check_record(values, "sidecar", SIDECAR_FORMAT, source, _ADVICE)
        try:
            fields = Fields(known)
            description = Description.from_dict(fields.mapping("description"), source)
            checks, check = fields.fields("checks"), "fp16_against_fp32"
            sidecar = cls(
                target=fields.text("target", TARGETS),
                target_version=fields.text("target_version"),
                precision=fields.text("precision", PRECISIONS),
                description=description,
                onnx=SourceFile.from_fields(fields.fields("onnx")),
                engine=EngineFile.from_fields(fields.fields("engine")),
                batch=BatchRange.from_fields(fields.fields("batch")),
                receipt=Receipt.from_fields(fields.fields("receipt")),
                options=BuildOptions.from_fields(fields.fields("options")),
                seconds=fields.number("seconds", 0),
                plugin=PluginFile.from_fields(fields.fields("plugin"))
                if "plugin" in fields
                else None,
                compute_capabilities=fields.texts("compute_capabilities"),
                precision_check=PrecisionCheck.from_fields(checks.fields(check))
                if check in checks
                else None,
                calibration=Calibration.from_fields(fields.fields("calibration"))
                if "calibration" in fields
                else None,
                tool_version=fields.text("tool_version"),
            )
            sidecar._check()
        except ValueError as error:
            raise BadFile(f"{source} is incomplete or damaged ({error}); {_ADVICE}") from error
        return replace(sidecar, unknown=unknown_fields(known, sidecar.to_dict()))


def sidecar_path(engine: str | Path) -> Path:
    """Path of the sidecar: ``x.engine.json`` for ``x.engine``."""
    engine = Path(engine)
    return engine.with_name(engine.name + ".json")


def find_sidecar(engine: str | Path) -> Path | None:
    """The sidecar beside an engine, or beside the file that the engine is a link to."""
    return next(iter(find_sidecars(engine)), None)


def find_sidecars(engine: str | Path) -> Iterator[Path]:
    """Sidecars beside an engine and each file that it links to; the first one takes precedence."""
    engine = Path(engine)
    for _ in range(_MOST_LINKS):
        path = sidecar_path(engine)
        if path.is_file():
            yield path
        if not engine.is_symlink():
            return
        engine = engine.parent / engine.readlink()


def records_from_sidecar(values: Any) -> list[Any]:
    """Records of the engine and, if present, of the engine that it replaces.

    A sidecar holds both from just before an engine is replaced until just after, so that it fits
    whichever of them is on disk, and a build that is killed in between damages neither.
    """
    if not isinstance(values, dict) or REPLACED not in values:
        return [values]
    return [{k: v for k, v in values.items() if k != REPLACED}, values[REPLACED]]


def record_of_engine(records: list[Any], engine: Path | bytes) -> Any | None:
    """The record that describes an engine, given as a file or as its content; None if none does.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(engine, bytes):
        own = {"bytes": len(engine), "sha256": sha256(engine).hexdigest()}
    else:
        own = {"bytes": engine.stat().st_size, "sha256": sha256_of(engine)}
    for record in records:
        told = record.get("engine") if isinstance(record, dict) else None
        if isinstance(told, dict) and own.items() <= told.items():
            return record
    return None


def read_sidecar_file(path: str | Path) -> Sidecar:
    """Read a sidecar by its own path, even without its engine.

    Raises:
        BadFile: absent, damaged, or of a newer format.
    """
    path = Path(path)
    records = records_from_sidecar(_values(path))
    record = None
    if len(records) > 1:
        with suppress(OSError):
            record = record_of_engine(records, path.with_suffix(""))
    return Sidecar.from_dict(records[0] if record is None else record, path)


def read_sidecar(engine: str | Path) -> Sidecar:
    """Read the sidecar of an engine and check that the two belong together.

    Raises:
        BadFile: the engine or the sidecar is absent, or they do not belong together.
    """
    sidecar, _ = _read_pair(Path(engine), keeps=False)
    return sidecar


def read_engine(engine: str | Path) -> tuple[Sidecar, bytes]:
    """Like :func:`read_sidecar`, with the engine's content exactly as it was checked.

    Raises:
        BadFile: as for :func:`read_sidecar`.
    """
    return _read_pair(Path(engine), keeps=True)


def _read_pair(engine: Path, *, keeps: bool) -> tuple[Sidecar, bytes]:
    """Sidecar and engine content, which is empty unless it is to be kept."""
    check_is_file(engine, _ENGINE)
    before: Any = None
    for _ in range(_MOST_LOOKS):
        path = find_sidecar(engine)
        if path is None:
            check_is_readable(engine, _ENGINE)
            raise BadFile(
                f"engine {engine} has no sidecar {sidecar_path(engine).name} beside it; keep the "
                "two files together, or build the engine again with 'ssd-small build-engine'"
            )
        # the sidecar first: it already describes an engine that takes its place afterwards
        values = _values(path)
        content = read_bytes(engine, _ENGINE) if keeps else b""
        records = records_from_sidecar(values)
        try:
            record = record_of_engine(records, content if keeps else engine)
        except OSError as error:
            raise BadFile(
                f"cannot read {engine}: {error.strerror or error}; expected {_ENGINE}"
            ) from error
        if record is not None:
            return Sidecar.from_dict(record, path), content
        Sidecar.from_dict(records[0], path)  # if it is damaged, report that
        if values == before:
            break
        before = values  # both may have been replaced between the two reads
    raise BadFile(
        f"engine {engine} is not the one its sidecar {sidecar_path(engine).name} describes (their "
        "size or SHA-256 differ); build the engine again"
    )


def _values(path: Path) -> Any:
    return read_record(path, "a sidecar written by 'ssd-small build-engine'")


def check_against_engine(sidecar: Sidecar, metadata: Mapping[str, str], path: Path) -> None:
    """Refuse a sidecar that describes another network than its engine does.

    Class names and preprocessing may be changed by hand; what is built into the engine may not.

    Args:
        sidecar: of the engine.
        metadata: of the ONNX model that an engine of ONNX Runtime or OpenVINO is.
        path: of the engine.

    Raises:
        BadFile: they differ.
    """
    if METADATA_KEY not in metadata:
        return
    own, told = Description.from_metadata(metadata, path), sidecar.description
    names = ["model", "num_classes", "width", "weights", "has_decode_nms", "levels", "clip"]
    if own.has_decode_nms:
        names.append("postprocess")
    if own.pictures is not None:
        names.append("preprocessing")
    differing = [name for name in names if getattr(own, name) != getattr(told, name)]
    if own.pictures != told.pictures:
        differing.append("input")
    if own.tiles != told.tiles:
        differing.append("grid of tiles")
    first, second = own.preprocessing, told.preprocessing
    if (first.height, first.width) != (second.height, second.width):
        differing.append("input size")
    if differing:
        raise BadFile(
            f"the sidecar of engine {path} tells of another {differing[0]} than the engine was "
            "built with; build it again"
        )
