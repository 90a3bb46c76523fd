"""OpenVINO on the CPU: networks that end in their heads, in fp32, bf16 or int8 as built."""

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
#: OpenVINO's precision hint for each of ours; by default it uses bf16 if the processor has it.
#: For int8, the file says what is quantised, and the rest is in fp32
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
#: type of the heads, if not float32: the type they are computed in, so there is no conversion
_HEADS = {"bf16": "bf16"}
#: our names for OpenVINO's types
_TYPES = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "uint8", "i32": "int32", "i64": "int64"}
#: where OpenVINO keeps the metadata of an ONNX file
_METADATA = ["framework", METADATA_KEY]
#: nodes of the executed graph that execute nothing
_PASSIVE = ("Const", "Input", "Output")
#: ``Exception from src/core.cpp:91:``, ``Check 'a == b' failed at src/core/shape.cpp:70:``
_SOURCE = re.compile(r"(?:Exception from|Check '.*?' failed at) \S+?:\d+: ?")


class OpenVinoRuntime(BatchingRuntime):
    """Runs a network that ends in its heads on the CPU; :meth:`from_engine` opens an engine.

    Attributes:
        path: path of the opened file; None for a model in memory.
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
        """Open an engine written by ``build-engine --target openvino``.

        Args:
            path, sidecar: the engine.
            content: content of the engine, read together with its sidecar.
            threads: CPU threads; 0 for one per core.

        Raises:
            BadFile: OpenVINO cannot load it, or it is not what its sidecar describes.
            MissingRequirement: OpenVINO is not installed, or the processor lacks the precision.
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
        """Refuse a file whose input and outputs do not match its description."""
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
        """Run a black picture and close; return what was executed and in which precision.

        Raises:
            BadFile: the network cannot be run.
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
        # OpenVINO returns the bits of bfloat16 as another 16-bit type
        return HeadOutputs(*(one.view(BFLOAT16) if one.itemsize == 2 else one for one in heads))

    def open_part(self, model: Any) -> Callable[[Mapping[str, Array]], list[Array]]:
        """Return a function that executes a part of this network, as ONNX, as this runtime does.

        The part is compiled again for each new set of input shapes, such as those of a last batch.
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
            # OpenVINO drops an input that nothing reads
            taken = {name for port in compiled[key].inputs for name in port.get_names()}
            outputs = compiled[key]({name: given[name] for name in given if name in taken})
            return [outputs[name] for name in names]

        return run

    def executed(self) -> Executed:
        """Count layers by kind and by the precision OpenVINO executes them in."""
        return executed_layers(self._compiled)

    def close(self) -> None:
        """Free the network; a second call has no effect."""
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
    """Compile an ONNX model for the CPU; also return the description in its metadata.

    Args:
        content: the serialised model.
        precision: precision of the execution; inputs keep their types.
        threads: CPU threads; 0 for one per core.
        source: how messages refer to the model.
        advice: what to do about a model that cannot be loaded.
        shapes: shapes of the inputs by name, if they are to be fixed.
        heads_type: OpenVINO's name for the type of the outputs, if it is to be changed.

    Raises:
        BadFile: OpenVINO cannot load it.
        MissingRequirement: OpenVINO is not installed.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # pinned threads of two engines would share cores while other cores are idle
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
    """Serialise an ONNX model with these input shapes; OpenVINO needs to know the ranks."""
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
    """Change the type of a model's outputs."""
    package = require("openvino", "running this network")
    ends = package.preprocess.PrePostProcessor(model)
    for position in range(len(model.outputs)):
        ends.output(position).tensor().set_element_type(getattr(package.Type, name))
    return ends.build()


def _only_shape(description: Description) -> dict[str, tuple[int, ...]] | None:
    """Return the input's shape, by name, for a batch of 1; None if it varies."""
    sides = input_of(description, 1).shape
    fixed = tuple(side for side in sides if isinstance(side, int))
    return {INPUT: fixed} if len(fixed) == len(sides) else None


def check_precision(precision: str, what: str) -> None:
    """Refuse bf16 on a processor that would only emulate it.

    Raises:
        MissingRequirement: the processor has no bf16 arithmetic, or OpenVINO is not installed.
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
    """Return the version of the installed OpenVINO, without its build number.

    Raises:
        MissingRequirement: it is not installed.
    """
    return str(require("openvino", "running this network").__version__).partition("-")[0]


def executed_layers(compiled: Any) -> Executed:
    """Count the layers that a compiled model executes, by kind and precision."""
    counts: Counter[tuple[str, str]] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {name: str(node.get_rt_info()[name].astype(str)) for name in _TOLD}
        kind, precision = (told[name] for name in _TOLD)
        if kind not in _PASSIVE:
            counts[kind, _TYPES.get(precision, precision)] += 1
    return executed_from_counts(counts)


_TOLD = ("layerType", "runtimePrecision")


def reason_from_error(error: Exception) -> str:
    """Return OpenVINO's message in one line, without its source files."""
    told = _SOURCE.sub("", " ".join(str(error).split())).strip()
    return one_line(told or type(error).__name__)


@cache
def _core() -> Any:
    core = require("openvino", "running this network").Core()
    core.set_property({"LOG_LEVEL": "LOG_NONE"})  # the exception reports failures
    return core
