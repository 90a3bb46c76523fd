"""The convolution of a head, whose gradient in training is zero nearly everywhere.

Hard negative mining (Liu et al. 2016, section 2.2) lets only a few hundred of the thousands of
priors into the loss. The gradient is exactly zero for all others, and so for whole cells of the
map, whose products can be skipped. With 81 classes, heads are 15 % of VGG16's arithmetic and 55 %
of ``mobilenet_v1_s1l0``'s, two thirds of it in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_TAPS = 9  # of a 3x3 kernel


def sparse_share(out: int) -> float:
    """Largest share of cells with a gradient at which skipping the others pays off.

    Gathering and scattering a cell costs as much as one or two hundred output channels. On one CPU
    the break-even point was between a tenth and a fifth of the cells for 24 channels, and about
    four fifths for 546; this function stays below it.
    """
    return out / (out + 200)


class HeadConv(nn.Conv2d):
    """A 3x3 convolution, padding 1, that skips cells without a gradient; CPU only.

    For finite inputs the gradients equal those of ``nn.Conv2d`` up to the order of summation, and
    are the same in every run. (With an infinite input under a cell without a gradient,
    ``nn.Conv2d`` gives NaN.) There is no second derivative.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """``[N, channels, H, W]`` to ``[N, out, H, W]``."""
        learns = self.training and torch.is_grad_enabled() and input.device.type == "cpu"
        if not learns or input.dim() != 4:
            return super().forward(input)
        assert self.bias is not None
        tensors = [input, self.weight, self.bias]
        if torch.is_autocast_enabled("cpu") and input.dtype != torch.float64:
            half = torch.get_autocast_dtype("cpu")
            tensors = [tensor.to(half) for tensor in tensors]
        out: Tensor = _HeadConvolution.apply(*tensors)
        return out


class _HeadConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        with torch.autocast("cpu", enabled=False):
            x, weight = ctx.saved_tensors
            return _gradients(grad, x, weight, ctx.needs_input_grad)


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight and bias from the output's, ``[N, out, H, W]``."""
    rows = grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1])  # [N * H * W, out]
    cells = (rows != 0).any(dim=1).nonzero().flatten()  # [M]; a NaN is not 0
    if len(cells) > sparse_share(grad.shape[1]) * len(rows):
        return _dense_gradients(grad, x, weight, wanted)
    return _sparse_gradients(rows[cells], cells, x, weight)


def _dense_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    one = [1, 1]
    gradients: tuple[Tensor | None, Tensor | None, Tensor | None] = (
        torch.ops.aten.convolution_backward(
            grad, x, weight, [grad.shape[1]], one, one, one, False, [0, 0], 1, list(wanted)
        )
    )
    return gradients


def _sparse_gradients(
    grad_rows: Tensor, cells: Tensor, x: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias from the cells that have one.

    Args:
        grad_rows: ``[M, out]``.
        cells: ``[M]`` positions in N * H * W, each once.
        x: ``[N, channels, H, W]``.
        weight: ``[out, channels, 3, 3]``.
    """
    _, channels, height, width = x.shape
    framed = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))  # [N, H + 2, W + 2, channels]
    image, cell = cells // (height * width), cells % (height * width)
    corner = (image * (height + 2) + cell // width) * (width + 2) + cell % width
    steps = torch.arange(3)
    taps = corner[:, None] + (steps[:, None] * (width + 2) + steps).flatten()  # [M, 9]
    pixels = framed.reshape(-1, channels)
    patches = pixels[taps].flatten(1)  # [M, 9 * channels]
    kernel = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)  # [out, 9 * channels]
    grad_weight = (grad_rows.T @ patches).view(-1, 3, 3, channels).permute(0, 3, 1, 2)
    grad_patches = (grad_rows @ kernel).view(len(cells), _TAPS, channels)
    # nine contributions in half precision are summed in single precision
    grad_pixels = torch.zeros_like(pixels, dtype=torch.promote_types(x.dtype, torch.float32))
    # no two cells have the same pixel at the same tap, so one step never adds to a pixel twice
    for tap in range(_TAPS):
        grad_pixels[taps[:, tap]] += grad_patches[:, tap]
    grad_x = grad_pixels.view(framed.shape)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    return grad_x.to(x.dtype), grad_weight, grad_rows.sum(dim=0)
