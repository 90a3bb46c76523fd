"""Parts of an ONNX graph, cut out to be executed separately."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from ..errors import BadFile
from ..requirements import require
from .onnxruntime import reason_from_error

#: dimensions of a tensor; None for one that may vary
Shape = Sequence[int | None]
Kind = np.dtype[Any]
#: type and shape of a tensor where a part begins; the shape is None if unknown
Start = tuple[Kind, Shape | None]


class Piece:
    """A part of a graph, executed with ONNX Runtime on the CPU.

    Attributes:
        inputs: names of its inputs.
        outputs: names of its outputs.
        model: the piece as a model of its own.
        takes: numpy type of each input.
        types: numpy type of each output.
    """

    def __init__(
        self,
        model: ModelProto,
        inputs: Mapping[str, Start],
        outputs: Sequence[str],
        threads: int = 0,
    ) -> None:
        """Cut out a piece.

        Args:
            model: a model without functions; not modified.
            inputs: type and shape of each tensor where the piece begins.
            outputs: tensors where it ends.
            threads: CPU threads; 0 for one per core.

        Raises:
            BadFile: the piece cannot be run, for instance as an output depends on more than the
                inputs.
            MissingRequirement: ONNX Runtime is not installed.
        """
        ort = require("onnxruntime", "taking a network apart")
        self.model = cut_model(model, outputs, inputs)
        try:
            self._session = session_from_model(self.model, threads)
        except Exception as error:  # ONNX Runtime's exception types are not public
            raise BadFile(
                f"ONNX Runtime {ort.__version__} cannot run the part of the engine from "
                f"{', '.join(inputs)} to {', '.join(outputs)}: {reason_from_error(error)}; "
                "expected a graph that 'ssd-small build-engine' wrote: build it again"
            ) from error
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.takes = [np.dtype(kind) for kind, _ in inputs.values()]
        self.types: list[Kind] = [_TYPES[value.type] for value in self._session.get_outputs()]

    def __call__(self, *arrays: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Run the piece on its inputs, in order, cast to its types; return its outputs."""
        cast = (a.astype(kind, copy=False) for a, kind in zip(arrays, self.takes, strict=True))
        given = dict(zip(self.inputs, cast, strict=True))
        try:
            found: list[npt.NDArray[Any]] = self._session.run(list(self.outputs), given)
        except Exception as error:  # ONNX Runtime's exception types are not public
            raise BadFile(
                f"the part of the engine from {', '.join(self.inputs)} to "
                f"{', '.join(self.outputs)} fails: {reason_from_error(error)}; build it again"
            ) from error
        return found


_TYPES: dict[str, Kind] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}


def cut_model(
    model: ModelProto, outputs: Sequence[str], inputs: Mapping[str, Start] | None = None
) -> ModelProto:
    """Cut out the part of a model that leads to some tensors, whose types are inferred on loading.

    Args:
        model: a model with topologically sorted nodes; not modified.
        outputs: names of the tensors, which become the outputs in this order.
        inputs: where the part begins; None for the model's own input.
    """
    graph = model.graph
    given = inputs or {}
    needed = set(outputs).difference(given)
    kept: list[NodeProto] = []
    for node in reversed(graph.node):  # the node that makes a tensor precedes its readers
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name and name not in given)
            kept.append(node)
    part = helper.make_graph(
        kept[::-1],
        graph.name,
        [value for value in graph.input if value.name in needed]
        if inputs is None
        else [_value_from_start(name, *start) for name, start in given.items()],
        [ValueInfoProto(name=name) for name in outputs],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )
    called = {node.domain for node in kept}.intersection(one.domain for one in model.functions)
    return helper.make_model(
        part,
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
        functions=list(model.functions) if called else [],
    )


def _value_from_start(name: str, kind: Kind, shape: Shape | None) -> ValueInfoProto:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    dims: list[int | str] | None = None
    if shape is not None:
        dims = [f"{name}_{i}" if size is None else size for i, size in enumerate(shape)]
    return helper.make_tensor_value_info(name, code, dims)


def session_from_model(model: ModelProto, threads: int = 0) -> Any:
    """Open ONNX Runtime's session for a part, on the CPU; its own exceptions are passed on.

    Raises:
        MissingRequirement: ONNX Runtime is not installed.
    """
    ort = require("onnxruntime", "taking a network apart")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4  # the exception reports failures
    return ort.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])


def last_own_tensor(model: ModelProto, start: str, others: Collection[str]) -> str:
    """Find the last tensor through which all influence of ``start`` on the outputs passes.

    It does not depend on the values of ``others``. In this way the scores are found from ``conf``
    and the boxes from ``loc``, whatever the nodes in between are called and do.

    Args:
        model: a model without functions, with topologically sorted nodes.
        start: name of a tensor.
        others: tensors on whose values the result must not depend.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        # reading a tensor's shape does not depend on its values
        for name in set(node.input) if node.op_type != "Shape" else ():
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}
    foreign = {name for other in others for name in [other, *_reached(readers, other, frozenset())]}
    own = set(_reached(readers, start, frozenset())) - foreign
    for node in reversed(model.graph.node):  # sorted: the last one first
        for name in own.intersection(node.output):
            if outputs.isdisjoint(_reached(readers, start, frozenset([name]))):
                return name
    return start


def _reached(
    readers: Mapping[str, Sequence[NodeProto]], start: str, closed: Collection[str]
) -> Iterator[str]:
    """Yield what is computed from a tensor, but not through the closed ones; nearest first."""
    waiting, seen = [start], {start, *closed}
    while waiting:
        name = waiting.pop(0)
        for node in readers.get(name, ()):
            for output in node.output:
                if output and output not in seen:
                    seen.add(output)
                    waiting.append(output)
                    yield output


def element_type(value: ValueInfoProto) -> Kind:
    """Return the numpy type of a graph's input or output; float32 if the graph does not say."""
    kind = value.type.tensor_type.elem_type
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind or TensorProto.FLOAT))
