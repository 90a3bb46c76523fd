"""OpenVINO on the CPU: a network that ends in its heads, in fp32, bf16 or int8, as it was built."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artefacts.description import METADATA_KEY, Description
from ..artefacts.sidecar import Sidecar, check_against_engine
from ..artefacts.tensors import HEADS, INPUT, input_of
from ..errors import BadFile, MissingRequirement
from ..postprocess.head_types import BFLOAT16
from ..requirements import require
from ..terminal import one_line
from .base import BatchingRuntime, HeadOutputs, Images, empty_input
from .executed import Executed, executed_from_counts

Array = npt.NDArray[Any]

_DEVICE = "CPU"
#: what OpenVINO is told for a precision of ours; untold it takes bf16 where the processor has it.
#: Of int8 the file says what is quantised, and the rest is in fp32
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
#: type of the heads where it is not float32: what they are computed in, without a copy
_HEADS = {"bf16": "bf16"}
#: its names of types as ours are
_TYPES = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "uint8", "i32": "int32", "i64": "int64"}
#: where it keeps the metadata of an ONNX file
_METADATA = ["framework", METADATA_KEY]
#: nodes of what is executed that execute nothing
_PASSIVE = ("Const", "Input", "Output")
#: ``Exception from src/core.cpp:91:``, ``Check 'a == b' failed at src/core/shape.cpp:70:``
_SOURCE = re.compile(r"(?:Exception from|Check '.*?' failed at) \S+?:\d+: ?")


class OpenVinoRuntime(BatchingRuntime):
    """Runs a heads network on the CPU; of an engine it is made by :meth:`from_engine`.

    Attributes:
        path: of the file that was opened; None for a model in memory.
    """

    def __init__(
        self,
        content: bytes,
        description: Description,
        *,
        precision: str,
        max_batch: int,
        source: str,
        teller: str,
        advice: str,
        threads: int = 0,
        path: Path | None = None,
    ) -> None:
        version = openvino_version()
        check_precision(precision, source)
        self.path = path
        self.description = description
        self.precision = precision
        self.max_batch = max_batch
        self.name = f"openvino {version}"
        self._source, self._threads = source, threads
        shapes = _only_shape(description) if max_batch == 1 else None
        self._compiled, self._metadata = _compiled(
            content, precision, threads, source, advice, shapes, _HEADS.get(precision)
        )
        self._check_ends(teller)
        self._request: Any = self._compiled.create_infer_request()

    @classmethod
    def from_engine(
        cls, path: Path, sidecar: Sidecar, content: bytes, threads: int = 0
    ) -> OpenVinoRuntime:
        """Open what ``build-engine --target openvino`` wrote.

        Args:
            path, sidecar: the engine.
            content: of the engine, as it was read with its sidecar.
            threads: on the CPU; 0 for one per core.

        Raises:
            BadFile: OpenVINO cannot load it, or it is not what its sidecar describes.
            MissingRequirement: OpenVINO is not installed, or the processor has not the precision.
        """
        runtime = cls(
            content,
            sidecar.description,
            precision=sidecar.precision,
            max_batch=sidecar.batch.max,
            source=f"engine {path}",
            teller="its sidecar describes",
            advice=f"built for {sidecar.target_version}: build it again",
            threads=threads,
            path=path,
        )
        check_against_engine(sidecar, runtime._metadata, path)
        return runtime

    def _check_ends(self, teller: str) -> None:
        """Refuse a file whose input and outputs are not those it describes."""
        images = input_of(self.description)
        kind = "u8" if images.type == "UINT8" else "f32"
        expected = [kind, *(s if isinstance(s, int) else None for s in images.shape[1:])]
        inputs = [
            [
                one.element_type.to_string(),
                *(d.get_length() if d.is_static else None for d in list(one.partial_shape)[1:]),
            ]
            for one in self._compiled.inputs
        ]
        names = [one.any_name for one in self._compiled.outputs]
        if inputs != [expected] or names != list(HEADS):
            raise BadFile(
                f"{self._source} has inputs {inputs} and outputs {', '.join(names)}; {teller} one "
                f"of {expected} and {', '.join(HEADS)}: build it again"
            )

    def try_once(self) -> Executed:
        """Run a black picture and close; what was executed in which precision.

        Raises:
            BadFile: it cannot.
        """
        with self:
            self.infer(empty_input(self.description, 1))
            return self.executed()

    def infer_batch(self, images: Images) -> HeadOutputs:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        try:
            outputs = self._request.infer({INPUT: np.ascontiguousarray(images)}, share_inputs=True)
        except Exception as error:  # OpenVINO's exceptions are RuntimeError and its own
            raise BadFile(
                f"{self.name} cannot run {self._source}: {reason_from_error(error)}"
            ) from error
        heads = (outputs[position] for position in range(len(HEADS)))
        # of bfloat16 it gives the bits, by the name of another type of 16
        return HeadOutputs(*(one.view(BFLOAT16) if one.itemsize == 2 else one for one in heads))

    def open_part(self, model: Any) -> Callable[[Mapping[str, Array]], list[Array]]:
        """What executes a part of this network, an ONNX model, as this runtime does.

        It is compiled anew for shapes that it has not been given before, such as a last batch's.
        """
        compiled: dict[tuple[tuple[int, ...], ...], Any] = {}
        names = [value.name for value in model.graph.output]

        def run(feeds: Mapping[str, Array]) -> list[Array]:
            given = {value.name: feeds[value.name] for value in model.graph.input}
            shapes = {name: array.shape for name, array in given.items()}
            key = tuple(shapes.values())
            if key not in compiled:
                source, advice = f"a part of {self._source}", "build it again"
                content = _of_shapes(model, shapes)
                compiled[key], _ = _compiled(content, self.precision, self._threads, source, advice)
            # it leaves out an input that nothing reads
            taken = {name for port in compiled[key].inputs for name in port.get_names()}
            outputs = compiled[key]({name: given[name] for name in given if name in taken})
            return [outputs[name] for name in names]

        return run

    def executed(self) -> Executed:
        """Layers by kind and by the precision that they are executed in, as OpenVINO tells."""
        return executed_layers(self._compiled)

    def close(self) -> None:
        """Free the network; calling twice is harmless."""
        super().close()
        self._request = self._compiled = None


def _compiled(
    content: bytes,
    precision: str,
    threads: int,
    source: str,
    advice: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    heads_type: str | None = None,
) -> tuple[Any, dict[str, str]]:
    """An ONNX model as OpenVINO executes it on the CPU, and what its metadata say of the network.

    Args:
        content: of the model, serialised.
        precision: that it is executed in; inputs keep their types.
        threads: on the CPU; 0 for one per core.
        source: what messages call it.
        advice: what to do about a model that cannot be loaded.
        shapes: of its inputs, where they are to be fixed.
        heads_type: OpenVINO's name of the type of its outputs, where it is to be another one.

    Raises:
        BadFile: OpenVINO cannot load it.
        MissingRequirement: OpenVINO is not installed.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # pinned threads of two engines would share cores while others are idle
        "ENABLE_CPU_PINNING": False,
    }
    try:
        model = _core().read_model(io.BytesIO(content))
        if shapes is not None:
            model.reshape({name: list(shape) for name, shape in shapes.items()})
        if heads_type is not None:
            model = _with_heads(model, heads_type)
        metadata = {}
        if model.has_rt_info(_METADATA):
            metadata[METADATA_KEY] = model.get_rt_info(_METADATA).astype(str)
        return _core().compile_model(model, _DEVICE, settings), metadata
    except MissingRequirement:
        raise
    except Exception as error:  # OpenVINO's exceptions are RuntimeError and its own
        raise BadFile(
            f"OpenVINO {openvino_version()} cannot load {source}: {reason_from_error(error)}; "
            + advice
        ) from error


