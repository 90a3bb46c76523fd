"""Options for building an engine, and which of them can be combined."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError, quoted
from .build_record import name_from_path
from .int8_options import Int8Options
from .record import Fields

Target = Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

#: targets whose engines are ONNX models that run on the CPU
ONNX_TARGETS = ("onnxruntime", "openvino")


def most_batch(height: int, width: int) -> int:
    """Largest batch for pictures of this size: TensorRT inputs hold < 2^31 elements (NvInfer.h)."""
    return (2**31 - 1) // (3 * height * width)


#: largest batch for the published networks' input; larger inputs are checked when they are built
MOST_BATCH = most_batch(300, 300)

#: default height and width of pictures: those an engine is tuned for, and the largest it takes
OPT_PICTURE, MAX_PICTURE = (1080, 1920), (2160, 3840)

#: the builder's highest optimization level
MOST_OPTIMIZATION_LEVEL = 5

#: MiB; in bytes this must fit the signed 64-bit integer of the builder's interface
MOST_WORKSPACE = (1 << 43) - 1

#: called with the phase of a build and the fraction of it that is done, 0 to 1
BuildProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine.

    ``opt_picture``, ``max_picture`` and ``compute_capabilities`` to ``tf32`` are for TensorRT only.

    Attributes:
        target: runtime the engine is for.
        precision: fp32, fp16 (L2Norm, decoding and scores stay in fp32), bf16 (openvino only), or
            int8 convolutions.
        max_batch: largest batch the engine takes, at most ``MOST_BATCH``.
        heads: leave decode + NMS to the native library; always true with openvino.
        keep_fp: names of ONNX nodes that stay in fp32 when the rest has a lower precision.
        check_images: folder of pictures on which fp16 is checked; None for synthetic ones.
        min_batch: smallest batch the engine takes.
        opt_batch: batch the engine is tuned for; None for the largest.
        opt_picture, max_picture: for engines that take pictures as they are, the height and width
            they are tuned for, and the largest; None for ``OPT_PICTURE`` and ``MAX_PICTURE``.
        int8: what int8 is calibrated on; None for other precisions and for networks that are
            already quantised.
        compute_capabilities: GPU architectures such as ``"8.6"`` (tensorrt-rtx).
        optimization_level: effort of the builder, 0 to ``MOST_OPTIMIZATION_LEVEL``; None for its
            default.
        timing_cache: file with kernel timings, read and written (tensorrt).
        workspace: scratch memory the engine may use in MiB; None for the builder's default.
        version_compatible: let newer versions of TensorRT run the engine (tensorrt).
        tf32: allow 10-bit mantissas in fp32 convolutions.
        verbose: show the builder's log.
    """

    target: Target = "auto"
    precision: Precision = "fp32"
    max_batch: int = 8
    heads: bool = False
    keep_fp: tuple[str, ...] = ()
    check_images: Path | None = None
    min_batch: int = 1
    opt_batch: int | None = None
    compute_capabilities: tuple[str, ...] = ()
    optimization_level: int | None = None
    timing_cache: Path | None = None
    workspace: int | None = None
    version_compatible: bool = False
    tf32: bool = False
    verbose: bool = False
    opt_picture: tuple[int, int] | None = None
    max_picture: tuple[int, int] | None = None
    int8: Int8Options | None = None

    def __post_init__(self) -> None:
        # without duplicates, in the order given
        capabilities = tuple(dict.fromkeys(self.compute_capabilities))
        object.__setattr__(self, "compute_capabilities", capabilities)
        object.__setattr__(self, "keep_fp", tuple(dict.fromkeys(self.keep_fp)))
        if self.target == "openvino":
            object.__setattr__(self, "heads", True)
        if self.check_images is not None:
            object.__setattr__(self, "check_images", Path(self.check_images))
        if self.timing_cache is not None:
            object.__setattr__(self, "timing_cache", Path(self.timing_cache))
        if not 1 <= self.max_batch <= MOST_BATCH:
            raise UsageError(f"max-batch {self.max_batch}: expected 1 to {MOST_BATCH}")
        if not 1 <= self.min_batch <= self.batch["opt"] <= self.max_batch:
            raise UsageError(
                f"batch range {self.min_batch}, {self.batch['opt']}, {self.max_batch}: expected "
                "1 <= min-batch <= opt-batch <= max-batch"
            )
        self._check_pictures()
        for capability in self.compute_capabilities:
            if not re.fullmatch(r"[1-9]\d*\.\d", capability):
                raise UsageError(f"compute capability {quoted(capability)}: expected the form 8.6")
        level = self.optimization_level
        if level is not None and not 0 <= level <= MOST_OPTIMIZATION_LEVEL:
            raise UsageError(f"optimization-level {level}: expected 0 to {MOST_OPTIMIZATION_LEVEL}")
        if self.workspace is not None and not 1 <= self.workspace <= MOST_WORKSPACE:
            raise UsageError(f"workspace {self.workspace} MiB: expected 1 to {MOST_WORKSPACE}")
        self._check_precision()
        self._check_target()

    def _check_precision(self) -> None:
        if self.int8 is not None and self.precision != "int8":
            raise UsageError(
                f"--calibration goes with --precision int8, not with {self.precision}; leave it out"
            )
        if self.precision == "int8" and self.check_images is not None:
            raise UsageError(
                "--check-images does not go with --precision int8; leave it out, or compare the "
                "engine by 'ssd-small parity'"
            )
        if self.precision == "bf16" and self.target != "openvino":
            raise UsageError(
                f"--precision bf16 does not go with --target {self.target}; add --target openvino, "
                "or name another precision"
            )
        if self.precision == "fp16" and self.target == "openvino":
            raise UsageError(
                "--precision fp16 does not go with --target openvino, which executes bf16 in its "
                "place or is slower than in fp32; use fp32, or bf16 where the processor has it"
            )
        for name in _HALF_ONLY:
            if self.precision in ("fp32", "bf16") and getattr(self, name):
                why = "where nothing is rounded to less" if self.precision == "fp32" else ""
                raise UsageError(
                    f"--{_option(name)} does not go with --precision {self.precision}"
                    f"{', ' * bool(why)}{why}; leave it out, or add --precision fp16"
                )

    @property
    def pictures(self) -> dict[str, tuple[int, int]]:
        """Smallest, optimal and largest (height, width) of an engine's pictures."""
        largest = self.max_picture or MAX_PICTURE
        usual = tuple(map(min, OPT_PICTURE, largest))
        return {"min": (1, 1), "opt": self.opt_picture or (usual[0], usual[1]), "max": largest}

    def _check_pictures(self) -> None:
        from ..pictures.preprocessing import (
            MOST_INPUT_PIXELS,
            is_too_large,
        )  # imported here, since it needs numpy

        height, width = self.pictures["opt"]
        most = self.pictures["max"]
        if min(most) < 1 or is_too_large(*most):
            raise UsageError(
                f"max-picture {most[1]}x{most[0]}: expected 1 to {MOST_INPUT_PIXELS} pixels"
            )
        if not (1 <= height <= most[0] and 1 <= width <= most[1]):
            raise UsageError(
                f"opt-picture {width}x{height}: expected at most the max-picture, "
                f"{most[1]}x{most[0]}"
            )

    def _check_target(self) -> None:
        if self.target in ONNX_TARGETS:
            for name in _TENSORRT_ONLY:
                if getattr(self, name) not in (None, False, ()):
                    raise UsageError(
                        f"--{_option(name)} does not go with --target {self.target}; "
                        "leave it out or name a TensorRT target"
                    )
        if self.target == "tensorrt" and self.compute_capabilities:
            raise UsageError(
                "--compute-capability does not go with --target tensorrt, whose engines are for "
                "the GPU they are built on; use --target tensorrt-rtx"
            )
        if self.target == "tensorrt-rtx" and self.timing_cache:
            raise UsageError(
                "--timing-cache does not go with --target tensorrt-rtx, which times no kernel "
                "when it builds; leave it out"
            )
        if self.target == "tensorrt-rtx" and self.version_compatible:
            raise UsageError(
                "--version-compatible does not go with --target tensorrt-rtx, which comes without "
                "the lean runtime that it needs; leave it out"
            )

    @property
    def batch(self) -> dict[str, int]:
        """Smallest, optimal and largest batch."""
        optimum = self.max_batch if self.opt_batch is None else self.opt_batch
        return {"min": self.min_batch, "opt": optimum, "max": self.max_batch}

    @classmethod
    def from_fields(cls, fields: Fields) -> BuildOptions:
        """Read options as a sidecar holds them; ValueError if a value makes no sense."""
        most = 1 << 62

        def whole(name: str) -> int | None:
            return fields.integer(name, 0, most) if name in fields else None

        def size(name: str) -> tuple[int, int] | None:
            if name not in fields:
                return None
            height, width = fields.integers(name, 1, most, count=2)
            return height, width

        return cls(
            target=fields.text("target"),  # type: ignore[arg-type]
            precision=fields.text("precision"),  # type: ignore[arg-type]
            max_batch=fields.integer("max_batch", 1, most),
            heads=fields.flag("heads"),
            keep_fp=fields.texts("keep_fp") if "keep_fp" in fields else (),
            check_images=Path(fields.text("check_images")) if "check_images" in fields else None,
            min_batch=fields.integer("min_batch", 1, most),
            opt_batch=whole("opt_batch"),
            compute_capabilities=fields.texts("compute_capabilities"),
            optimization_level=whole("optimization_level"),
            timing_cache=Path(fields.text("timing_cache")) if "timing_cache" in fields else None,
            workspace=whole("workspace"),
            version_compatible=fields.flag("version_compatible"),
            tf32=fields.flag("tf32"),
            verbose=fields.flag("verbose"),
            opt_picture=size("opt_picture"),
            max_picture=size("max_picture"),
            int8=Int8Options.from_fields(fields.fields("int8")) if "int8" in fields else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name; half-precision options only where they were given."""
        values = asdict(self) | {
            "keep_fp": list(self.keep_fp),
            "check_images": name_from_path(self.check_images) if self.check_images else None,
            "compute_capabilities": list(self.compute_capabilities),
            "timing_cache": name_from_path(self.timing_cache) if self.timing_cache else None,
        }
        for name in _HALF_ONLY:
            if not values[name]:
                del values[name]
        for name in ("opt_picture", "max_picture"):
            size = values.pop(name)
            if size is not None:
                values[name] = list(size)
        del values["int8"]
        return values | ({"int8": self.int8.to_dict()} if self.int8 else {})


_HALF_ONLY = ("keep_fp", "check_images")
_TENSORRT_ONLY = (
    "opt_picture",
    "max_picture",
    "compute_capabilities",
    "optimization_level",
    "timing_cache",
    "workspace",
    "version_compatible",
    "tf32",
)


def _option(name: str) -> str:
    return {"compute_capabilities": "compute-capability"}.get(name, name.replace("_", "-"))
