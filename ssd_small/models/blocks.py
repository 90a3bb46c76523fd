"""Building blocks in torch, with the attribute names of the published state dicts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import (
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
    channel_count,
    scaled_channels,
)

#: momentum of the batch norms in receptive-field blocks and their extras; used only in training
_UNIT_MOMENTUM = 0.01


class L2Norm(nn.Module):
    """Scale each pixel's channel vector to a learned length (Liu et al. 2015, ParseNet).

    ``y_c = weight_c * x_c / (sqrt(sum_c x_c**2) + 1e-10)``.
    """

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same shape."""
        length = x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        return self.weight[None, :, None, None] * (x / length)


class FollowingConv(nn.Conv2d):
    """A convolution whose channels follow from its block's input, and so do not tell the width."""


class SequentialBlock(nn.Module):
    """Layers under the attribute ``conv``, as the published backbones name them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        out: Tensor = self.conv(x)
        return out


class ResidualBlock(SequentialBlock):
    """A :class:`SequentialBlock` whose input is added to its output."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers and add the input."""
        out: Tensor = x + self.conv(x)
        return out


class SqueezeExcite(nn.Module):
    """A squeeze-and-excitation module with torchvision's keys."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same shape."""
        means = F.adaptive_avg_pool2d(x, 1)
        out: Tensor = x * F.hardsigmoid(self.fc2(F.relu(self.fc1(means))))
        return out


class NamedConv(nn.Module):
    """A convolution under the attribute ``conv``, as the published feature fusion names it."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        out: Tensor = self.conv(x)
        return out


class ConvBnUnit(nn.Module):
    """Convolution, batch norm and activation under the attributes ``conv`` and ``bn``."""

    def __init__(self, conv: nn.Module, bn: nn.Module, activation: LayerActivation) -> None:
        super().__init__()
        self.conv, self.bn, self.rectified = conv, bn, activation == "relu"

    def forward(self, x: Tensor) -> Tensor:
        """Apply convolution, batch norm and, if it is a ReLU, the activation."""
        out: Tensor = self.bn(self.conv(x))
        return F.relu(out) if self.rectified else out


class BottleneckBlock(nn.Module):
    """A residual block of ResNet with its published keys."""

    def __init__(self, steps: list[list[nn.Module]], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.count = len(steps)
        for number, (conv, bn, *_) in enumerate(steps, 1):
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", bn)
        self.downsample = nn.Sequential(*shortcut) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, add the shortcut, rectify."""
        out = x
        for number in range(1, self.count + 1):
            out = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(out))
            out = F.relu(out) if number < self.count else out
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ReceptiveFieldBlock(nn.Module):
    """A receptive-field block with its published keys."""

    def __init__(
        self,
        branches: list[nn.Sequential],
        project: nn.Module,
        shortcut: nn.Module | None,
        first: int,
    ) -> None:
        super().__init__()
        self.names = [f"branch{number}" for number in range(first, first + len(branches))]
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)
        self.ConvLinear = project
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the branches, project, add the shortcut, rectify."""
        joined = torch.cat([self.get_submodule(name)(x) for name in self.names], dim=1)
        short = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.ConvLinear(joined) + short)


def _activation(name: LayerActivation) -> list[nn.Module]:
    modules: dict[str, nn.Module] = {
        "relu": nn.ReLU(),
        "relu6": nn.ReLU6(),
        "leaky": nn.LeakyReLU(0.1),
        "hardswish": nn.Hardswish(),
    }
    return [modules[name]] if name in modules else []


def _conv_bn(
    step: ConvBn, channels: int, block_input: int, width: float, momentum: float = 0.1
) -> tuple[list[nn.Module], int]:
    """Return the convolution and batch norm of a step, and its output channels."""
    out = channels if step.out is None else channel_count(step.out, block_input, width)
    kind = nn.Conv2d if isinstance(step.out, int) else FollowingConv
    conv = kind(
        channels,
        out,
        step.window,
        step.stride,
        step.frame,
        step.dilation,
        groups=channels if step.out is None else 1,
        bias=step.bias,
    )
    return [conv, nn.BatchNorm2d(out, step.eps, momentum)], out


def steps_of(steps: Iterable[Step], channels: int, width: float) -> tuple[list[nn.Module], int]:
    """Build a chain's steps for ``channels`` input channels; also return their output channels."""
    modules: list[nn.Module] = []
    out = channels
    for step in steps:
        if isinstance(step, SqueezeExcitation):
            modules.append(SqueezeExcite(out, scaled_channels(step.squeezed, width)))
            continue
        if isinstance(step, Conv):
            conv, out = build(step, out, width)
            pair = [conv]
        else:
            pair, out = _conv_bn(step, out, channels, width)
        modules += [*pair, *_activation(step.activation)]
    return modules, out


