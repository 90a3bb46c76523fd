"""The detector network in torch, built from a spec."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from .blocks import L2Norm, build
from .head import HeadConv
from .priors import priors_from_spec
from .registry import get_spec
from .shapes import check_feature_maps
from .spec import Layer, ModelSpec, scaled_channels


class SsdNetwork(nn.Module):
    """A single-shot detector (Liu et al. 2016), with or without dual path.

    With a dual path (Mudassar & Mukhopadhyay, BMVC 2019, "Split") one set of weights sees two
    resolutions: the fine path feeds the levels tapped from the backbone, a copy sub-sampled
    after ``spec.dual_split`` feeds the extra levels.

    Attributes:
        spec: what was built.
        num_classes: classes including background.
        width: channel multiplier.
        priors: ``[P, 4]`` (cx, cy, w, h), unit square; not part of the state dict.
    """

    priors: Tensor

    def __init__(self, spec: ModelSpec, num_classes: int = 81, width: float = 1.0) -> None:
        super().__init__()
        if num_classes < 2 or not 0 < width <= 4:
            raise UsageError(
                f"num_classes {num_classes}, width {width}: expected at least 2 classes "
                "(background included) and a width in (0, 4]"
            )
        check_feature_maps(spec)
        self.spec, self.num_classes, self.width = spec, num_classes, width
        source_channels: list[int] = []
        channels = 3
        self.base = nn.ModuleList()
        for index, layer in enumerate(spec.backbone):
            module, channels = build(layer, channels, width)
            self.base.append(module)
            if index in spec.taps:
                source_channels.append(channels)
        normalized = [source_channels[spec.taps.index(tap)] for tap in spec.normalized_taps]
        # the published key is "norm.weight": one norm, for the first level
        self.norm = L2Norm(normalized[0]) if normalized else None
        self.extras = nn.ModuleList()
        for layer in self._extra_layers():
            module, channels = build(layer, channels, width)
            self.extras.append(module)
        source_channels += [scaled_channels(extra.layers[-1].out, width) for extra in spec.extras]  # type: ignore[union-attr]
        pairs = list(zip(source_channels, spec.levels, strict=True))
        self.loc = nn.ModuleList(HeadConv(c, v.num_anchors * 4) for c, v in pairs)
        self.conf = nn.ModuleList(HeadConv(c, v.num_anchors * num_classes) for c, v in pairs)
        self.register_buffer("priors", torch.from_numpy(priors_from_spec(spec)), persistent=False)

    def _extra_layers(self) -> list[Layer]:
        return [layer for extra in self.spec.extras for layer in extra.layers]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs.

        Args:
            images: ``[N, 3, H, W]`` preprocessed as ``spec.preprocessing`` says.

        Returns:
            ``loc [N, P, 4]`` box offsets and ``conf [N, P, C]`` logits.
        """
        sources = self._sources(images)
        locs = [_flatten(head(x), 4) for head, x in zip(self.loc, sources, strict=True)]
        confs = [
            _flatten(head(x), self.num_classes) for head, x in zip(self.conf, sources, strict=True)
        ]
        return torch.cat(locs, dim=1), torch.cat(confs, dim=1)

    def _sources(self, images: Tensor) -> list[Tensor]:
        """Feature maps the heads see, one per level."""
        sources = []
        fine, coarse = images, None
        for index, (module, layer) in enumerate(zip(self.base, self.spec.backbone, strict=True)):
            fine = _apply(module, layer, fine)
            if coarse is not None:
                coarse = _apply(module, layer, coarse)
            if index == self.spec.dual_split:
                coarse = fine[:, :, ::2, ::2]
            if index in self.spec.taps:
                normalize = self.norm is not None and index in self.spec.normalized_taps
                sources.append(self.norm(fine) if normalize else fine)  # type: ignore[misc]
        x = fine if coarse is None else coarse
        layers = iter(self.extras)
        for extra in self.spec.extras:
            for layer in extra.layers:
                x = _apply(next(layers), layer, x)
            sources.append(x)
        return sources


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "relu6": F.relu6}


def _apply(module: nn.Module, layer: Layer, x: Tensor) -> Tensor:
    """A layer and the activation that has no slot of its own in the published module lists."""
    out: Tensor = module(x)
    activation = _ACTIVATIONS.get(getattr(layer, "activation", "none"))
    return activation(out) if activation else out


def _flatten(x: Tensor, values: int) -> Tensor:
    """``[N, A * values, H, W]`` to ``[N, H * W * A, values]``: cells row by row, then anchors."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def create_model(model: str | ModelSpec, num_classes: int = 81, width: float = 1.0) -> SsdNetwork:
    """Build a network with random weights, in evaluation mode.

    Args:
        model: a name of :func:`list_models`, or a spec.
        num_classes: classes including background.
        width: channel multiplier.

    Raises:
        UsageError: unknown name, or values out of range.
    """
    spec = get_spec(model) if isinstance(model, str) else model
    return SsdNetwork(spec, num_classes, width).eval()
