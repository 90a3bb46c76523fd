"""Networks as data: layers, prior boxes, dual path, preprocessing and published figures.

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
    """One extra feature level: the layers that lead to it from the previous level."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class TapNorm:
    """A layer between a tap and its head.

    Attributes:
        tap: backbone index.
        layer: the layer applied to the tapped map.
        feeds_on: whether its output also feeds the rest of the backbone and the extras.
    """

    tap: int
    layer: Layer
    feeds_on: bool = False


@dataclass(frozen=True)
class Fusion:
    """Feature fusion (Li & Zhou 2017, FSSD): taps and extras become one map, then a pyramid.

    Each source goes through its transform, and all but the first are resized bilinearly to the
    size of the first. Concatenated and batch-normalised, they feed the pyramid, whose maps are the
    levels.

    Attributes:
        transforms: one per tap and extra, in order.
        pyramid: one per level, each fed by the previous one.
    """

    transforms: tuple[Conv, ...]
    pyramid: tuple[Conv, ...]


@dataclass(frozen=True)
class Head:
    """How the loc and conf heads of one level are made.

    Attributes:
        before: steps before the last convolution, with separate weights for loc and conf.
        kernel: side of the last convolution, 1 or 3, which keeps the map's size.
    """

    before: tuple[Step, ...] = ()
    kernel: int = 3


@dataclass(frozen=True)
class Level:
    """The prior boxes of one feature map.

    Attributes:
        step: distance between cells in input pixels, across and down (as configured, not input
            over map: a spec for another input size needs its own steps).
        sizes: side lengths of the square priors in input pixels.
        aspect_ratios: each gives two more priors with the first size's area, whose width over
            height in input pixels is ``a`` and ``1/a``.
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
    """The prior boxes of one feature map that :class:`Level` cannot express.

    Attributes:
        steps: distance between cells in input pixels, (down, across).
        boxes: (width, height) in input pixels, in the order of a cell's priors.
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
    """Figures from the paper's repository: COCO val2017 mAP in percent, fp32 ms per image."""

    map_small: float
    map_medium: float
    map_large: float
    map_all: float
    milliseconds: float | None = None


@dataclass(frozen=True)
class NetworkLayers:
    """Layers of a network with neither name nor configuration; fields as in :class:`ModelSpec`."""

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
        norms_listed: whether the keys of ``norms`` are numbered (``norm.0``), even a single one's.
        extras: further levels, fed by the backbone (by the coarse path in a dual-path network).
        extras_from: backbone index whose output feeds the extras.
        fusion: feature fusion between those levels and the heads; None if there is none.
        heads: one per level; empty if each is a single 3x3 convolution.
        levels: prior boxes, one entry per feature level.
        clip: which prior coordinates are clamped to [0, 1].
        dual_split: backbone index after which a second path continues on every second pixel;
            None without a dual path.
        preprocessing: how a picture becomes network input.
        postprocess: activation, background and variances that belong to the network.
        published: the published figures, if any.
        config: the configuration that the spec was made from, if any.
        written: whether artefacts store it layer by layer, as it has no name or configuration.
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
        """The layers of a network without dual path and fusion."""
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
        """Number of backbone layers that heads depend on; later ones have keys but no effect."""
        feed = self.extras_from % len(self.backbone) if self.extras else 0
        return max(self.taps[-1], feed) + 1

    def norm_at(self, tap: int) -> TapNorm | None:
        """The layer between a tap and its head, if there is one."""
        return next((norm for norm in self.norms if norm.tap == tap), None)
