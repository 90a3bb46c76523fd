"""Find the first layer of an engine that computes something other than its reference.

The two graphs are cut alike (:mod:`.shared_cuts`). A part of the engine between two cuts is fed
the reference's tensors at the first cut, and its result is compared with the reference at the
second. So the error of a part is its own, whatever came before, and the bisection does not rely on
errors that only grow. Each step runs parts of the two networks on a few pictures, one at a time,
and keeps only the tensors at three cuts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto

from ..artefacts.description import Description
from ..evaluation.limits import HEAD_LIMITS, LAYER_LIMITS, UNIT_ROUNDING
from ..pictures.pixels import decoded_from_picture
from ..pictures.preprocessing import input_from_image
from ..runtimes.cuts import Start, cut_model, session_from_model
from .layer_errors import NOT_FINITE, LayerError, Search
from .shared_cuts import is_weighted, shared_cuts

Array = npt.NDArray[Any]
#: takes inputs by name and returns the outputs in the model's order
Run = Callable[[Mapping[str, Array]], list[Array]]
#: makes a part of a network executable
Opener = Callable[[ModelProto], Run]

#: number of pictures tried: a fault in arithmetic or weights shows on any
MOST_PICTURES = 4
#: how often a part may look wrong as a whole but right layer by layer before the search gives up
_FALSE_TRAILS = 3
#: operators that only move values and compute nothing
_JOINING = ("Cast", "Concat", "Flatten", "Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze")


def search_from_graphs(
    reference: ModelProto,
    engine: ModelProto,
    description: Description,
    pictures: Sequence[Any],
    open_engine: Opener | None = None,
    precision: str | None = None,
) -> Search:
    """Find the first layer of an engine that differs from its reference by more than rounding.

    Args:
        reference: graph with the outputs ``loc`` and ``conf``.
        engine: the engine's graph, with or without preprocessing before the network and decode +
            NMS behind the heads.
        description: how a picture becomes the input of both.
        pictures: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`; the first
            ``MOST_PICTURES`` are used.
        open_engine: makes parts of the engine executable; default: ONNX Runtime on the CPU, which
            always runs the reference's parts.
        precision: precision in which the engine runs; default: that of its weights.
    """
    inputs = [
        input_from_image(
            decoded_from_picture(one, preprocessing=description.decoding).pixels,
            description.preprocessing,
        )[None]
        for one in pictures[:MOST_PICTURES]
    ]
    precision = precision or precision_of(engine)
    return _Searcher(reference, engine, inputs, open_engine or run_from_model, precision).search()


def precision_of(model: ModelProto) -> str:
    """``int8`` for a graph with Q/DQ, ``fp16`` if any weight is half precision, else ``fp32``."""
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if half else "fp32"


def run_from_model(model: ModelProto) -> Run:
    """Make a part of a network executable by ONNX Runtime on the CPU."""
    session = session_from_model(model)
    taken = {one.name for one in session.get_inputs()}
    return lambda feeds: list(session.run(None, {n: v for n, v in feeds.items() if n in taken}))


class _Searcher:
    """The two graphs with their cuts, and the errors measured so far."""

    def __init__(
        self,
        reference: ModelProto,
        engine: ModelProto,
        inputs: Sequence[Array],
        open_engine: Opener,
        precision: str,
    ) -> None:
        self.reference, self.engine, self.inputs = reference, engine, inputs
        self.open_engine = open_engine
        #: cut 0 is the input
        self.cuts = shared_cuts(reference, engine)
        start = self.cuts[0]
        self.one_layer, self.most = LAYER_LIMITS[precision], HEAD_LIMITS[precision]
        self.rounding = UNIT_ROUNDING[precision]
        #: error of the unmodified engine at each cut examined
        self.errors: dict[int, float] = {0: 0.0}
        self.types: dict[str, np.dtype[Any]] = {start.engine[0]: np.dtype(np.float32)}
        self.steps = 0

    def search(self) -> Search:
        last = len(self.cuts) - 1
        found = None
        if last and self.inputs:
            apart = self._last_apart()
            found = self._first(0, apart)
            if found is None and apart < last:
                found = self._first(apart, last)
        layers = {at: self._layer(at) for at in sorted(self.errors) if at}
        return Search(
            None if found is None else layers[found], tuple(layers.values()), self.steps, last
        )

    def _last_apart(self) -> int:
        """The last cut before tensors are merely joined: there, small tensors are still separate.

        In a joined tensor, errors are relative to the largest value of all, which may hide a small
        tensor's error.
        """
        apart = len(self.cuts) - 1
        while apart > 1 and self.cuts[apart].node.op_type in _JOINING:
            apart -= 1
        return apart

    def _first(self, start: int, last: int) -> int | None:
        """The cut behind the first layer that differs; None if none is found."""
        for _ in range(_FALSE_TRAILS):
            low, high, share = start, last, math.inf
            while high - low > 1:
                middle = (low + high) // 2
                left, right = self._step(low, middle, high)
                # the first faulty layer is wanted: faults on the right can wait
                if left > 1 or left >= right:
                    high, share = middle, left
                else:
                    low, share = middle, right
            if share == math.inf or high not in self.errors or low not in self.errors:
                share = self._leaf(low, high)
            if share > 1:
                return high
            if high == last:
                break
            start = high
        return None

    def _allowed(self, low: int, high: int) -> float:
        """Largest error that rounding may cause between two cuts; squares of errors add up."""
        nodes = [node for cut in self.cuts[low + 1 : high + 1] for node in cut.nodes]
        return min(
            self.most, self.one_layer * math.sqrt(max(1, sum(is_weighted(node) for node in nodes)))
        )

    def _step(self, low: int, middle: int, high: int) -> tuple[float, float]:
        """Errors of the two halves, relative to what rounding may cause."""
        self.steps += 1
        for place in (low, middle):
            self._look_at(place)
        left, right = self._parts([(low, middle), (middle, high)])
        return left / self._allowed(low, middle), right / self._allowed(middle, high)

    def _leaf(self, low: int, high: int) -> float:
        """Error of one layer, relative to what rounding may cause."""
        self.steps += 1
        for one in (low, high):
            self._look_at(one)
        (error,) = self._parts([(low, high)])
        return error / self._allowed(low, high)

    def _look_at(self, place: int) -> None:
        """Measure the error of the unmodified engine at a cut, unless known."""
        if place in self.errors:
            return
        cut = self.cuts[place]
        expected = run_from_model(cut_model(self.reference, cut.reference))
        starts: dict[str, Start] = {self.cuts[0].engine[0]: (np.dtype(np.float32), None)}
        own = self.open_engine(cut_model(self.engine, cut.engine, starts))
        fresh = [at for at, name in enumerate(cut.engine) if name not in self._given(place)]
        worst = 0.0
        for images in self.inputs:
            outputs = own({self.cuts[0].engine[0]: images})
            self.types.update((n, v.dtype) for n, v in zip(cut.engine, outputs, strict=True))
            right = expected({self.cuts[0].reference[0]: images})
            pairs = ([values[at] for at in fresh] for values in (outputs, right))
            worst = max(worst, error_of(*pairs))
        self.errors[place] = worst

    def _given(self, place: int) -> tuple[str, ...]:
        """The engine's tensors at the previous cut."""
        return self.cuts[place - 1].engine

    def _parts(self, bounds: Sequence[tuple[int, int]]) -> list[float]:
        """Errors of parts of the engine that start from the reference's tensors."""
        needed = sorted({place for pair in bounds for place in pair})
        names = list(dict.fromkeys(n for place in needed for n in self.cuts[place].reference))
        images_name = self.cuts[0].reference[0]
        expected = run_from_model(
            cut_model(self.reference, [name for name in names if name != images_name])
        )
        parts = [self._part(low, high) for low, high in bounds]
        worst = [0.0] * len(parts)
        for images in self.inputs:
            values = {images_name: images}
            outputs = expected(values)
            values |= zip([n for n in names if n != images_name], outputs, strict=True)
            for index, (part, fresh) in enumerate(parts):
                low, high = (self.cuts[place] for place in bounds[index])
                feeds = {
                    own: _cast(values[name], self.types[own])
                    for name, own in zip(low.reference, low.engine, strict=True)
                }
                wanted = [values[high.reference[at]] for at in fresh]
                worst[index] = max(worst[index], error_of(part(feeds), wanted))
        return worst

    def _part(self, low: int, high: int) -> tuple[Run, list[int]]:
        """The engine from one cut to another, and which tensors of the second it computes."""
        given, wanted = self.cuts[low].engine, self.cuts[high].engine
        fresh = [at for at, name in enumerate(wanted) if name not in given]
        starts: dict[str, Start] = {name: (self.types[name], None) for name in given}
        return self.open_engine(cut_model(self.engine, [wanted[at] for at in fresh], starts)), fresh

    def _layer(self, place: int) -> LayerError:
        node = self.cuts[place].node
        before = self.errors[max(at for at in self.errors if at < place)]
        error = self.errors[place]
        growth = _written(error) / max(_written(before), self.rounding)
        return LayerError(node.name, node.op_type, _written(error), _written(growth))


def error_of(own: Sequence[Array], reference: Sequence[Array]) -> float:
    """Largest difference of any tensor, relative to the reference tensor's largest absolute value.

    Infinity if the engine gives NaN or infinity and the reference does not, or if the reference is
    all zero and the engine is not.
    """
    return max(map(_error_of_one, own, reference), default=0.0)


def _error_of_one(own: Array, reference: Array) -> float:
    mine, other = own.astype(np.float32), reference.astype(np.float32)
    if not mine.size or np.array_equal(mine, other, equal_nan=True):
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        largest = float(np.abs(mine - other).max())
    scale = float(np.abs(other).max())
    if not math.isfinite(largest) or scale == 0:
        return math.inf
    return largest / scale


def _cast(values: Array, kind: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(kind, copy=False)


def _written(value: float) -> float:
    """Round to six significant digits, and limit infinity to what JSON can hold."""
    return min(float(f"{value:.6g}"), NOT_FINITE)
