"""Small configurations of every family on every backbone."""

from __future__ import annotations

from ssd_small.configs.network import FeatureList, NetworkConfig
from ssd_small.models.backbones import BACKBONES
from ssd_small.models.shapes import Shape, apply

#: what follows the taps in a family: codes of the first list, of the second one
CODES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ssd": (("S", ""), ()),
    "ssd_lite": (("S", "P"), ()),
    "ssd_dual": (("S", "S"), ()),
    "ssd_lite_dual": (("E", "S"), ()),
    "rfb": (("RBF", "RBF", "S"), ()),
    "rfb_lite": (("RBF", ""), ()),
    "fssd": (("S", ""), ("", "S", "")),
    "fssd_lite": (("S", ""), ("S", "")),
}


def backbone_channels(nets: str) -> list[int]:
    """Channels of each layer's output."""
    x, found = Shape(3, 256, 256), []
    for layer in BACKBONES[nets]:
        x, _ = apply(layer, x, 1.0)
        found.append(x.channels)
    return found


def small_config(ssds: str, nets: str, size: tuple[int, int] = (256, 256)) -> NetworkConfig:
    """Two taps, and the codes of the family; defaults elsewhere."""
    channels = backbone_channels(nets)
    taps = (len(channels) * 2 // 3, len(channels) - 1)
    codes, pyramid = CODES[ssds]
    lists = [
        FeatureList(
            (*taps, *codes), (*(channels[tap] for tap in taps), *[128, 96, 64][: len(codes)])
        )
    ]
    if pyramid:
        lists.append(FeatureList(pyramid, (64,) * len(pyramid)))
    levels = len(lists[-1].entries)
    return NetworkConfig(
        ssds, nets, size, tuple(lists), aspect_ratios=((1, 2),) * (levels - 1) + ((2, 3),)
    )
