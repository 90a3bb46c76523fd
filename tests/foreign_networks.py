"""Networks of other projects for tests: torchvision's own, and others built of its parts.

What other projects build differently is built here from what their files are known to hold: names
of tensors, kernels, strides; each is one function of pictures to heads, ``loc [N, P, 4]`` and
``conf [N, P, C]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Heads = Callable[[Tensor], tuple[Tensor, Tensor]]
ANCHORS = (4, 6, 6, 6, 4, 4)


def randomised(net: nn.Module, seed: int) -> nn.Module:
    """A network with other statistics in its batch norms than those of a new one."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
                (module.weight, 0.7, 1.3),
                (module.bias, -0.3, 0.3),
            ):
                assert tensor is not None
                with torch.no_grad():
                    tensor.uniform_(low, high, generator=generator)
    return net.eval()


def torchvision_network(name: str, classes: int, seed: int, full_tail: bool = False) -> Any:
    """One of torchvision's detectors with random weights; its heads are not near nothing.

    ``full_tail``: a backbone as wide as an ImageNet one, which torchvision builds where it
    downloads such weights.
    """
    from torchvision.models import detection, mobilenet_v3_large
    from torchvision.models.detection import ssdlite

    def wide(**given: Any) -> Any:
        return mobilenet_v3_large(**{**given, "reduced_tail": False})

    torch.manual_seed(seed)
    with patch.object(ssdlite, "mobilenet_v3_large", wide if full_tail else mobilenet_v3_large):
        net = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)
    randomised(net, seed)
    if hasattr(net.backbone, "scale_weight"):
        nn.init.uniform_(net.backbone.scale_weight, 10, 30)
    else:  # torchvision begins with weights so small that nothing of the picture is left
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    _spread_heads(net)
    return net


def made_picture() -> npt.NDArray[np.uint8]:
    """``[300, 420, 3]`` RGB with structure at all scales."""
    y, x = np.mgrid[:300, :420]
    random = np.random.default_rng(3)
    levels = np.stack([x * 255 / 419, y * 255 / 299, (x * y) / 64 % 256], axis=-1)
    for _ in range(30):
        top, left = random.integers(0, 260), random.integers(0, 380)
        high, wide = random.integers(8, 90, 2)
        levels[top : top + high, left : left + wide] = random.integers(0, 256, 3)
    return levels.astype(np.uint8)


def tensor_from_picture(picture: npt.NDArray[np.uint8]) -> Tensor:
    """What torchvision's detectors take: ``[3, H, W]``, 0 to 1."""
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def _spread_heads(net: Any) -> None:
    """Scale heads so that their numbers differ as a trained network's do: by 1 and 2 of deviation.

    Otherwise all scores are 1, or all the same.
    """
    heads = (net.head.regression_head, 1.0), (net.head.classification_head, 2.0)
    with torch.no_grad():
        images = net.transform([tensor_from_picture(made_picture())])[0]
        maps = net.backbone(images.tensors).values()
        for part, deviation in heads:
            for module, one in zip(part.module_list, maps, strict=True):
                last = module[-1] if isinstance(module, nn.Sequential) else module
                values = module(one)
                last.weight.mul_(deviation / values.std())
                last.bias.mul_(deviation / values.std())


def torchvision_heads(net: Any) -> Heads:
    """What its post-processing gets."""

    def heads(x: Tensor) -> tuple[Tensor, Tensor]:
        found = net.head(list(net.backbone(x).values()))
        return found["bbox_regression"], found["cls_logits"]

    return heads


def unmatched(theirs: Any, ours: Any, pixels: float, scores: float) -> list[str]:
    """Detections that torchvision alone has, or we alone; each may match one of the other side.

    Args:
        theirs: ``boxes``, ``scores`` and ``labels`` of torchvision, which count the background.
        ours: :class:`ssd_small.detection.picture_detections.PictureDetections`.
        pixels: what a corner may differ by.
        scores: what a score may differ by.
    """
    left, faults = list(range(len(ours.scores))), []
    for box, score, label in zip(*(theirs[key] for key in ("boxes", "scores", "labels")),
                                 strict=True):  # fmt: skip
        fits = [
            i
            for i in left
            if ours.class_indices[i] + 1 == label
            and abs(ours.scores[i] - score) <= scores
            and np.abs(ours.boxes[i] - box).max() <= pixels
        ]
        if fits:
            left.remove(fits[0])
        else:
            faults.append(f"class {label}, score {score:.6f}, box {box}")
    return faults + [f"ours alone: score {ours.scores[i]:.6f}" for i in left]


