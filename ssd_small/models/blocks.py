"""Building blocks in torch; attribute names are those of the published state dicts."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor, nn

from .spec import Conv, ConvBn, Layer, MaxPool, Relu, Separable, SeparableExtra, scaled_channels


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


class SequentialBlock(nn.Module):
    """Layers under the attribute ``conv``, as the published MobileNet base names them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        out: Tensor = self.conv(x)
        return out


def _conv_bn(
    channels: int, out: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


@singledispatch
def build(layer: Layer, channels: int, width: float) -> tuple[nn.Module, int]:
    """The module of a layer on ``channels`` input channels, and its output channels."""
    raise NotImplementedError(type(layer).__name__)


@build.register
def _(layer: Conv, channels: int, width: float) -> tuple[nn.Module, int]:
    out = scaled_channels(layer.out, width)
    return (
        nn.Conv2d(
            channels, out, layer.kernel, layer.stride, layer.padding, dilation=layer.dilation
        ),
        out,
    )


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
def _(layer: ConvBn, channels: int, width: float) -> tuple[nn.Module, int]:
    out = scaled_channels(layer.out, width)
    return SequentialBlock(*_conv_bn(channels, out, 3, layer.stride, 1), nn.ReLU()), out


@build.register
def _(layer: Separable, channels: int, width: float) -> tuple[nn.Module, int]:
    out = scaled_channels(layer.out, width)
    depthwise = _conv_bn(channels, channels, 3, layer.stride, 1, groups=channels)
    pointwise = _conv_bn(channels, out, 1)
    return SequentialBlock(*depthwise, nn.ReLU(), *pointwise, nn.ReLU()), out


@build.register
def _(layer: SeparableExtra, channels: int, width: float) -> tuple[nn.Module, int]:
    out = scaled_channels(layer.out, width)
    reduce = _conv_bn(channels, out, 1)
    depthwise = _conv_bn(out, out, 3, layer.stride, layer.padding, groups=out)
    project = _conv_bn(out, out, 1)
    return nn.Sequential(*reduce, nn.ReLU6(), *depthwise, nn.ReLU6(), *project), out