def _of_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """An ONNX model whose inputs are of these shapes, serialised; OpenVINO wants to know ranks."""
    own = type(model)()
    own.CopyFrom(model)
    for value in own.graph.input:
        sides = value.type.tensor_type.shape
        del sides.dim[:]
        for side in shapes[value.name]:
            sides.dim.add().dim_value = side
    content: bytes = own.SerializeToString()
    return content


def _with_heads(model: Any, name: str) -> Any:
    """A model whose outputs are of another type."""
    package = require("openvino", "running this network")
    ends = package.preprocess.PrePostProcessor(model)
    for position in range(len(model.outputs)):
        ends.output(position).tensor().set_element_type(getattr(package.Type, name))
    return ends.build()


def _only_shape(description: Description) -> dict[str, tuple[int, ...]] | None:
    """The shape of the input of an engine for single pictures, by its name; None if it varies."""
    sides = input_of(description, 1).shape
    fixed = tuple(side for side in sides if isinstance(side, int))
    return {INPUT: fixed} if len(fixed) == len(sides) else None


def check_precision(precision: str, what: str) -> None:
    """Refuse bf16 where the processor would only imitate it.

    Raises:
        MissingRequirement: the processor has no arithmetic of this kind, or there is no OpenVINO.
    """
    if precision != "bf16":
        return
    found = _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in found:
        name = _core().get_property(_DEVICE, "FULL_DEVICE_NAME")
        raise MissingRequirement(
            f"{what}: this processor ({one_line(name)}) has no bf16 arithmetic, OpenVINO finds "
            f"{', '.join(sorted(found))}; build it with --precision fp32"
        )


def openvino_version() -> str:
    """Version of the installed OpenVINO, without its build.

    Raises:
        MissingRequirement: it is not installed.
    """
    return str(require("openvino", "running this network").__version__).partition("-")[0]


def executed_layers(compiled: Any) -> Executed:
    """What a compiled model executes, in which precision."""
    counts: Counter[tuple[str, str]] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {name: str(node.get_rt_info()[name].astype(str)) for name in _TOLD}
        kind, precision = (told[name] for name in _TOLD)
        if kind not in _PASSIVE:
            counts[kind, _TYPES.get(precision, precision)] += 1
    return executed_from_counts(counts)


_TOLD = ("layerType", "runtimePrecision")


def reason_from_error(error: Exception) -> str:
    """OpenVINO's message in a line, without its own source files."""
    told = _SOURCE.sub("", " ".join(str(error).split())).strip()
    return one_line(told or type(error).__name__)


@cache
def _core() -> Any:
    core = require("openvino", "running this network").Core()
    core.set_property({"LOG_LEVEL": "LOG_NONE"})  # what fails is told by the exception
    return core