def nvidia_network(
    classes: int,
    seed: int,
    depth: int = 50,
    channels: tuple[int, ...] = (1024, 512, 512, 256, 256, 256),
) -> tuple[nn.Module, Heads]:
    """A ResNet to its third stage without that stage's stride, with five more levels.

    Heads are reshaped to ``[N, 4 or C, A * H * W]``: a channel is ``number * A + anchor``.
    """
    from torchvision.models import get_model

    torch.manual_seed(seed)
    own = get_model(f"resnet{depth}", weights=None)
    stage = own.layer3[0]
    stage.conv1.stride = stage.conv2.stride = stage.downsample[0].stride = (1, 1)
    trunk = nn.Sequential(
        own.conv1, own.bn1, own.relu, own.maxpool, own.layer1, own.layer2, own.layer3
    )

    def extra(into: int, inner: int, out: int, stride: int, padding: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(into, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, out, 3, stride, padding, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
        )  # fmt: skip

    net = nn.Module()
    net.feature_extractor = nn.Module()
    net.feature_extractor.feature_extractor = trunk
    net.additional_blocks = nn.ModuleList(
        (
            extra(into, inner, out, stride, padding)
            for into, out, (inner, stride, padding) in zip(
                channels[:-1],
                channels[1:],
                ((256, 2, 1), (256, 2, 1), (128, 2, 1), (128, 1, 0), (128, 1, 0)),
                strict=True,
            )
        )
    )
    pairs = list(zip(channels, ANCHORS, strict=True))
    net.loc = nn.ModuleList(nn.Conv2d(c, a * 4, 3, padding=1) for c, a in pairs)
    net.conf = nn.ModuleList(nn.Conv2d(c, a * classes, 3, padding=1) for c, a in pairs)
    randomised(net, seed)

    def heads(x: Tensor) -> tuple[Tensor, Tensor]:
        maps = [trunk(x)]
        for block in net.additional_blocks:
            maps.append(block(maps[-1]))

        def ordered(convs: Any, numbers: int) -> Tensor:
            parts = []
            for conv, one, anchors in zip(convs, maps, ANCHORS, strict=True):
                # [N, numbers, A * cells], then cell before anchor as everywhere else
                out = conv(one).flatten(2).reshape(len(x), numbers, anchors, -1)
                parts.append(out.permute(0, 3, 2, 1).reshape(len(x), -1, numbers))
            return torch.cat(parts, 1)

        return ordered(net.loc, 4), ordered(net.conf, classes)

    return net, heads


class ReceptiveField(nn.Module):
    """The block of the Ultra-Light face detector, from its tensors' names and shapes."""

    def __init__(self, into: int = 64) -> None:
        super().__init__()

        def unit(into: int, out: int, kernel: int = 1, dilation: int = 1) -> nn.Module:
            one = nn.Module()
            frame = dilation * (kernel // 2)
            one.conv = nn.Conv2d(into, out, kernel, 1, frame, dilation, bias=False)
            one.bn = nn.BatchNorm2d(out)
            return one

        plans = ((16, 16, 2), (16, 16, 3), (12, 16, 16, 5))
        for number, (*channels, dilation) in enumerate(plans):
            units = [unit(into, 8)]
            for before, out in zip((8, *channels), channels, strict=False):
                last = len(units) == len(channels)
                units.append(unit(before, out, 3, dilation if last else 1))
            self.add_module(f"branch{number}", nn.ModuleList(units))
        self.ConvLinear, self.shortcut = unit(48, 64), unit(into, 64)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for number in range(3):
            y, units = x, list(self.get_submodule(f"branch{number}").children())
            for place, one in enumerate(units):
                y = one.bn(one.conv(y))
                y = F.relu(y) if 0 < place < len(units) - 1 else y
            outputs.append(y)
        joined = self.ConvLinear.bn(self.ConvLinear.conv(torch.cat(outputs, 1)))
        return F.relu(joined + self.shortcut.bn(self.shortcut.conv(x)))


def _block(into: int, out: int, stride: int, separable: bool) -> nn.Sequential:
    layers = [
        nn.Conv2d(into, into if separable else out, 3, stride, 1, groups=into if separable else 1,
                  bias=False),
        nn.BatchNorm2d(into if separable else out), nn.ReLU(),
    ]  # fmt: skip
    if separable:
        layers += [nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


def face_network(seed: int, receptive_field: bool) -> tuple[nn.Module, Heads]:
    """The Ultra-Light face detector, RFB or slim, of two classes."""
    torch.manual_seed(seed)
    channels = (16, 32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256)
    strides = (2, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1, 2, 1)
    blocks: list[nn.Module] = []
    for index, (out, stride) in enumerate(zip(channels, strides, strict=True)):
        blocks.append(_block(channels[index - 1] if index else 3, out, stride, index > 0))
    if receptive_field:
        blocks[7] = ReceptiveField()
    net = nn.Module()
    net.base_net = nn.ModuleList(blocks)

    def separable(into: int, out: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(into, into, 3, stride, 1, groups=into), nn.ReLU(), nn.Conv2d(into, out, 1)
        )

    net.extras = nn.ModuleList(
        [nn.Sequential(nn.Conv2d(256, 64, 1), nn.ReLU(), separable(64, 256, 2), nn.ReLU())]
    )
    for name, numbers in (("regression_headers", 4), ("classification_headers", 2)):
        pairs = ((64, 3), (128, 2), (256, 2))
        heads = [separable(c, a * numbers) for c, a in pairs]
        last = nn.Conv2d(256, 3 * numbers, 3, padding=1)
        net.add_module(name, nn.ModuleList([*heads, last]))
    randomised(net, seed)

    def heads_of(x: Tensor) -> tuple[Tensor, Tensor]:
        maps = []
        for index, block in enumerate(net.base_net):
            x = block(x)
            if index in (7, 10, 12):
                maps.append(x)
        maps.append(net.extras[0](x))
        return tuple(  # type: ignore[return-value]
            torch.cat(
                [
                    head(one).permute(0, 2, 3, 1).reshape(len(x), -1, numbers)
                    for head, one in zip(net.get_submodule(name), maps, strict=True)
                ],
                1,
            )
            for name, numbers in (("regression_headers", 4), ("classification_headers", 2))
        )

    return net, heads_of
