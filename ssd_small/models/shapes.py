"""Feature-map sizes, prior counts, parameters and multiply-accumulates, computed from a spec.

Plain arithmetic: ``ssd-small models`` and the prior boxes need it and must not need torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from ..errors import UsageError
from .spec import (
    Conv,
    ConvBn,
    Layer,
    Level,
    MaxPool,
    ModelSpec,
    Relu,
    Separable,
    SeparableExtra,
    scaled_channels,
)


@dataclass(frozen=True)
class Shape:
    """A feature map: channels, height, width."""

    channels: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        """Height times width."""
        return self.height * self.width


@dataclass(frozen=True)
class Cost:
    """Learnable values (batch-norm statistics left out) and multiply-accumulates per image."""

    parameters: int = 0
    macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


@dataclass(frozen=True)
class Summary:
    """What the arithmetic says of a network."""

    levels: tuple[Shape, ...]
    num_priors: int
    cost: Cost


def _window(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _conv(
    x: Shape,
    out: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    *,
    dilation: int = 1,
    depthwise: bool = False,
    batch_norm: bool = False,
) -> tuple[Shape, Cost]:
    y = Shape(
        out,
        _window(x.height, kernel, stride, padding, dilation),
        _window(x.width, kernel, stride, padding, dilation),
    )
    weights = out * (1 if depthwise else x.channels) * kernel * kernel
    # a bias per channel, or scale and shift of the batch norm
    return y, Cost(weights + (2 * out if batch_norm else out), weights * y.cells)


@singledispatch
def apply(layer: Layer, x: Shape, width: float) -> tuple[Shape, Cost]:
    """Output shape and cost of one layer on input ``x``."""
    raise NotImplementedError(type(layer).__name__)


@apply.register
def _(layer: Conv, x: Shape, width: float) -> tuple[Shape, Cost]:
    return _conv(
        x,
        scaled_channels(layer.out, width),
        layer.kernel,
        layer.stride,
        layer.padding,
        dilation=layer.dilation,
    )


@apply.register
def _(layer: Relu, x: Shape, width: float) -> tuple[Shape, Cost]:
    return x, Cost()


@apply.register
def _(layer: MaxPool, x: Shape, width: float) -> tuple[Shape, Cost]:
    def pooled(size: int) -> int:
        out = _window(size, layer.kernel, layer.stride, layer.padding)
        covered = (out - 1) * layer.stride + layer.kernel - layer.padding
        # ceil mode adds a window where one would still start inside the (left-padded) input
        starts_inside = out * layer.stride < size + layer.padding
        return out + (layer.ceil_mode and covered < size and starts_inside)

    return Shape(x.channels, pooled(x.height), pooled(x.width)), Cost()


@apply.register
def _(layer: ConvBn, x: Shape, width: float) -> tuple[Shape, Cost]:
    return _conv(x, scaled_channels(layer.out, width), 3, layer.stride, 1, batch_norm=True)


@apply.register
def _(layer: Separable, x: Shape, width: float) -> tuple[Shape, Cost]:
    y, depthwise = _conv(x, x.channels, 3, layer.stride, 1, depthwise=True, batch_norm=True)
    y, pointwise = _conv(y, scaled_channels(layer.out, width), 1, batch_norm=True)
    return y, depthwise + pointwise


@apply.register
def _(layer: SeparableExtra, x: Shape, width: float) -> tuple[Shape, Cost]:
    out = scaled_channels(layer.out, width)
    y, reduce = _conv(x, out, 1, batch_norm=True)
    y, depthwise = _conv(y, out, 3, layer.stride, layer.padding, depthwise=True, batch_norm=True)
    y, project = _conv(y, out, 1, batch_norm=True)
    return y, reduce + depthwise + project


def summarize(spec: ModelSpec, num_classes: int = 81, width: float = 1.0) -> Summary:
    """Level shapes, prior count and cost of a network.

    Multiply-accumulates are those of the convolutions, as the dual path really runs them: the
    coarse branch adds work but no parameters.

    Raises:
        UsageError: the input is so small that a feature map has no cell.
    """
    x = Shape(3, *spec.input_size)
    total, levels = Cost(), []
    coarse: Shape | None = None
    for index, layer in enumerate(spec.backbone[: spec.taps[-1] + 1]):
        x, cost = apply(layer, x, width)
        total += cost
        if coarse is not None:
            coarse, coarse_cost = apply(layer, coarse, width)
            total += Cost(0, coarse_cost.macs)
        if index == spec.dual_split:
            coarse = Shape(x.channels, (x.height + 1) // 2, (x.width + 1) // 2)
        if index in spec.taps:
            levels.append(x)
            total += Cost(x.channels if index in spec.normalized_taps else 0)
    x = coarse or x
    for extra in spec.extras:
        for layer in extra.layers:
            x, cost = apply(layer, x, width)
            total += cost
        levels.append(x)
    # a window that finds no place leaves a map without cells, and so without priors
    levels = [Shape(s.channels, max(s.height, 0), max(s.width, 0)) for s in levels]
    for shape, level in zip(levels, spec.levels, strict=True):
        _, head = _conv(shape, level.num_anchors * (4 + num_classes), 3, 1, 1)
        total += head
    priors = sum(s.cells * level.num_anchors for s, level in zip(levels, spec.levels, strict=True))
    return Summary(tuple(levels), priors, total)


def check_feature_maps(spec: ModelSpec) -> None:
    """Refuse an input in which a feature map has no cell: no such network can be executed.

    Raises:
        UsageError: the input is too small.
    """
    levels = summarize(spec).levels
    if not all(shape.cells for shape in levels):
        maps = ", ".join(f"{shape.height}x{shape.width}" for shape in levels)
        raise UsageError(
            f"{spec.name} has feature maps of {maps} cells (rows x columns) at an input of "
            f"{spec.input_size[0]}x{spec.input_size[1]}; expected a cell in each: choose a larger "
            "input"
        )


def levels_from_spec(spec: ModelSpec) -> tuple[tuple[Level, tuple[int, int]], ...]:
    """The prior parameters of each feature level with (rows, columns) of its map."""
    shapes = summarize(spec).levels
    return tuple((v, (s.height, s.width)) for v, s in zip(spec.levels, shapes, strict=True))
