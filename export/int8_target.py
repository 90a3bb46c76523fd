"""The form of each target's INT8 network, and the runtime that scores it on this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..artefacts.build_options import BuildOptions, BuildProgress
from ..runtimes.onnxruntime import OnnxRuntimeRuntime
from .int8 import Int8Build
from .quantise import Form, form_of_target

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..runtimes.base import Runtime

#: moves Q/DQ across Relu; as the range of signed int8 does not end at 0, ONNX Runtime then runs
#: convolutions of signed activations in float32, with conversions in between
_NOT_FOR_SIGNED = ("QDQPropagationTransformer",)


def int8_build(options: BuildOptions, progress: BuildProgress) -> Int8Build | None:
    """Return how to convert a build's network to INT8; None if it is not calibrated."""
    if options.int8 is None:
        return None
    form = form_of_target(options.target)
    return Int8Build(options.int8, form, partial(_open, options.target, form), progress)


def _open(target: str, form: Form, content: bytes, description: Description) -> Runtime:
    """Open a heads model in the target's runtime; for TensorRT too, in ONNX Runtime."""
    if target == "openvino":
        from ..runtimes.openvino import OpenVinoRuntime

        return OpenVinoRuntime(
            content,
            description,
            precision="int8",
            max_batch=8,
            source="the network in int8",
            teller="its metadata describe",
            advice="export it again",
        )
    return OnnxRuntimeRuntime.from_model(
        content,
        description,
        precision="int8",
        max_batch=8,
        source="the network in int8",
        left_out=_NOT_FOR_SIGNED if form.signed else (),
    )
