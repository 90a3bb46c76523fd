"""What a network is, as data: layers, prior boxes, dual path, preprocessing, published figures.

A spec holds everything that distinguishes one SSD from another; the building blocks
(``blocks.py``), the shape arithmetic (``shapes.py``) and the prior boxes (``priors.py``) read
it and know no network by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..configs.network import NetworkConfig
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams
from .layers import Conv, Layer, Step


@dataclass(frozen=True)
class Extra:
    """One extra feature level: the layers that lead from the level before to this one."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class TapNorm:
    """A layer between a tap and its head.

    Attributes:
        tap: backbone index.
        layer: what the tapped map passes.
        feeds_on: whether its output also continues through the backbone and into the extras.
    """

    tap: int
    layer: Layer
    feeds_on: bool = False


@dataclass(frozen=True)
class Fusion:
    """Feature fusion (Li & Zhou 2017, FSSD): taps and extras become one map, and that a pyramid.

    Each source passes its transform, all but the first are resized bilinearly to the size of the
    first; concatenated and batch-normalized they feed the pyramid, whose maps are the levels.

    Attributes:
        transforms: one per tap and extra, in order.
        pyramid: one per level, each fed by the one before.
    """

    transforms: tuple[Conv, ...]
    pyramid: tuple[Conv, ...]


@dataclass(frozen=True)
class Head:
    """How loc and conf of one level come from its map.

    Attributes:
        before: what the map passes before the last convolution, once for loc and once for conf.
        kernel: side of the last convolution, 1 or 3, which keeps the map's size.
    """

    before: tuple[Step, ...] = ()
    kernel: int = 3


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
class ListedLevel:
    """The prior boxes of one feature map, where they are not squares and ratios of one step.

    Attributes:
        steps: distance of two cells in input pixels, (down, across).
        boxes: (width, height) in input pixels, in the order of the priors of a cell.
    """

    steps: tuple[float, float]
    boxes: tuple[tuple[float, float], ...]

    @property
    def num_anchors(self) -> int:
        """Priors per cell."""
        return len(self.boxes)


AnyLevel = Level | ListedLevel


@dataclass(frozen=True)
class Published:
    """Figures of the paper's repository: COCO val2017 mAP in percent, fp32 ms per image."""

    map_small: float
    map_medium: float
    map_large: float
    map_all: float
    milliseconds: float | None = None


@dataclass(frozen=True)
class NetworkLayers:
    """The layers of a network that has neither name nor configuration; fields of ModelSpec."""

    title: str
    backbone: tuple[Layer, ...]
    taps: tuple[int, ...]
    norms: tuple[TapNorm, ...]
    extras: tuple[Extra, ...]
    heads: tuple[Head, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A single-shot detector.

    Attributes:
        name: as in ``create_model``.
        title: the name in the published table.
        backbone: layers, in the order of the ``base`` module list.
        taps: backbone indices whose outputs are feature levels, in ascending order.
        norms: layers between taps and heads.
        norms_listed: whether the keys of ``norms`` are counted (``norm.0``) though there be one.
        extras: further levels, fed by the backbone (by its coarse twin in a dual path).
        extras_from: backbone index whose output feeds the extras.
        fusion: what lies between those levels and the heads; None for nothing.
        heads: one per level; empty for a 3x3 convolution each.
        levels: prior boxes, one entry per feature level.
        clip: which prior coordinates are clamped to [0, 1].
        dual_split: backbone index after which a second path continues on every second pixel;
            None without dual path.
        preprocessing: how an image becomes network input.
        postprocess: activation, background and variances that belong to the network.
        published: the published figures, if any.
        config: what the spec was made from, if that was a configuration.
        written: whether artefacts carry it layer by layer, for it has no name and no configuration.
    """

    name: str
    title: str
    backbone: tuple[Layer, ...]
    taps: tuple[int, ...]
    levels: tuple[AnyLevel, ...]
    norms: tuple[TapNorm, ...] = ()
    norms_listed: bool = False
    extras: tuple[Extra, ...] = ()
    extras_from: int = -1
    fusion: Fusion | None = None
    heads: tuple[Head, ...] = ()
    clip: Literal["all", "size", "none"] = "all"
    dual_split: int | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    postprocess: PostprocessParams = field(default_factory=PostprocessParams)
    published: Published | None = None
    config: NetworkConfig | None = None
    written: bool = False

    @property
    def layers(self) -> NetworkLayers:
        """What it is made of, of a network without dual path and fusion."""
        return NetworkLayers(
            self.title, self.backbone, self.taps, self.norms, self.extras, self.heads
        )

    def head_of(self, level: int) -> Head:
        """The head of a level."""
        return self.heads[level] if self.heads else Head()

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network input in pixels."""
        return self.preprocessing.height, self.preprocessing.width

    @property
    def layers_run(self) -> int:
        """Number of backbone layers that heads depend on; what follows has keys, but no use."""
        feed = self.extras_from % len(self.backbone) if self.extras else 0
        return max(self.taps[-1], feed) + 1

    def norm_at(self, tap: int) -> TapNorm | None:
        """The layer between a tap and its head, if there is one."""
        return next((norm for norm in self.norms if norm.tap == tap), None)
