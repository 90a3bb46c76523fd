"""Feature-map sizes, prior counts, parameters and multiply-accumulates, computed from a spec.

Plain arithmetic, because ``ssd-small models`` and the prior boxes must work without torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import singledispatch

from ..errors import UsageError
from .layers import (
    BatchNorm,
    Bottleneck,
    Chain,
    Conv,
    L2NormLayer,
    Layer,
    MaxPool,
    ReceptiveField,
    Relu,
    SqueezeExcitation,
    Step,
    Unit,
    channel_count,
    scaled_channels,
)
from .spec import AnyLevel, ModelSpec


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
    """Learnable values (without batch-norm statistics) and multiply-accumulates per image."""

    parameters: int = 0
    macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


@dataclass(frozen=True)
class Summary:
    """Level shapes, prior count and cost of a network."""

    levels: tuple[Shape, ...]
    num_priors: int
    cost: Cost


def _window(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _chain(steps: Iterable[Step], x: Shape, width: float) -> tuple[Shape, Cost]:
    """Apply steps one after the other, in a block with input ``x``."""
    block_input, total = x.channels, Cost()
    for step in steps:
        if isinstance(step, Conv):
            x, cost = apply(step, x, width)
            total += cost
            continue
        if isinstance(step, SqueezeExcitation):
            squeezed = scaled_channels(step.squeezed, width)
            weights = 2 * x.channels * squeezed
            total += Cost(weights + squeezed + x.channels, weights)
            continue
        depthwise = step.out is None
        out = x.channels if step.out is None else channel_count(step.out, block_input, width)
        weights = out * (1 if depthwise else x.channels) * step.window[0] * step.window[1]
        sides = (
            _window(size, step.window[i], step.stride, step.frame[i], step.dilation)
            for i, size in enumerate((x.height, x.width))
        )
        x = Shape(out, *sides)
        # per channel: scale and shift of the batch norm, and the bias if there is one
        total += Cost(weights + out * (2 + step.bias), weights * x.cells)
    return x, total


def _check_sum(one: Shape, other: Shape) -> None:
    """Check that maps to be added or joined have the same shape."""
    if one != other:
        raise ValueError(f"adds or joins maps of {one} and {other}; expected one shape")


@singledispatch
def apply(layer: Layer, x: Shape, width: float) -> tuple[Shape, Cost]:
    """Return the output shape and cost of one layer with input ``x``."""
    raise NotImplementedError(type(layer).__name__)


@apply.register
def _(layer: Conv, x: Shape, width: float) -> tuple[Shape, Cost]:
    out = x.channels if layer.out is None else scaled_channels(layer.out, width)
    window = (layer.kernel, layer.stride, layer.padding, layer.dilation)
    y = Shape(out, _window(x.height, *window), _window(x.width, *window))
    weights = out * (1 if layer.out is None else x.channels) * layer.kernel**2
    return y, Cost(weights + out * layer.bias, weights * y.cells)


@apply.register
def _(layer: BatchNorm, x: Shape, width: float) -> tuple[Shape, Cost]:
    return x, Cost(2 * x.channels)


@apply.register
def _(layer: Relu, x: Shape, width: float) -> tuple[Shape, Cost]:
    return x, Cost()


@apply.register
def _(layer: MaxPool, x: Shape, width: float) -> tuple[Shape, Cost]:
    def pooled(size: int) -> int:
        out = _window(size, layer.kernel, layer.stride, layer.padding)
        covered = (out - 1) * layer.stride + layer.kernel - layer.padding
        # ceil mode adds a window if it would still start inside the (left-padded) input
        starts_inside = out * layer.stride < size + layer.padding
        return out + (layer.ceil_mode and covered < size and starts_inside)

    return Shape(x.channels, pooled(x.height), pooled(x.width)), Cost()


@apply.register
def _(layer: L2NormLayer, x: Shape, width: float) -> tuple[Shape, Cost]:
    return x, Cost(x.channels)


@apply.register
def _(layer: Chain, x: Shape, width: float) -> tuple[Shape, Cost]:
    y, cost = _chain(layer.steps, x, width)
    if layer.may_add and y.channels == x.channels:
        _check_sum(y, x)
    return y, cost


@apply.register
def _(layer: Unit, x: Shape, width: float) -> tuple[Shape, Cost]:
    return _chain((layer.step,), x, width)


@apply.register
def _(layer: Bottleneck, x: Shape, width: float) -> tuple[Shape, Cost]:
    y, cost = _chain(layer.steps, x, width)
    shortcut, added = _chain((layer.shortcut,) if layer.shortcut else (), x, width)
    _check_sum(y, shortcut)
    return y, cost + added


@apply.register
def _(layer: ReceptiveField, x: Shape, width: float) -> tuple[Shape, Cost]:
    outputs, costs = zip(*(_chain(branch, x, width) for branch in layer.branches), strict=True)
    for output in outputs:
        _check_sum(replace(output, channels=0), replace(outputs[0], channels=0))
    joined = replace(outputs[0], channels=sum(y.channels for y in outputs))
    # its Share refers to the channels of the block's input, not to those of the branches
    out = channel_count(layer.project.out or joined.channels, x.channels, width)
    y, project = _chain((replace(layer.project, out=out),), joined, 1.0)
    shortcut, added = _chain((layer.shortcut,) if layer.shortcut else (), x, width)
    _check_sum(y, shortcut)
    return y, sum(costs, project + added)


def feature_maps(spec: ModelSpec, width: float = 1.0) -> tuple[list[Shape], list[Shape], Cost]:
    """Return the maps of taps and extras, those of the levels, and the cost before the heads.

    The two lists are the same unless the network has a feature fusion. Heights and widths may be 0
    or less, where a window does not fit.
    """
    x = Shape(3, *spec.input_size)
    total, sources = Cost(), []
    fine, coarse = x, None
    for index, layer in enumerate(spec.backbone):
        y, cost = apply(layer, fine, width)
        # layers that no head depends on are in the state dict but are not run
        total += cost if index < spec.layers_run else Cost(cost.parameters)
        fine = y
        if coarse is not None and index < spec.layers_run:
            coarse, coarse_cost = apply(layer, coarse, width)
            total += Cost(0, coarse_cost.macs)
        if index == spec.dual_split and spec.extras:
            coarse = Shape(y.channels, (y.height + 1) // 2, (y.width + 1) // 2)
        if index in spec.taps:
            norm = spec.norm_at(index)
            source, cost = apply(norm.layer, y, width) if norm else (y, Cost())
            total += cost
            sources.append(source)
            fine = source if norm and norm.feeds_on else y
        if index == spec.extras_from % len(spec.backbone):
            x = coarse or fine
    for extra in spec.extras:
        for layer in extra.layers:
            x, cost = apply(layer, x, width)
            total += cost
        sources.append(x)
    levels, cost = _fused(spec, sources, width)
    return sources, levels, total + cost


def _fused(spec: ModelSpec, sources: list[Shape], width: float) -> tuple[list[Shape], Cost]:
    if spec.fusion is None:
        return sources, Cost()
    total, channels = Cost(), 0
    for transform, source in zip(spec.fusion.transforms, sources, strict=True):
        y, cost = apply(transform, source, width)
        total, channels = total + cost, channels + y.channels
    x, cost = apply(BatchNorm(), replace(sources[0], channels=channels), width)
    total, levels = total + cost, []
    for layer in spec.fusion.pyramid:
        x, cost = apply(layer, x, width)
        total += cost
        levels.append(x)
    return levels, total


def summarize(spec: ModelSpec, num_classes: int = 81, width: float = 1.0) -> Summary:
    """Compute the level shapes, prior count and cost of a network.

    Multiply-accumulates are those of the convolutions, as the dual path actually runs them: the
    coarse path adds work but no parameters.
    """
    _, levels, total = feature_maps(spec, width)
    # a window that does not fit leaves a map without cells, and so without priors
    levels = [Shape(s.channels, max(s.height, 0), max(s.width, 0)) for s in levels]
    for index, (shape, level) in enumerate(zip(levels, spec.levels, strict=True)):
        head = spec.head_of(index)
        for values in (4, num_classes):
            x, cost = _chain(head.before, shape, width)
            last = Conv(level.num_anchors * values, head.kernel, padding=head.kernel // 2)
            total += cost + apply(last, x, 1.0)[1]
    priors = sum(s.cells * level.num_anchors for s, level in zip(levels, spec.levels, strict=True))
    return Summary(tuple(levels), priors, total)


def check_feature_maps(spec: ModelSpec) -> None:
    """Refuse an input at which a feature map has no cell: such a network cannot be executed.

    Raises:
        UsageError: the input is too small.
    """
    fault = small_map_fault(spec)
    if fault:
        raise UsageError(f"{spec.name} {fault}")


def small_map_fault(spec: ModelSpec) -> str | None:
    """Say what is wrong with the input size, to follow the network's name; None if nothing is."""
    sources, levels, _ = feature_maps(spec)
    if all(min(s.height, s.width) > 0 for s in (*sources, *levels)):
        return None
    shown = levels if all(min(s.height, s.width) > 0 for s in sources) else sources
    maps = ", ".join(f"{max(s.height, 0)}x{max(s.width, 0)}" for s in shown)
    return (
        f"has feature maps of {maps} cells (rows x columns) at an input of "
        f"{spec.input_size[0]}x{spec.input_size[1]}; expected a cell in each: choose a larger "
        "input"
    )


def levels_from_spec(spec: ModelSpec) -> tuple[tuple[AnyLevel, tuple[int, int]], ...]:
    """Return the prior parameters of each feature level, with (rows, columns) of its map."""
    shapes = summarize(spec).levels
    return tuple((v, (s.height, s.width)) for v, s in zip(spec.levels, shapes, strict=True))
