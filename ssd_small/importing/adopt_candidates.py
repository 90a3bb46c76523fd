"""Tensors of a network that may be its heads or prior boxes, judged by their shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

#: minimum number of prior boxes; fewer are the shape of something else
_FEWEST = 8
#: how many of each kind are shown
_MOST_SHOWN = 3


class Candidates(NamedTuple):
    """Names with shapes, the likeliest first."""

    loc: tuple[str, ...]
    conf: tuple[str, ...]
    priors: tuple[str, ...]


def candidates(model: ModelProto) -> Candidates:
    """Tensors with the shapes of heads: ``[N, P, 4]`` and ``[N, P, C]`` with the same P.

    Those that the graph computes first come first: later ones are decoded boxes, and scores after
    their activation.
    """
    infos = _inferred(model)
    loc: dict[int, list[str]] = {}
    for name, shape in infos:
        if (count := _boxes(shape)) is not None:
            loc.setdefault(count, []).append(_told(name, shape))
    conf: dict[int, list[str]] = {}
    for name, shape in infos:
        if len(shape) == 3 and shape[1] in loc and shape[2] not in (4, 0):
            conf.setdefault(shape[1], []).append(_told(name, shape))
    # the scores show which of them are heads
    of = next(iter(conf), None)
    count = max(conf, default=of) if of is not None else max(loc, default=0)
    return Candidates(
        tuple(loc.get(count or 0, [])[:_MOST_SHOWN]),
        tuple(conf.get(count or 0, [])[:_MOST_SHOWN]),
        prior_candidates(model, count or 0),
    )


def prior_candidates(model: ModelProto, count: int) -> tuple[str, ...]:
    """Initializers that hold ``count`` boxes; any number of boxes if it is 0."""
    found = []
    for tensor in model.graph.initializer:
        sides = [side for side in tensor.dims if side != 1]
        if tensor.data_type != TensorProto.FLOAT or len(sides) != 2 or 4 not in sides:
            continue
        boxes = sides[0] if sides[1] == 4 else sides[1]
        if boxes == count or (not count and boxes >= _FEWEST):
            found.append(_told(tensor.name, tensor.dims))
    return tuple(found[:_MOST_SHOWN])


def _inferred(model: ModelProto) -> list[tuple[str, list[int]]]:
    """Name and shape of each floating-point tensor, in the order of the nodes."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # its type varies by version; use what the file itself says
        graph = model.graph
    known = {one.name: one for one in (*graph.value_info, *graph.output)}
    names = dict.fromkeys(name for node in graph.node for name in node.output)
    return [(name, shape) for name in names if (shape := _shape(known.get(name)))]


def _shape(value: ValueInfoProto | None) -> list[int]:
    if value is None or value.type.tensor_type.elem_type not in _FLOATS:
        return []
    return [max(dim.dim_value, 0) for dim in value.type.tensor_type.shape.dim]


_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def _boxes(shape: Sequence[int]) -> int | None:
    """P of ``[N, P, 4]`` or ``[N, P, 1, 4]``; None for another shape."""
    is_loc = len(shape) == 3 or (len(shape) == 4 and shape[2] == 1)
    return shape[1] if is_loc and shape[-1] == 4 and shape[1] >= _FEWEST else None


def _told(name: str, shape: Sequence[int]) -> str:
    sides = ", ".join(map(str, shape))
    return f"{name} [{sides}]"


def lines(found: Candidates) -> Iterator[str]:
    """One line for each kind that has candidates."""
    for option, names in zip(("--loc", "--conf", "--priors initializer:"), found, strict=True):
        if names:
            yield f"  {option}{'' if option.endswith(':') else ' '}{', or '.join(names)}"
