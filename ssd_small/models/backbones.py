"""The backbones by their NETS name, as tables: the layers of each ``base`` module list."""

from __future__ import annotations

from .layers import (
    BatchNorm,
    Bottleneck,
    Chain,
    Conv,
    ConvBn,
    Layer,
    LayerActivation,
    MaxPool,
    Relu,
    Share,
)

Layers = tuple[Layer, ...]

_HALVE, _KEEP = MaxPool(2, 2), MaxPool(1, 1)

#: (convolutions, channels) of VGG16's stages before fc6
_VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
#: VGG16's first, second and last pooling; the third rounds up, the fourth halves
_VGG16_POOLS = {
    "vgg16": (_HALVE, _HALVE, MaxPool(3, 1, padding=1)),
    "vgg16_S1L2": (_KEEP, _HALVE, MaxPool(3, 1, padding=1)),
    "vgg16_S2L2_5": (_KEEP, _KEEP, MaxPool(3, 3)),
}

#: channels of MobileNetV1's blocks, and the indices of those with stride 2
_MOBILENET_V1 = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
_MOBILENET_V1_STRIDES = {
    "mobilenet_v1": (0, 2, 4, 6, 12),
    "mobilenet_v1_S1L0": (2, 4, 6, 12),
    "mobilenet_v1_S1L4": (0, 2, 6, 12),
    "mobilenet_v1_S1L6": (0, 2, 4, 12),
    "mobilenet_v1_S2L0_6": (2, 4, 12),
}

#: MobileNetV2's stages after the stem: (blocks, channels, stride of the first, expansion)
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (2, 24, 2, 6),
    (3, 32, 2, 6),
    (4, 64, 2, 6),
    (3, 96, 1, 6),
    (3, 160, 2, 6),
    (1, 320, 1, 6),
)

#: suffixes of the names of narrow MobileNets, and their channel multipliers
_NARROW = {"_075": 0.75, "_050": 0.5, "_025": 0.25}

#: ResNet's stages: (blocks, inner channels, stride of the first)
_RESNET = {
    "resnet_50": ((3, 64, 1), (4, 128, 2), (6, 256, 2)),
    "resnet_101": ((3, 64, 1), (4, 128, 2), (23, 256, 2)),
}

#: Darknet-19's layers: channels of a convolution, of a pair (negative), or 0 for a pooling
_DARKNET_19 = (32, 0, 64, 0, 128, -128, 0, 256, -256, 0, 512, -512, -512, 0, 1024, -1024, -1024)
#: Darknet-53's stages: (channels, residual pairs), each after a convolution of stride 2
_DARKNET_53 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))

#: backbones that the published sources name but that cannot be built, with the reason
UNBUILT = dict.fromkeys(
    ("resnet_18", "resnet_34"),
    "it cannot be built in the published source either (its first shortcut is missing)",
)


def _vgg16(first: MaxPool, second: MaxPool, last: MaxPool) -> Layers:
    """VGG16 with fc6 and fc7 as convolutions."""
    layers: list[Layer] = []
    pools = (first, second, MaxPool(2, 2, ceil_mode=True), _HALVE, last)
    for (repeats, channels), pool in zip(_VGG16, pools, strict=True):
        stage: list[Layer] = [Conv(channels), Relu()]
        layers += [*stage * repeats, pool]
    layers += [Conv(1024, padding=6, dilation=6), Relu(), Conv(1024, kernel=1, padding=0), Relu()]
    return tuple(layers)


def _narrowed(channels: int, multiplier: float) -> int:
    return channels if multiplier == 1 else max(int(channels * multiplier), 8)


def _mobilenet_v1(strides: tuple[int, ...], multiplier: float = 1) -> Layers:
    def steps(index: int, out: int) -> tuple[ConvBn, ...]:
        stride = 2 if index in strides else 1
        if index == 0:
            return (ConvBn(out, stride=stride),)
        return ConvBn(None, stride=stride), ConvBn(out, 1)

    channels = (_narrowed(c, multiplier) for c in _MOBILENET_V1)
    return tuple(Chain(steps(index, out)) for index, out in enumerate(channels))


def _mobilenet_v2(multiplier: float = 1) -> Layers:
    """MobileNetV2: the first block has an expansion too (by 1), and no final 1x1 convolution."""
    layers: list[Layer] = [Chain((ConvBn(_narrowed(32, multiplier), stride=2),))]
    for repeats, channels, stride, expansion in _MOBILENET_V2:
        for block in range(repeats):
            steps = (
                ConvBn(Share(times=expansion), 1, activation="relu6"),
                ConvBn(None, stride=1 if block else stride, activation="relu6"),
                ConvBn(_narrowed(channels, multiplier), 1, activation="none"),
            )
            layers.append(Chain(steps, residual=True))
    return tuple(layers)


def _resnet(stages: tuple[tuple[int, int, int], ...]) -> Layers:
    """ResNet without its fourth stage; the stride is on the 3x3 convolution."""
    layers: list[Layer] = [
        Conv(64, 7, 2, 3, bias=False),
        BatchNorm(),
        Relu(),
        MaxPool(3, 2, padding=1),
    ]
    for repeats, channels, stride in stages:
        for block in range(repeats):
            stride = 1 if block else stride
            last = ConvBn(4 * channels, 1, activation="none")
            shortcut = None if block else ConvBn(4 * channels, 1, stride, activation="none")
            steps = (ConvBn(channels, 1), ConvBn(channels, stride=stride), last)
            layers.append(Bottleneck(steps, shortcut))
    return tuple(layers)


_LEAKY: LayerActivation = "leaky"


def _leaky_conv(channels: int, stride: int = 1) -> Layer:
    return Chain((ConvBn(channels, stride=stride, activation=_LEAKY),))


def _leaky_pair(channels: int, residual: bool) -> Layer:
    """A 1x1 convolution to half the channels, then a 3x3 convolution back."""
    steps = (ConvBn(channels // 2, 1, activation=_LEAKY), ConvBn(channels, activation=_LEAKY))
    return Chain(steps, residual=residual)


def _darknet_19() -> Layers:
    return tuple(
        _leaky_conv(c) if c > 0 else _leaky_pair(-c, residual=False) if c else _HALVE
        for c in _DARKNET_19
    )


def _darknet_53() -> Layers:
    layers = [_leaky_conv(32)]
    for channels, pairs in _DARKNET_53:
        layers += [_leaky_conv(channels, stride=2), *[_leaky_pair(channels, residual=True)] * pairs]
    return tuple(layers)


#: layers by NETS name
BACKBONES: dict[str, Layers] = {
    **{name: _vgg16(*pools) for name, pools in _VGG16_POOLS.items()},
    **{name: _mobilenet_v1(strides) for name, strides in _MOBILENET_V1_STRIDES.items()},
    **{
        f"mobilenet_v1{end}": _mobilenet_v1(_MOBILENET_V1_STRIDES["mobilenet_v1"], multiplier)
        for end, multiplier in _NARROW.items()
    },
    "mobilenet_v2": _mobilenet_v2(),
    **{f"mobilenet_v2{end}": _mobilenet_v2(multiplier) for end, multiplier in _NARROW.items()},
    **{name: _resnet(stages) for name, stages in _RESNET.items()},
    "darknet_19": _darknet_19(),
    "darknet_53": _darknet_53(),
}
