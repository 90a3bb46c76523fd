"""What a configuration says of a network: the MODEL section of a published experiment, as values.

Nothing here knows how a network is built; :mod:`ssd_small.models.families` does. The defaults are
those that the published implementation has where a file leaves a key out.
"""

from __future__ import annotations

from dataclasses import dataclass

#: a tap (index into the backbone) or the code of an extra level
Entry = int | str
#: of prior boxes: an aspect ratio (two boxes), or one of (width, height) times the level's size
Ratio = int | tuple[float, float]


@dataclass(frozen=True)
class FeatureList:
    """Levels in order, and the channels of each.

    Attributes:
        entries: taps, then codes.
        channels: as many numbers; that of a tap must be what the backbone has there.
    """

    entries: tuple[Entry, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class NetworkConfig:
    """A network in the words of the published configurations.

    Attributes:
        ssds: SSDS, the family of detectors.
        nets: NETS, the backbone.
        image_size: IMAGE_SIZE, (height, width) of the network's input in pixels.
        feature_layer: FEATURE_LAYER: one list, or two for ``fssd`` and ``fssd_lite`` (what is
            fused, then the pyramid).
        steps: STEPS, (down, across) in pixels per level; empty for the ratio of input and map.
        sizes: SIZES, one more than levels, (height, width) in pixels; or the least and the
            greatest scale, two floats.
        aspect_ratios: ASPECT_RATIOS per level, in the order of the boxes.
        clip: CLIP, whether priors are clamped to the unit square.
    """

    ssds: str = "ssd"
    nets: str = "vgg16"
    image_size: tuple[int, int] = (300, 300)
    feature_layer: tuple[FeatureList, ...] = (
        FeatureList((22, 34, "S", "S", "", ""), (512, 1024, 512, 256, 256, 256)),
    )
    steps: tuple[tuple[float, float], ...] = ()
    sizes: tuple[tuple[float, float], ...] | tuple[float, float] = (0.2, 0.95)
    aspect_ratios: tuple[tuple[Ratio, ...], ...] = ((2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))
    clip: bool = True
