"""The networks by name: the published table as data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import UsageError
from .spec import (
    Conv,
    ConvBn,
    Extra,
    Layer,
    Level,
    MaxPool,
    ModelSpec,
    Published,
    Relu,
    Separable,
    SeparableExtra,
)


def _vgg16(pool1: MaxPool) -> tuple[Layer, ...]:
    """VGG16 with fc6 and fc7 as convolutions; taps 22 (relu4_3) and 34 (relu7)."""
    pool = MaxPool(2, 2)
    layers: list[Layer] = []
    for repeats, channels, pooling in (
        (2, 64, pool1),
        (2, 128, pool),
        (3, 256, MaxPool(2, 2, ceil_mode=True)),
        (3, 512, pool),
        (3, 512, MaxPool(3, 1, padding=1)),
    ):
        stage: list[Layer] = [Conv(channels), Relu()]
        layers += [*stage * repeats, pooling]
    layers += [Conv(1024, padding=6, dilation=6), Relu(), Conv(1024, kernel=1, padding=0), Relu()]
    return tuple(layers)


def _mobilenet_v1(first_stride: int) -> tuple[Layer, ...]:
    """MobileNetV1; taps 11 and 13."""
    blocks = [(1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)]
    blocks += [(1, 512)] * 5 + [(2, 1024), (1, 1024)]
    return (ConvBn(32, first_stride), *(Separable(out, stride) for stride, out in blocks))


def _conv_extras(codes: Sequence[str]) -> tuple[Extra, ...]:
    """Extras of SSD-VGG16: 1x1 to half the channels, then 3x3. Codes as in the original."""
    return tuple(
        Extra(
            (
                Conv(out // 2, kernel=1, padding=0, activation="relu"),
                Conv(out, 3, 2, 1, activation="relu")
                if code == "S"
                else Conv(out, 3, 1, 0, activation="relu"),
            )
        )
        for code, out in zip(codes, (512, 256, 256, 256), strict=True)
    )


def _separable_extras(codes: Sequence[str]) -> tuple[Extra, ...]:
    """Extras of SSD-lite; ``S`` pads, ``P`` does not."""
    return tuple(
        Extra((SeparableExtra(out, 2, 1 if code == "S" else 0),))
        for code, out in zip(codes, (512, 256, 256, 128), strict=True)
    )


def _levels(
    steps: Sequence[float], sizes: Sequence[float], anchors: Sequence[int]
) -> tuple[Level, ...]:
    """Each level has squares of its size and of the geometric mean with the next size."""
    ratios: dict[int, tuple[float, ...]] = {4: (2.0,), 6: (2.0, 3.0)}
    return tuple(
        Level(step, (size, math.sqrt(size * following)), ratios[count])
        for step, size, following, count in zip(steps, sizes, sizes[1:], anchors, strict=False)
    )


_VGG_TAPS, _MOBILENET_TAPS = (22, 34), (11, 13)
_POOL1, _NO_POOL1 = MaxPool(2, 2), MaxPool(1, 1)

_SPECS = (
    ModelSpec(
        "vgg16",
        "VGG16",
        _vgg16(_POOL1),
        _VGG_TAPS,
        _VGG_TAPS[:1],
        _conv_extras(("S", "S", "", "")),
        _levels((8, 16, 32, 64, 100, 300), (30, 60, 111, 162, 213, 264, 315), (6, 6, 6, 6, 4, 4)),
        published=Published(6.9, 27.9, 40.3, 24.6, 12.1),
    ),
    ModelSpec(
        "vgg16_s1l2",
        "VGG16-S1L2",
        _vgg16(_NO_POOL1),
        _VGG_TAPS,
        _VGG_TAPS[:1],
        _conv_extras("SSSS"),
        _levels((4, 8, 16, 32, 64, 100), (15, 30, 60, 111, 162, 213, 264), (6, 6, 6, 6, 4, 4)),
        published=Published(11.2, 27.3, 33.4, 23.7),
    ),
    ModelSpec(
        "vgg16_s1l2_dual",
        "VGG16-S1L2 Dualpath-Split",
        _vgg16(_NO_POOL1),
        _VGG_TAPS,
        _VGG_TAPS[:1],
        _conv_extras(("S", "S", "", "")),
        _levels((4, 8, 32, 64, 100, 300), (15, 30, 111, 162, 213, 264, 315), (6, 6, 6, 6, 4, 4)),
        dual_split=4,
        published=Published(13.7, 31.4, 41.3, 28.5, 31.1),
    ),
    ModelSpec(
        "mobilenet_v1",
        "MobilenetV1",
        _mobilenet_v1(2),
        _MOBILENET_TAPS,
        _MOBILENET_TAPS[:1],
        _separable_extras("SSSS"),
        _levels((16, 32, 64, 100, 150, 300), (45, 90, 135, 180, 225, 270, 315), (6, 6, 6, 6, 4, 4)),
        published=Published(1.8, 19.1, 36.3, 18.8, 6.9),
    ),
    ModelSpec(
        "mobilenet_v1_s1l0",
        "MobilenetV1-S1L0",
        _mobilenet_v1(1),
        _MOBILENET_TAPS,
        _MOBILENET_TAPS[:1],
        _separable_extras("SSSP"),
        _levels((8, 16, 32, 64, 100, 300), (10, 45, 90, 135, 180, 225, 270), (6, 6, 6, 6, 6, 4)),
        published=Published(7.9, 25.2, 28.6, 19.6, 12.1),
    ),
    ModelSpec(
        "mobilenet_v1_s1l0_dual",
        "MobilenetV1-S1L0 Dualpath-Split",
        _mobilenet_v1(1),
        _MOBILENET_TAPS,
        _MOBILENET_TAPS[:1],
        _separable_extras("SSSS"),
        _levels((8, 16, 64, 100, 150, 300), (10, 45, 135, 180, 225, 270, 315), (6, 6, 6, 6, 6, 4)),
        dual_split=0,
        published=Published(8.2, 25.0, 30.8, 20.7),
    ),
)

# An earlier S1L0 ended in a padded extra (last map 2x2, step 150). Its weights have the same
# shapes, so a checkpoint cannot tell which it belongs to: whoever has one asks for it by name.
_UNLISTED = (
    ModelSpec(
        "mobilenet_v1_s1l0_fmap2",
        "MobilenetV1-S1L0 (2x2 last map)",
        _mobilenet_v1(1),
        _MOBILENET_TAPS,
        _MOBILENET_TAPS[:1],
        _separable_extras("SSSS"),
        _levels((8, 16, 32, 64, 100, 150), (10, 45, 90, 135, 180, 225, 270), (6, 6, 6, 6, 6, 4)),
    ),
)

_BY_NAME = {spec.name: spec for spec in (*_SPECS, *_UNLISTED)}


def list_models() -> list[str]:
    """Names of the published networks, in the order of the published table."""
    return [spec.name for spec in _SPECS]


def known_models() -> list[str]:
    """Names of all networks, those that are not in the published table too."""
    return list(_BY_NAME)


def get_spec(name: str) -> ModelSpec:
    """The spec of a network.

    Raises:
        UsageError: there is no network of that name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UsageError(f"unknown model {name!r}; known: {', '.join(list_models())}") from None
