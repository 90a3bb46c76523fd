"""What a network is, as data: layers, prior boxes, dual path, preprocessing, published figures.

A spec holds everything that distinguishes one SSD from another; the building blocks
(``blocks.py``), the shape arithmetic (``shapes.py``) and the prior boxes (``priors.py``) read
it and know no network by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams

LayerActivation = Literal["relu", "relu6", "none"]


@dataclass(frozen=True)
class Conv:
    """A convolution with bias, and the activation that follows it outside of the module list."""

    out: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    activation: LayerActivation = "none"


@dataclass(frozen=True)
class Relu:
    """A ReLU that has its own place in the module list."""


@dataclass(frozen=True)
class MaxPool:
    """A max pooling; ``kernel=1, stride=1`` is a removed stride whose place is kept."""

    kernel: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False


@dataclass(frozen=True)
class ConvBn:
    """A 3x3 convolution without bias, batch norm and ReLU: the stem of MobileNetV1."""

    out: int
    stride: int = 1


@dataclass(frozen=True)
class Separable:
    """A depthwise-separable block of MobileNetV1: 3x3 depthwise, 1x1 pointwise, each BN + ReLU."""

    out: int
    stride: int = 1


@dataclass(frozen=True)
class SeparableExtra:
    """A "lite" extra layer: 1x1 reduce, 3x3 depthwise, 1x1 project, BN after each.

    ReLU6 follows the first two, ``activation`` the whole.
    """

    out: int
    stride: int = 2
    padding: int = 1
    activation: LayerActivation = "relu"


Layer = Conv | Relu | MaxPool | ConvBn | Separable | SeparableExtra


@dataclass(frozen=True)
class Extra:
    """One extra feature level: the layers that lead from the level before to this one."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Level:
    """The prior boxes of one feature map.

    Attributes:
        step: distance of two cells in input pixels, across and down (the configured one, not the
            map's ratio: a spec for another input size needs steps of its own).
        sizes: side lengths of the square priors in input pixels.
        aspect_ratios: each gives two more priors of the first size's area, ``a`` times as wide as
            high in input pixels, and ``1/a``.
    """

    step: float
    sizes: tuple[float, ...]
    aspect_ratios: tuple[float, ...] = ()

    @property
    def num_anchors(self) -> int:
        """Priors per cell."""
        return len(self.sizes) + 2 * len(self.aspect_ratios)


@dataclass(frozen=True)
class Published:
    """Figures of the paper's repository: COCO val2017 mAP in percent, fp32 ms per image."""

    map_small: float
    map_medium: float
    map_large: float
    map_all: float
    milliseconds: float | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A single-shot detector.

    Attributes:
        name: as in ``create_model``.
        title: the name in the published table.
        backbone: layers, in the order of the ``base`` module list.
        taps: backbone indices whose outputs are feature levels, in order.
        normalized_taps: those of them that pass through L2Norm.
        extras: further levels, fed by the last tap (by its coarse twin in a dual path).
        levels: prior boxes, one entry per feature level.
        clip: which prior coordinates are clamped to [0, 1].
        dual_split: backbone index after which a second path continues on every second pixel;
            None without dual path.
        preprocessing: how an image becomes network input.
        postprocess: activation, background and variances that belong to the network.
        published: the published figures, if any.
    """

    name: str
    title: str
    backbone: tuple[Layer, ...]
    taps: tuple[int, ...]
    normalized_taps: tuple[int, ...]
    extras: tuple[Extra, ...]
    levels: tuple[Level, ...]
    clip: Literal["all", "size", "none"] = "all"
    dual_split: int | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    postprocess: PostprocessParams = field(default_factory=PostprocessParams)
    published: Published | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network input in pixels."""
        return self.preprocessing.height, self.preprocessing.width


def scaled_channels(channels: int, width: float) -> int:
    """Channel count under a width multiplier: nearest multiple of 8, at least 8."""
    return channels if width == 1.0 else max(8, int(channels * width / 8 + 0.5) * 8)
