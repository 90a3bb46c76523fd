"""The JSON file beside an engine: what it was built from, how, and for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import BadFile
from ..files import atomic_output, json_bytes, read_json, sha256_of
from .description import Description

SIDECAR_FORMAT = 1


@dataclass(frozen=True)
class Sidecar:
    """What is known of an engine.

    Attributes:
        target: ``onnxruntime``, ``tensorrt`` or ``tensorrt-rtx``.
        target_version: version of that runtime.
        precision: ``fp32`` or ``fp16``.
        description: the network inside.
        onnx: name and SHA-256 of the ONNX file it was built from.
        engine: name, SHA-256 and size of the engine file.
        batch: smallest, optimal and largest batch.
        receipt: numbers of tensors per element type, read from what was built: the network or
            ONNX model, and the plan where it lists them.
        options: every build option.
        seconds: duration of the build.
        plugin: name and SHA-256 of the plugin library, where one is needed.
        compute_capabilities: GPU architectures the engine was built for.
        checks: what was measured on the CPU before the build (fp16 against fp32).
    """

    target: str
    target_version: str
    precision: str
    description: Description
    onnx: dict[str, Any]
    engine: dict[str, Any]
    batch: dict[str, int]
    receipt: dict[str, Any]
    options: dict[str, Any]
    seconds: float
    plugin: dict[str, Any] | None = None
    compute_capabilities: tuple[str, ...] = ()
    checks: dict[str, Any] = field(default_factory=dict)
    tool_version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        values = asdict(self)
        values["description"] = self.description.to_dict()
        values["compute_capabilities"] = list(self.compute_capabilities)
        return {"format": SIDECAR_FORMAT, **values}


def sidecar_path(engine: str | Path) -> Path:
    """``x.engine`` to ``x.engine.json``."""
    engine = Path(engine)
    return engine.with_name(engine.name + ".json")


@contextmanager
def engine_output(path: Path) -> Iterator[tuple[Path, Callable[[Sidecar], None]]]:
    """Write an engine and its sidecar together, or neither.

    Yields a temporary path for the engine and a function that takes its sidecar; both files take
    their places when the block ends well.

    Raises:
        OutputError: one of the two cannot be written; nothing is left behind and an older pair
            stays whole.
    """
    with atomic_output(path) as engine, atomic_output(sidecar_path(path)) as side:

        def take(sidecar: Sidecar) -> None:
            side.write_bytes(json_bytes(sidecar.to_dict()))

        yield engine, take


def read_sidecar(engine: str | Path) -> Sidecar:
    """Read the sidecar of an engine and check that the two belong together.

    Raises:
        BadFile: the engine or the sidecar is absent, or they do not belong together.
    """
    engine = Path(engine)
    if not engine.is_file():
        state = "is a folder" if engine.is_dir() else "does not exist"
        raise BadFile(
            f"engine {engine} {state}; expected a file written by 'ssd-small build-engine'"
        )
    path = sidecar_path(engine)
    if not path.is_file():
        raise BadFile(
            f"engine {engine} has no sidecar {path.name} beside it; keep the two files together, "
            "or build the engine again with 'ssd-small build-engine'"
        )
    values = read_json(path, "a sidecar written by 'ssd-small build-engine'")
    if not isinstance(values, dict) or values.get("format") != SIDECAR_FORMAT:
        raise BadFile(
            f"{path} is not a sidecar of format {SIDECAR_FORMAT}; build the engine again with "
            "'ssd-small build-engine'"
        )
    try:
        description = Description.from_dict(values.pop("description"), path)
        values.pop("format")
        values["compute_capabilities"] = tuple(values["compute_capabilities"])
        sidecar = Sidecar(description=description, **values)
        for name, is_whole in _parts(sidecar):
            if not is_whole:
                raise ValueError(f"{name}: {getattr(sidecar, name)!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(
            f"{path} is incomplete or damaged ({error}); build the engine again"
        ) from error
    if sha256_of(engine) != sidecar.engine["sha256"]:
        raise BadFile(
            f"engine {engine} is not the one its sidecar {path.name} describes (their SHA-256 "
            "differ); build the engine again"
        )
    return sidecar


def _parts(sidecar: Sidecar) -> Iterator[tuple[str, bool]]:
    """Fields that are read later, and whether each holds what is read."""
    number, batch = (int, float), sidecar.batch
    yield "target", sidecar.target in ("onnxruntime", "tensorrt", "tensorrt-rtx")
    yield "target_version", isinstance(sidecar.target_version, str)
    yield "precision", sidecar.precision in ("fp32", "fp16")
    yield "onnx", _holds(sidecar.onnx, file=str, sha256=str)
    yield "engine", _holds(sidecar.engine, file=str, sha256=str, bytes=int)
    yield (
        "batch",
        _holds(batch, min=int, opt=int, max=int)
        and 1 <= batch["min"] <= batch["opt"] <= batch["max"],
    )
    yield "receipt", _holds(sidecar.receipt, tensors=dict, half_share=number)
    yield "options", isinstance(sidecar.options, dict)
    yield "seconds", isinstance(sidecar.seconds, number)
    yield "plugin", sidecar.plugin is None or _holds(sidecar.plugin, sha256=str, version=str)
    yield (
        "compute_capabilities",
        all(isinstance(capability, str) for capability in sidecar.compute_capabilities),
    )
    yield "checks", isinstance(sidecar.checks, dict)


def _holds(values: Any, **kinds: type | tuple[type, ...]) -> bool:
    return isinstance(values, dict) and all(
        isinstance(values.get(name), kind) for name, kind in kinds.items()
    )
