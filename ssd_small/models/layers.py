"""The layers that networks are made of, as data.

``blocks.py`` builds each in torch, and ``shapes.py`` computes its effect on a feature map; both
read these values and know no network by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LayerActivation = Literal["relu", "relu6", "leaky", "hardswish", "none"]
#: epsilon of batch norms, unless a network specifies another
BATCH_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Share:
    """Channels derived from those of the block's input: ``input // divisor * times``.

    At least one, a limit that only networks of small width reach.
    """

    divisor: int = 1
    times: int = 1


#: a number from the table, which the width scales, or one derived from the block's input
Channels = int | Share


def scaled_channels(channels: int, width: float) -> int:
    """Scale a channel count by a width multiplier, to the nearest multiple of 8, at least 8."""
    return channels if width == 1.0 else max(8, int(channels * width / 8 + 0.5) * 8)


def channel_count(channels: Channels, block_input: int, width: float) -> int:
    """Return the channels of a convolution in a block whose input has ``block_input`` channels."""
    if isinstance(channels, Share):
        return max(block_input // channels.divisor * channels.times, 1)
    return scaled_channels(channels, width)


@dataclass(frozen=True)
class Conv:
    """A convolution without batch norm, and its activation.

    The activation has no slot of its own in the module list, except within a chain.

    Attributes:
        out: output channels; None for a depthwise convolution, which keeps those of its input.
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
    """A batch norm with its own slot in the module list."""


@dataclass(frozen=True)
class Relu:
    """A ReLU with its own slot in the module list."""


@dataclass(frozen=True)
class MaxPool:
    """Max pooling; ``kernel=1, stride=1`` stands for a removed stride that keeps its slot."""

    kernel: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False


@dataclass(frozen=True)
class L2NormLayer:
    """Scaling of each pixel's channel vector to a learned length."""


@dataclass(frozen=True)
class ConvBn:
    """A convolution, batch norm and activation: what blocks are made of.

    Attributes:
        out: output channels; None for a depthwise convolution, which keeps those of its input.
        kernel: side of the kernel, or (height, width).
        stride: in both directions.
        padding: in both directions; None for the padding that keeps the map's size at stride 1.
        dilation: in both directions.
        activation: activation after the batch norm.
        bias: whether the convolution has a bias, which the batch norm would make redundant.
        eps: epsilon of the batch norm.
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
        """Padding (above and below, left and right)."""
        if self.padding is not None:
            return self.padding, self.padding
        high, wide = self.window
        return self.dilation * (high - 1) // 2, self.dilation * (wide - 1) // 2


@dataclass(frozen=True)
class SqueezeExcitation:
    """Channels weighted by the content of the whole map (Hu et al. 2018), as in MobileNetV3.

    Mean of each channel, 1x1 to ``squeezed`` channels, ReLU, 1x1 back, hard sigmoid.
    """

    squeezed: int


#: a step of a chain
Step = ConvBn | Conv | SqueezeExcitation


@dataclass(frozen=True)
class Chain:
    """Convolutions one after the other, in one slot of the module list.

    Attributes:
        steps: the steps in order.
        named: whether their keys are under ``conv``, as in backbones, or directly numbered.
        residual: whether the input is added to the output if their shapes agree.
        activation: activation after the whole chain, outside the module.
    """

    steps: tuple[Step, ...]
    named: bool = True
    residual: bool = False
    activation: LayerActivation = "none"

    @property
    def may_add(self) -> bool:
        """Whether the input is added, provided that it has as many channels as the output."""
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
        steps: the steps in order; the last has no activation.
        shortcut: convolution of the input before it is added; None to add the input itself.
    """

    steps: tuple[ConvBn, ...]
    shortcut: ConvBn | None = None


@dataclass(frozen=True)
class ReceptiveField:
    """A receptive-field block (Liu et al. 2018, RFB Net): branches of growing dilation.

    ``relu(project(concatenated branches) + shortcut)``; a :class:`Share` in a branch refers to the
    channels of the block's input.

    Attributes:
        branches: the steps of each branch; the last of each has no activation.
        project: 1x1 convolution of the concatenated branches.
        shortcut: convolution of the input before it is added; None to add the input itself.
        first: number of the first branch in the keys.
    """

    branches: tuple[tuple[ConvBn, ...], ...]
    project: ConvBn
    shortcut: ConvBn | None = None
    first: int = 0


Layer = Conv | BatchNorm | Relu | MaxPool | L2NormLayer | Chain | Unit | Bottleneck | ReceptiveField
