"""How an engine was built: the parts of its sidecar, each with its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .quantised import Quantised
from .record import NO_LINE, Fields

_MOST = 1 << 62


def name_from_path(path: Path) -> str:
    """File name as a record holds it: one line, with ``?`` for characters that are not text."""
    return NO_LINE.sub("?", path.name)


@dataclass(frozen=True)
class SourceFile:
    """The ONNX file an engine was built from."""

    file: str
    sha256: str

    @classmethod
    def from_fields(cls, fields: Fields) -> SourceFile:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        return cls(fields.text("file"), fields.text("sha256"))


@dataclass(frozen=True)
class EngineFile:
    """The engine file itself; ``bytes`` is its size."""

    file: str
    sha256: str
    bytes: int

    @classmethod
    def from_fields(cls, fields: Fields) -> EngineFile:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        size = fields.integer("bytes", 0, _MOST)
        return cls(fields.text("file"), fields.text("sha256"), size)


@dataclass(frozen=True)
class PluginFile:
    """The plugin library an engine needs."""

    file: str
    sha256: str
    version: str

    @classmethod
    def from_fields(cls, fields: Fields) -> PluginFile:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        return cls(fields.text("file"), fields.text("sha256"), fields.text("version"))


@dataclass(frozen=True)
class BatchRange:
    """Smallest, optimal and largest batch of an engine."""

    min: int
    opt: int
    max: int

    @classmethod
    def from_fields(cls, fields: Fields) -> BatchRange:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        given = [fields.integer(name, 1, 1 << 30) for name in ("min", "opt", "max")]
        if given != sorted(given):
            raise ValueError(f"batch: got {given}, expected min <= opt <= max")
        return cls(*given)


@dataclass(frozen=True)
class Receipt:
    """Which precision was actually achieved, read from what was built.

    Attributes:
        tensors: number of tensors per element type, in the network or ONNX model.
        half_share: share of Half among its floating-point tensors.
        weight_elements: number of weights, in total or per type.
        plan_tensors: like ``tensors``, as listed by the plan; None if it does not list them.
        plan_bytes_per_weight: about 4 in fp32 and 2 in fp16; None without a plan.
        int8: which convolutions compute in INT8, if int8 was asked for.
        executed: number of layers per precision that the runtime executed on the machine that
            built the engine; None if it does not report this.
    """

    tensors: Mapping[str, int]
    half_share: float
    weight_elements: int | Mapping[str, int]
    plan_tensors: Mapping[str, int] | None = None
    plan_bytes_per_weight: float | None = None
    int8: Quantised | None = None
    executed: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; the fields about the plan only if there is one."""
        values = asdict(self)
        del values["int8"]
        if self.plan_tensors is None and self.plan_bytes_per_weight is None:
            del values["plan_tensors"], values["plan_bytes_per_weight"]
        if self.executed is None:
            del values["executed"]
        return values | (self.int8.to_dict() if self.int8 else {})

    @classmethod
    def from_fields(cls, fields: Fields) -> Receipt:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        per_type = fields.holds("weight_elements", dict)
        per_weight = "plan_bytes_per_weight"
        return cls(
            tensors=_counts(fields.fields("tensors")),
            half_share=fields.number("half_share", 0, 1),
            weight_elements=_counts(fields.fields("weight_elements"))
            if per_type
            else fields.integer("weight_elements", 0, _MOST),
            plan_tensors=_counts(fields.fields("plan_tensors"))
            if "plan_tensors" in fields
            else None,
            plan_bytes_per_weight=fields.number(per_weight, 0) if per_weight in fields else None,
            int8=Quantised.from_fields(fields) if "quantised" in fields else None,
            executed=_counts(fields.fields("executed")) if "executed" in fields else None,
        )


@dataclass(frozen=True)
class HeadError:
    """How much one output changes between precisions; ``max_value`` is its largest in fp32."""

    max_error: float
    mean_error: float
    max_value: float

    @classmethod
    def from_fields(cls, fields: Fields) -> HeadError:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        return cls(*(fields.number(n, 0) for n in ("max_error", "mean_error", "max_value")))


@dataclass(frozen=True)
class FlippedDetections:
    """Detections of the fp32 network, and how many were found in only one of the two precisions.

    ``unexplained`` counts those that the difference between the heads does not explain; None in
    files written before this was counted.
    """

    fp32: int
    flipped: int
    unexplained: int | None = None

    @classmethod
    def from_fields(cls, fields: Fields) -> FlippedDetections:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        name = "unexplained"
        return cls(
            fields.integer("fp32", 0, _MOST),
            fields.integer("flipped", 0, _MOST),
            fields.integer(name, 0, _MOST) if name in fields else None,
        )


@dataclass(frozen=True)
class PrecisionCheck:
    """fp16 compared with fp32, measured on the CPU before the build.

    Attributes:
        pictures: number of pictures.
        loc, conf: differences between the heads.
        detections: differences between the detections.
        kept_fp32: names of nodes left in single precision, to avoid overflow or on request.
        images: ``synthetic``, or ``given`` for the user's.
        verdict: ``equal`` if the difference between the heads explains every detection found in
            only one precision, else ``different``; None in files from before there was a verdict.
    """

    pictures: int
    loc: HeadError
    conf: HeadError
    detections: FlippedDetections
    kept_fp32: tuple[str, ...] = ()
    images: str = "synthetic"
    verdict: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, without the fields that older files lack."""
        values = asdict(self) | {"kept_fp32": list(self.kept_fp32)}
        if self.verdict is None:
            del values["images"], values["verdict"]
        return values

    @classmethod
    def from_fields(cls, fields: Fields) -> PrecisionCheck:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        return cls(
            fields.integer("pictures", 0, _MOST),
            HeadError.from_fields(fields.fields("loc")),
            HeadError.from_fields(fields.fields("conf")),
            FlippedDetections.from_fields(fields.fields("detections")),
            fields.texts("kept_fp32"),
            fields.text("images", ("synthetic", "given")) if "images" in fields else "synthetic",
            fields.text("verdict", ("equal", "different")) if "verdict" in fields else None,
        )


def _counts(fields: Fields) -> dict[str, int]:
    return {name: fields.integer(name, 0, _MOST) for name in fields.names()}
