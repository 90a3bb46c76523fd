"""Strict reader and writer for the layers of unnamed networks, as descriptions list them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from typing import Any, get_args

from ..models.layers import (
    BatchNorm,
    Bottleneck,
    Chain,
    Conv,
    ConvBn,
    L2NormLayer,
    Layer,
    LayerActivation,
    MaxPool,
    ReceptiveField,
    Relu,
    SqueezeExcitation,
    Step,
    Unit,
)
from ..models.shapes import apply, check_feature_maps, feature_maps, summarize
from ..models.spec import AnyLevel, Extra, Head, ModelSpec, NetworkLayers, TapNorm
from ..pictures.preprocessing import Preprocessing
from ..postprocess import PostprocessParams
from .record import Fields

#: limits per map: more than anybody needs, and far less than fills the memory
_MOST_CHANNELS, _MOST_KERNEL, _MOST_LAYERS = 1 << 13, 1 << 6, 1 << 10
#: learnable values; in fp32 the 2 GiB that an ONNX file can hold
_MOST_PARAMETERS = 1 << 29
#: numbers in one map, 4 GB in fp32
_MOST_NUMBERS = 1 << 30
#: activations allowed for a convolution in the module list, where they have no place of their own
_OUTSIDE = ("relu", "relu6", "none")
_KINDS = (
    *(Conv, BatchNorm, Relu, MaxPool, L2NormLayer, ConvBn, SqueezeExcitation, Chain, Unit),
    *(Bottleneck, ReceptiveField),
)
_BY_NAME: Mapping[str, type[Any]] = {kind.__name__: kind for kind in _KINDS}
_LAYERS = get_args(Layer)
_STEPS = get_args(Step)


def layers_to_dict(layers: NetworkLayers) -> dict[str, Any]:
    """JSON-ready form, with all numbers of all layers, including defaults."""
    return {
        "title": layers.title,
        "backbone": [_to_dict(layer) for layer in layers.backbone],
        "taps": list(layers.taps),
        "norms": [{"tap": norm.tap, "layer": _to_dict(norm.layer)} for norm in layers.norms],
        "extras": [[_to_dict(layer) for layer in extra.layers] for extra in layers.extras],
        "heads": [
            {"before": [_to_dict(step) for step in head.before], "kernel": head.kernel}
            for head in layers.heads
        ],
    }


def _to_dict(layer: Layer | Step) -> dict[str, Any]:
    own = {one.name: _plain(getattr(layer, one.name)) for one in fields_of(layer)}
    return {"layer": type(layer).__name__, **own}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return _to_dict(value) if isinstance(value, _KINDS) else value


def layers_from_fields(fields: Fields) -> NetworkLayers:
    """Layers, checked against each other as far as possible; ValueError if they make no sense."""
    backbone = tuple(_layer(one) for one in _listed(fields, "backbone"))
    last = len(backbone) - 1
    taps = fields.integers("taps", 0, last)
    if not taps or list(taps) != sorted(set(taps)):
        raise ValueError(f"taps: got {list(taps)}, expected numbers in ascending order")
    norms = tuple(
        TapNorm(one.integer("tap", 0, last), _layer(one.fields("layer")))
        for one in _listed(fields, "norms")
    )
    tapped = [norm.tap for norm in norms]
    if len(norms) > 1 or not set(tapped) <= set(taps):
        raise ValueError(f"norms: got {tapped}, expected one of the taps at most")
    extras = tuple(
        Extra(tuple(_layer(one) for one in _nested(fields, "extras", i, count)))
        for i, count in enumerate(_lengths(fields, "extras"))
    )
    heads = tuple(_head(one) for one in _listed(fields, "heads"))
    if len(heads) != len(taps) + len(extras):
        raise ValueError(
            f"heads: got {len(heads)}, expected one for each of {len(taps) + len(extras)} levels"
        )
    return NetworkLayers(fields.text("title"), backbone, taps, norms, extras, heads)


def spec_from_layers(
    layers: NetworkLayers,
    name: str,
    levels: tuple[AnyLevel, ...],
    clip: str,
    preprocessing: Preprocessing,
    postprocess: PostprocessParams,
) -> ModelSpec:
    """The network spec of layers that are written out.

    Raises:
        ValueError: they do not fit each other.
        UsageError: a feature map has no cells.
    """
    spec = ModelSpec(
        name=name,
        title=layers.title,
        backbone=layers.backbone,
        taps=layers.taps,
        levels=levels,
        norms=layers.norms,
        extras=layers.extras,
        heads=layers.heads,
        clip=clip,  # type: ignore[arg-type]
        preprocessing=preprocessing,
        postprocess=postprocess,
        written=True,
    )
    _check(spec)
    return spec


def _check(spec: ModelSpec) -> None:
    """Refuse layers that do not fit each other or memory, before the network is built.

    Raises:
        ValueError: says what does not fit.
        UsageError: a feature map has no cells.
    """
    sources, levels, cost = feature_maps(spec)
    if len(spec.levels) != len(levels):
        raise ValueError(f"levels: got {len(spec.levels)}, expected {len(levels)}, as heads")
    check_feature_maps(spec)
    for head, shape in zip(spec.heads, levels, strict=True):
        after, _ = apply(Chain(head.before), shape, 1.0)
        if (after.height, after.width) != (shape.height, shape.width):
            raise ValueError("before: got what changes the size of a map, expected what keeps it")
    largest = max(shape.channels * shape.cells for shape in (*sources, *levels))
    parameters = max(cost.parameters, summarize(spec, 2).cost.parameters)
    if parameters > _MOST_PARAMETERS or largest > _MOST_NUMBERS:
        raise ValueError(
            f"layers: got {parameters} parameters and maps of up to {largest} numbers, expected at "
            f"most {_MOST_PARAMETERS} and {_MOST_NUMBERS}"
        )


def _listed(fields: Fields, name: str) -> list[Fields]:
    records = fields.records(name)
    if len(records) > _MOST_LAYERS:
        raise ValueError(f"{name}: got {len(records)} entries, expected {_MOST_LAYERS} at most")
    return records


def _lengths(fields: Fields, name: str) -> list[int]:
    """Lengths of the lists in a list."""
    values = fields.lists(name)
    if len(values) > _MOST_LAYERS or any(len(one) > _MOST_LAYERS for one in values):
        raise ValueError(f"{name}: expected lists of {_MOST_LAYERS} entries at most")
    return [len(one) for one in values]


def _nested(fields: Fields, name: str, index: int, count: int) -> list[Fields]:
    values = fields.lists(name)[index]
    if not count:
        raise ValueError(f"{name}[{index}]: got no layer, expected at least one")
    return [Fields(one, f"{name}[{index}][{i}]") for i, one in enumerate(values)]


def _layer(fields: Fields) -> Layer:
    layer = _read(fields, _LAYERS)
    if isinstance(layer, (Conv, Chain)) and layer.activation not in _OUTSIDE:
        raise ValueError(f"activation: got {layer.activation}, expected {', '.join(_OUTSIDE)}")
    return layer  # type: ignore[no-any-return]


def _head(fields: Fields) -> Head:
    kernel = fields.integer("kernel", 1, 3)
    if kernel == 2:
        raise ValueError("kernel: got 2, expected 1 or 3")
    before = tuple(_read(one, _STEPS) for one in _listed(fields, "before"))
    strides = [one for one in before if getattr(one, "stride", 1) != 1]
    if strides:
        raise ValueError("before: got a stride, expected what keeps the map")
    return Head(before, kernel)


def _read(fields: Fields, kinds: tuple[type[Any], ...]) -> Any:
    """One layer of any of the ``kinds``."""
    kind = _BY_NAME[fields.text("layer", [one.__name__ for one in kinds])]
    if kind is ReceptiveField:
        values = {
            "branches": tuple(
                tuple(_read(one, (ConvBn,)) for one in _nested(fields, "branches", index, count))
                for index, count in enumerate(_lengths(fields, "branches"))
            ),
            "project": _read(fields.fields("project"), (ConvBn,)),
            "shortcut": _shortcut(fields),
            "first": fields.integer("first", 0, 9),
        }
        if not values["branches"]:
            raise ValueError("branches: got none, expected at least one")
        return ReceptiveField(**values)
    return kind(**{one.name: _READERS[one.name](fields, kind) for one in fields_of(kind)})


def _shortcut(fields: Fields) -> ConvBn | None:
    if "shortcut" not in fields:
        return None
    shortcut: ConvBn = _read(fields.fields("shortcut"), (ConvBn,))
    return shortcut


def _out(fields: Fields, kind: type[Any]) -> int | None:
    return fields.integer("out", 1, _MOST_CHANNELS) if "out" in fields else None


def _padding(fields: Fields, kind: type[Any]) -> int | None:
    if kind is ConvBn and "padding" not in fields:
        return None
    most = fields.integer("kernel", 1, _MOST_KERNEL) // 2 if kind is MaxPool else _MOST_KERNEL
    return fields.integer("padding", 0, most)


def _activation(fields: Fields, kind: type[Any]) -> str:
    return fields.text("activation", get_args(LayerActivation))


def _steps(fields: Fields, kind: type[Any]) -> tuple[Any, ...]:
    steps = _listed(fields, "steps")
    if not steps:
        raise ValueError("steps: got none, expected at least one")
    return tuple(_read(one, (ConvBn,) if kind is Bottleneck else _STEPS) for one in steps)


_READERS: Mapping[str, Callable[[Fields, type[Any]], Any]] = {
    "out": _out,
    "kernel": lambda fields, kind: fields.integer("kernel", 1, _MOST_KERNEL),
    "stride": lambda fields, kind: fields.integer("stride", 1, _MOST_KERNEL),
    "padding": _padding,
    "dilation": lambda fields, kind: fields.integer("dilation", 1, _MOST_KERNEL),
    "activation": _activation,
    "bias": lambda fields, kind: fields.flag("bias"),
    "eps": lambda fields, kind: fields.number("eps", 1e-12, 1),
    "ceil_mode": lambda fields, kind: fields.flag("ceil_mode"),
    "squeezed": lambda fields, kind: fields.integer("squeezed", 1, _MOST_CHANNELS),
    "steps": _steps,
    "step": lambda fields, kind: _read(fields.fields("step"), (ConvBn,)),
    "named": lambda fields, kind: fields.flag("named"),
    "residual": lambda fields, kind: fields.flag("residual"),
    "shortcut": lambda fields, kind: _shortcut(fields),
}
