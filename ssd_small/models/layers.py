"""The layers that networks are made of, as data.

``blocks.py`` builds each in torch and ``shapes.py`` computes what it does to a feature map; both
read these values and know no network by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LayerActivation = Literal["relu", "relu6", "leaky", "hardswish", "none"]
#: of batch norms, unless a network says otherwise
BATCH_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Share:
    """Channels that follow from those of the block's input: ``input // divisor * times``.

    At least one, which only networks of a small width come down to.
    """

    divisor: int = 1
    times: int = 1


#: a number of the table, which the width scales; or one that follows from the block's input
Channels = int | Share


def scaled_channels(channels: int, width: float) -> int:
    """Channel count under a width multiplier: nearest multiple of 8, at least 8."""
    return channels if width == 1.0 else max(8, int(channels * width / 8 + 0.5) * 8)


def channel_count(channels: Channels, block_input: int, width: float) -> int:
    """Channels of a convolution in a block whose input has ``block_input`` of them."""
    if isinstance(channels, Share):
        return max(block_input // channels.divisor * channels.times, 1)
    return scaled_channels(channels, width)


@dataclass(frozen=True)
class Conv:
    """A convolution without batch norm, and its activation.

    The activation has no place in the module list; within a chain it has one.

    Attributes:
        out: channels; None for a depthwise convolution, which keeps them.
    """

    out: int | None
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    activation: LayerActivation = "none"
    bias: bool = True


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm that has its own place in the module list."""


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
class L2NormLayer:
    """Each pixel's channel vector scaled to a learned length."""


@dataclass(frozen=True)
class ConvBn:
    """A convolution, batch norm and activation: what blocks are made of.

    Attributes:
        out: channels; None for a depthwise convolution, which keeps them.
        kernel: its side, or (height, width).
        stride: in both directions.
        padding: in both directions; None for what keeps the map at stride 1.
        dilation: in both directions.
        activation: what follows.
        bias: whether the convolution has one, which the batch norm would make up for.
        eps: of the batch norm.
    """

    out: Channels | None
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    padding: int | None = None
    dilation: int = 1
    activation: LayerActivation = "relu"
    bias: bool = False
    eps: float = BATCH_NORM_EPS

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel

    @property
    def frame(self) -> tuple[int, int]:
        """Padding above and below, left and right."""
        if self.padding is not None:
            return self.padding, self.padding
        high, wide = self.window
        return self.dilation * (high - 1) // 2, self.dilation * (wide - 1) // 2


@dataclass(frozen=True)
class SqueezeExcitation:
    """Channels weighted by what all of the map holds (Hu et al. 2018), as MobileNetV3 does.

    Mean of each channel, 1x1 to ``squeezed`` channels, ReLU, 1x1 back, hard sigmoid.
    """

    squeezed: int


#: what a chain is made of
Step = ConvBn | Conv | SqueezeExcitation


@dataclass(frozen=True)
class Chain:
    """Convolutions one after the other, in one place of the module list.

    Attributes:
        steps: in order.
        named: whether their keys are under ``conv``, as in backbones, or counted at once.
        residual: whether the input is added where it has the shape of the output.
        activation: of the whole, outside of the module.
    """

    steps: tuple[Step, ...]
    named: bool = True
    residual: bool = False
    activation: LayerActivation = "none"

    @property
    def may_add(self) -> bool:
        """Whether its input is added, provided that it has the channels of the output."""
        strides = (getattr(step, "stride", 1) for step in self.steps)
        return self.named and self.residual and all(stride == 1 for stride in strides)


@dataclass(frozen=True)
class Unit:
    """One convolution with batch norm under the keys ``conv`` and ``bn``."""

    step: ConvBn


@dataclass(frozen=True)
class Bottleneck:
    """A residual block of ResNet (He et al. 2016, figure 5): numbered keys, ReLU after the sum.

    Attributes:
        steps: in order; the last without activation.
        shortcut: what the input passes before it is added; None for the input as it is.
    """

    steps: tuple[ConvBn, ...]
    shortcut: ConvBn | None = None


@dataclass(frozen=True)
class ReceptiveField:
    """A receptive-field block (Liu et al. 2018, RFB Net): branches of growing dilation.

    ``relu(project(concatenated branches) + shortcut)``; the shares of the branches' channels are
    of the block's input.

    Attributes:
        branches: each a chain, the last of each without activation.
        project: 1x1 convolution of what the branches give.
        shortcut: what the input passes before it is added; None for the input as it is.
        first: number of the first branch in the keys.
    """

    branches: tuple[tuple[ConvBn, ...], ...]
    project: ConvBn
    shortcut: ConvBn | None = None
    first: int = 0


Layer = Conv | BatchNorm | Relu | MaxPool | L2NormLayer | Chain | Unit | Bottleneck | ReceptiveField
