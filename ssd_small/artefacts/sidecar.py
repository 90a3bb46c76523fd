"""The JSON file beside an engine: what it was built from, how, and for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import BadFile, quoted
from ..files import atomic_output, behind_links, check_is_file, json_bytes, sha256_of
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
from .record import Fields, check_record, read_record, unknown_fields, with_unknown_fields

SIDECAR_FORMAT = 1
TARGETS = ("onnxruntime", "tensorrt", "tensorrt-rtx")
PRECISIONS = ("fp32", "fp16")
#: what engines are called, in small letters; a sidecar makes any file one
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")

#: as many as Linux follows
_MOST_LINKS = 40

_ADVICE = "build the engine again with 'ssd-small build-engine'"


@dataclass(frozen=True)
class Sidecar:
    """What is known of an engine.

    Attributes:
        target: ``onnxruntime``, ``tensorrt`` or ``tensorrt-rtx``.
        target_version: version of that runtime.
        precision: ``fp32`` or ``fp16``.
        description: the network inside.
        onnx: the ONNX file it was built from.
        engine: the engine file.
        batch: smallest, optimal and largest batch.
        receipt: what became of the precision asked for.
        options: every build option.
        seconds: duration of the build.
        plugin: the plugin library, where one is needed.
        compute_capabilities: GPU architectures the engine was built for.
        precision_check: fp16 against fp32, measured on the CPU before the build; None for fp32.
        tool_version: version of this package that wrote it.
        unknown: fields of a newer minor format, kept for whoever reads the file next.
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
    tool_version: str = __version__
    unknown: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; unknown fields that were read are written again."""
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
        return with_unknown_fields(own, self.unknown)

    def _check(self) -> None:
        """Refuse what contradicts itself, with ValueError."""
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
                tool_version=fields.text("tool_version"),
            )
            sidecar._check()
        except ValueError as error:
            raise BadFile(f"{source} is incomplete or damaged ({error}); {_ADVICE}") from error
        return replace(sidecar, unknown=unknown_fields(known, sidecar.to_dict()))


def sidecar_path(engine: str | Path) -> Path:
    """``x.engine`` to ``x.engine.json``."""
    engine = Path(engine)
    return engine.with_name(engine.name + ".json")


def find_sidecar(engine: str | Path) -> Path | None:
    """The sidecar beside an engine, or beside the file that the engine is a link to."""
    engine = Path(engine)
    for _ in range(_MOST_LINKS):
        path = sidecar_path(engine)
        if path.is_file():
            return path
        if not engine.is_symlink():
            break
        engine = engine.parent / engine.readlink()
    return None


@contextmanager
def engine_output(path: Path) -> Iterator[tuple[Path, Callable[[Sidecar], None]]]:
    """Write an engine and its sidecar together, or neither.

    Yields a temporary path for the engine and a function that takes its sidecar; both files take
    their places when the block ends well.

    Raises:
        OutputError: one of the two cannot be written; nothing is left behind and an older pair
            stays whole.
    """
    # through a link the two belong to the file that it leads to, unless one lies beside the link
    side_path = find_sidecar(path) or sidecar_path(behind_links(path))
    with atomic_output(path) as engine, atomic_output(side_path) as side:

        def take(sidecar: Sidecar) -> None:
            side.write_bytes(json_bytes(sidecar.to_dict()))

        yield engine, take


def read_sidecar_file(path: str | Path) -> Sidecar:
    """Read a sidecar by its own path, whatever lies beside it.

    Raises:
        BadFile: absent, damaged, or of a newer format.
    """
    values = read_record(Path(path), "a sidecar written by 'ssd-small build-engine'")
    return Sidecar.from_dict(values, path)


def read_sidecar(engine: str | Path) -> Sidecar:
    """Read the sidecar of an engine and check that the two belong together.

    Raises:
        BadFile: the engine or the sidecar is absent, or they do not belong together.
    """
    engine = Path(engine)
    check_is_file(engine, "an engine written by 'ssd-small build-engine'")
    path = find_sidecar(engine)
    if path is None:
        raise BadFile(
            f"engine {engine} has no sidecar {sidecar_path(engine).name} beside it; keep the two "
            "files together, or build the engine again with 'ssd-small build-engine'"
        )
    sidecar = read_sidecar_file(path)
    own, told = (engine.stat().st_size, sha256_of(engine)), sidecar.engine
    if own != (told.bytes, told.sha256):
        raise BadFile(
            f"engine {engine} is not the one its sidecar {path.name} describes (their size or "
            "SHA-256 differ); build the engine again"
        )
    return sidecar


def check_against_engine(sidecar: Sidecar, metadata: Mapping[str, str], path: Path) -> None:
    """Refuse a sidecar that tells of another network than its engine does.

    Class names and the making of the input may be changed by hand; what is built in may not.

    Args:
        sidecar: of the engine.
        metadata: of the ONNX model that an engine of ONNX Runtime is.
        path: of the engine.

    Raises:
        BadFile: they differ.
    """
    if METADATA_KEY not in metadata:
        return
    own, told = Description.from_metadata(metadata, path), sidecar.description
    names = ["model", "num_classes", "width", "weights", "has_decode_nms", "levels", "clip"]
    names.append("pictures")
    if own.has_decode_nms:
        names.append("postprocess")
    if own.pictures is not None:
        names.append("preprocessing")
    differing = [name for name in names if getattr(own, name) != getattr(told, name)]
    first, second = own.preprocessing, told.preprocessing
    if (first.height, first.width) != (second.height, second.width):
        differing.append("input size")
    if differing:
        raise BadFile(
            f"the sidecar of engine {path} tells of another {differing[0]} than the engine was "
            "built with; build it again"
        )
