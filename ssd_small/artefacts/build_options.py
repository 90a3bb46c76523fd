"""How to build an engine: the options, and which go together."""

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

#: whose engines are ONNX models, run on the CPU
ONNX_TARGETS = ("onnxruntime", "openvino")


def most_batch(height: int, width: int) -> int:
    """Largest batch of pictures: TensorRT wants inputs of fewer than 2^31 elements (NvInfer.h)."""
    return (2**31 - 1) // (3 * height * width)


#: for the input of the published networks; a larger input is held to its own limit when it is built
MOST_BATCH = most_batch(300, 300)

#: height and width of pictures that engines are tuned for and take at most, unless told otherwise
OPT_PICTURE, MAX_PICTURE = (1080, 1920), (2160, 3840)

#: the builder's highest effort
MOST_OPTIMIZATION_LEVEL = 5

#: MiB; the bytes must fit into the signed 64 bits of the builder's interface
MOST_WORKSPACE = (1 << 43) - 1

#: called with the phase of a build and the share of it that is done, 0 to 1
BuildProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine.

    All but the first six are for the TensorRT targets.

    Attributes:
        target: runtime the engine is for.
        precision: fp32, fp16 with L2Norm, decoding and scores in fp32, bf16 (openvino), or int8
            convolutions.
        max_batch: largest batch the engine takes, at most ``MOST_BATCH``.
        heads: leave decode + NMS out, for the native library to do; so it always is with openvino.
        keep_fp: names of nodes of the ONNX file that stay in fp32 where the precision is less.
        check_images: folder of pictures that fp16 is checked on; None for synthetic ones.
        min_batch: smallest batch the engine takes.
        opt_batch: batch the engine is tuned for; None for the largest.
        opt_picture, max_picture: height and width of pictures that an engine which takes them as
            they are is tuned for, and takes at most; None for ``OPT_PICTURE`` and ``MAX_PICTURE``.
        int8: what int8 is calibrated on; None for other precisions, and for a network that is
            quantised already.
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
        # each once, in the order given
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
        )  # not before it is needed: numpy

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
        """As a sidecar holds them; ValueError for what cannot be meant."""
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
        """JSON-ready values by field name; what half precision alone has where it was asked for."""
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
