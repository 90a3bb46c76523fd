"""The detector network in torch, built from a spec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.experiment import read_experiment
from ..errors import BadFile, UsageError
from .blocks import NamedConv, build, steps_of
from .head import HeadConv
from .layers import Layer
from .priors import priors_from_spec
from .registry import get_spec, spec_from_experiment
from .shapes import check_feature_maps, feature_maps
from .spec import Fusion, Head, ModelSpec


class SsdNetwork(nn.Module):
    """A single-shot detector (Liu et al. 2016), with or without a dual path.

    With a dual path (Mudassar & Mukhopadhyay, BMVC 2019, "Split") one set of weights sees two
    resolutions: the fine path feeds the levels tapped from the backbone, a copy sub-sampled
    after ``spec.dual_split`` feeds the extra levels.

    Attributes:
        spec: the spec it was built from.
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
        self._build_layers()
        channels = [shape.channels for shape in feature_maps(spec, width)[1]]
        anchors = [level.num_anchors for level in spec.levels]
        self.loc, self.conf = (
            nn.ModuleList(
                _head(spec.head_of(level), into, count * values, width)
                for level, (into, count) in enumerate(zip(channels, anchors, strict=True))
            )
            for values in (4, num_classes)
        )
        self.register_buffer("priors", torch.from_numpy(priors_from_spec(spec)), persistent=False)

    def _build_layers(self) -> None:
        """Build everything before the heads, in the order of the published state dicts."""
        spec = self.spec
        channels, norms, tapped = 3, [], []
        self.base = nn.ModuleList()
        for index, layer in enumerate(spec.backbone):
            module, channels = build(layer, channels, self.width)
            self.base.append(module)
            norm = spec.norm_at(index)
            if norm is not None:
                norms.append(build(norm.layer, channels, self.width)[0])
            if index in spec.taps:
                tapped.append(channels)
            if index == spec.extras_from % len(spec.backbone):
                fed = channels
        if spec.fusion is None:
            # the published keys are those of a single norm or of a list of norms
            listed = spec.norms_listed
            self.norm = nn.ModuleList(norms) if listed else norms[0] if norms else None
        self.extras = nn.ModuleList()
        for extra in spec.extras:
            for layer in extra.layers:
                module, fed = build(layer, fed, self.width)
                self.extras.append(module)
            tapped.append(fed)
        if spec.fusion is not None:
            self._build_fusion(spec.fusion, tapped)

    def _build_fusion(self, fusion: Fusion, channels: list[int]) -> None:
        self.transforms, self.pyramids = nn.ModuleList(), nn.ModuleList()
        fused = 0
        for transform, source in zip(fusion.transforms, channels, strict=True):
            module, out = build(transform, source, self.width)
            self.transforms.append(NamedConv(module))
            fused += out
        x = fused
        for layer in fusion.pyramid:
            module, x = build(layer, x, self.width)
            self.pyramids.append(NamedConv(module))
        self.norm = nn.BatchNorm2d(fused)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the head outputs.

        Args:
            images: ``[N, 3, H, W]``, preprocessed as ``spec.preprocessing`` specifies.

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
        """Return the feature maps that feed the heads, one per level."""
        sources = self._tapped(images)
        return sources if self.spec.fusion is None else self._fused(self.spec.fusion, sources)

    def _tapped(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the taps and of the extra levels."""
        spec, sources = self.spec, []
        fine, coarse, fed = images, None, images
        # layers that no head depends on are in the state dict but are not run
        for index, layer in enumerate(spec.backbone[: spec.layers_run]):
            module = self.base[index]
            fine = _apply(module, layer, fine)
            if coarse is not None:
                coarse = _apply(module, layer, coarse)
            if index == spec.dual_split and spec.extras:
                coarse = fine[:, :, ::2, ::2]
            if index in spec.taps:
                source = self._normed(index, fine)
                sources.append(source)
                norm = spec.norm_at(index)
                fine = source if norm is not None and norm.feeds_on else fine
            if index == spec.extras_from % len(spec.backbone):
                fed = fine if coarse is None else coarse
        layers = iter(self.extras)
        for extra in spec.extras:
            for layer in extra.layers:
                fed = _apply(next(layers), layer, fed)
            sources.append(fed)
        return sources

    def _normed(self, tap: int, x: Tensor) -> Tensor:
        """Return a tapped map as its head receives it, normalised where the spec has a norm."""
        taps = [norm.tap for norm in self.spec.norms]
        if tap not in taps or self.norm is None:
            return x
        listed = isinstance(self.norm, nn.ModuleList)
        module = self.norm[taps.index(tap)] if listed else self.norm  # type: ignore[index]
        out: Tensor = module(x)
        return out

    def _fused(self, fusion: Fusion, sources: list[Tensor]) -> list[Tensor]:
        """Return the levels of a feature fusion (Li & Zhou 2017, FSSD)."""
        size = sources[0].shape[2:]
        parts: list[Tensor] = []
        for module, layer, source in zip(self.transforms, fusion.transforms, sources, strict=True):
            part = _apply(module, layer, source)
            if parts:
                part = F.interpolate(part, size, mode="bilinear", align_corners=False)
            parts.append(part)
        assert self.norm is not None
        x: Tensor = self.norm(torch.cat(parts, dim=1))
        levels = []
        for module, layer in zip(self.pyramids, fusion.pyramid, strict=True):
            x = _apply(module, layer, x)
            levels.append(x)
        return levels


def _head(head: Head, channels: int, out: int, width: float) -> nn.Module:
    """Build the loc or conf head, with ``out`` channels, of a level whose map has ``channels``."""
    before, channels = steps_of(head.before, channels, width)
    last = HeadConv(channels, out) if head.kernel == 3 else nn.Conv2d(channels, out, head.kernel)
    return nn.Sequential(*before, last) if before else last


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "relu6": F.relu6}


def _apply(module: nn.Module, layer: Layer, x: Tensor) -> Tensor:
    """Apply a layer and its activation, which has no slot in the published module lists."""
    out: Tensor = module(x)
    activation = _ACTIVATIONS.get(getattr(layer, "activation", "none"))
    return activation(out) if activation else out


def _flatten(x: Tensor, values: int) -> Tensor:
    """``[N, A * values, H, W]`` to ``[N, H * W * A, values]``: cells row by row, then anchors."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def create_model(
    model: str | ModelSpec | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    *,
    config: str | Path | None = None,
) -> SsdNetwork:
    """Build a network with random weights, in evaluation mode.

    Args:
        model: a name from :func:`list_models`, or a spec.
        num_classes: classes including background; default: the configuration's, else 81.
        width: channel multiplier; default: the configuration's, else 1.
        config: a configuration file (YAML) that describes the network, instead of ``model``.

    Raises:
        UsageError: the name is unknown, a value is out of range, or not exactly one of ``model``
            and ``config`` is given.
        BadFile: the configuration cannot be read or does not describe a network.
    """
    if (model is None) == (config is None):
        raise UsageError("create_model takes a model or a configuration: pass one of the two")
    if config is not None:
        experiment = read_experiment(config)
        model = spec_from_experiment(experiment)
        num_classes = experiment.described_classes if num_classes is None else num_classes
        width = experiment.options.get("width") if width is None else width
    if model is None:
        raise BadFile(f"{config} describes no network; expected NETS or SSDS in MODEL, or model")
    spec = get_spec(model) if isinstance(model, str) else model
    num_classes = 81 if num_classes is None else num_classes
    return SsdNetwork(spec, num_classes, 1.0 if width is None else width).eval()