def _unit(step: ConvBn, channels: int, block_input: int, width: float) -> tuple[nn.Module, int]:
    (conv, bn), out = _conv_bn(step, channels, block_input, width, _UNIT_MOMENTUM)
    return ConvBnUnit(conv, bn, step.activation), out


def _branch(steps: Iterable[ConvBn], channels: int, width: float) -> tuple[nn.Sequential, int]:
    units, block_input = [], channels
    for step in steps:
        unit, channels = _unit(step, channels, block_input, width)
        units.append(unit)
    return nn.Sequential(*units), channels


@singledispatch
def build(layer: Layer, channels: int, width: float) -> tuple[nn.Module, int]:
    """Build a layer's module for ``channels`` input channels; also return its output channels."""
    raise NotImplementedError(type(layer).__name__)


@build.register
def _(layer: Conv, channels: int, width: float) -> tuple[nn.Module, int]:
    depthwise = layer.out is None
    out = channels if layer.out is None else scaled_channels(layer.out, width)
    window = (layer.kernel, layer.stride, layer.padding, layer.dilation)
    groups = channels if depthwise else 1
    kind = FollowingConv if depthwise else nn.Conv2d
    return kind(channels, out, *window, groups=groups, bias=layer.bias), out


@build.register
def _(layer: BatchNorm, channels: int, width: float) -> tuple[nn.Module, int]:
    return nn.BatchNorm2d(channels), channels


@build.register
def _(layer: Relu, channels: int, width: float) -> tuple[nn.Module, int]:
    return nn.ReLU(), channels


@build.register
def _(layer: MaxPool, channels: int, width: float) -> tuple[nn.Module, int]:
    if layer.kernel == layer.stride == 1:
        return nn.Identity(), channels
    return (
        nn.MaxPool2d(layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil_mode),
        channels,
    )


@build.register
def _(layer: L2NormLayer, channels: int, width: float) -> tuple[nn.Module, int]:
    return L2Norm(channels), channels


@build.register
def _(layer: Chain, channels: int, width: float) -> tuple[nn.Module, int]:
    modules, out = steps_of(layer.steps, channels, width)
    if not layer.named:
        return nn.Sequential(*modules), out
    adds = layer.may_add and out == channels
    return (ResidualBlock if adds else SequentialBlock)(*modules), out


@build.register
def _(layer: Unit, channels: int, width: float) -> tuple[nn.Module, int]:
    return _unit(layer.step, channels, channels, width)


@build.register
def _(layer: Bottleneck, channels: int, width: float) -> tuple[nn.Module, int]:
    steps, out = [], channels
    for step in layer.steps:
        pair, out = _conv_bn(step, out, channels, width)
        steps.append(pair)
    shortcut = layer.shortcut and _conv_bn(layer.shortcut, channels, channels, width)[0]
    return BottleneckBlock(steps, shortcut or []), out


@build.register
def _(layer: ReceptiveField, channels: int, width: float) -> tuple[nn.Module, int]:
    built = [_branch(steps, channels, width) for steps in layer.branches]
    project, out = _unit(layer.project, sum(c for _, c in built), channels, width)
    shortcut = None
    if layer.shortcut is not None:
        shortcut, _ = _unit(layer.shortcut, channels, channels, width)
    return ReceptiveFieldBlock([b for b, _ in built], project, shortcut, layer.first), out
