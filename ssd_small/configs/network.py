"""The network in a configuration: the MODEL section of a published experiment, as values.

This module does not know how a network is built; :mod:`ssd_small.models.from_config` does. The
defaults are those of the published implementation for keys that a file leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadFile, quoted
from .kinds import Kind, either, flag, number, several, text, whole

#: a tap (index into the backbone) or the code of an extra level
Entry = int | str
#: prior boxes: an aspect ratio (two boxes), or one box of (width, height) times the level's size
Ratio = int | tuple[float, float]


@dataclass(frozen=True)
class FeatureList:
    """Levels in order, and the channels of each.

    Attributes:
        entries: taps, then codes.
        channels: one number per entry; for a tap, the channels the backbone has there.
    """

    entries: tuple[Entry, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class NetworkConfig:
    """A network in the terms of the published configurations.

    Attributes:
        ssds: SSDS, the family of detectors.
        nets: NETS, the backbone.
        image_size: IMAGE_SIZE, (height, width) of the network's input in pixels.
        feature_layer: FEATURE_LAYER: one list, or two for ``fssd`` and ``fssd_lite`` (what is
            fused, then the pyramid).
        steps: STEPS, (down, across) in pixels per level; empty for the ratio of input to map.
        sizes: SIZES, (height, width) in pixels, one more than there are levels; or two floats, the
            smallest and the largest scale.
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


_TAPS, _CHANNELS, _PIXELS = 100_000, 65_536, 100_000


def _code(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_entry = either(whole(0, _TAPS), Kind("a code", _code))
_pixels = several(number(0, _PIXELS, above=True), 2, 2)
_ratio = either(whole(1, 1000), several(number(0, 1000, above=True), 2, 2))
_pair = several(several(_entry, 1), 2, 2)


def _one_list(value: Any) -> FeatureList:
    """``[[entries], [channels]]``."""
    entries, channels = _pair.take(value)
    numbers = several(whole(1, _CHANNELS), 1).take(list(channels))
    return FeatureList(entries, numbers)


def _feature_layer(value: Any) -> tuple[FeatureList, ...]:
    """One list of levels, or two."""
    try:
        return (_one_list(value),)
    except ValueError:
        lists: tuple[FeatureList, ...] = several(Kind("", _one_list), 2, 2).take(value)
        return lists


def _sizes(value: Any) -> tuple[Any, ...]:
    """Pairs of pixels, or two scales; a list of two whole numbers is ambiguous and refused."""
    try:
        pairs: tuple[Any, ...] = several(_pixels, 1).take(value)
    except ValueError:
        scales: tuple[Any, ...] = several(number(0, 10, above=True), 2, 2).take(value)
        if not isinstance(value, str) and all(type(one) is int for one in value):
            raise
        return scales
    return pairs


#: key -> field of :class:`NetworkConfig`, and the kind of its value
NETWORK_KEYS: Mapping[str, tuple[str, Kind]] = {
    "SSDS": ("ssds", text()),
    "NETS": ("nets", text()),
    "IMAGE_SIZE": ("image_size", several(whole(1, 8192), 2, 2)),
    "FEATURE_LAYER": (
        "feature_layer",
        Kind("[[taps and codes], [channels]], or two of these for fssd", _feature_layer),
    ),
    "STEPS": ("steps", several(_pixels)),
    "SIZES": ("sizes", Kind("pairs of pixels, or two scales such as 0.2, 0.95", _sizes)),
    "ASPECT_RATIOS": ("aspect_ratios", several(several(_ratio, 1), 1)),
    "CLIP": ("clip", flag()),
}


def network_config_from_dict(
    values: Mapping[str, Any], source: object, section: str = "MODEL"
) -> NetworkConfig:
    """Read the MODEL section's keys that describe a network; absent ones have their defaults.

    Args:
        values: values by published key.
        source: file or record that holds them, for messages.
        section: name of the section that holds the keys.

    Raises:
        BadFile: a key does not belong to a network, or a value has the wrong type or is out of
            range. Whether the values make a valid network is not checked here.
    """
    unknown = [one for one in values if one not in NETWORK_KEYS]
    if unknown:
        raise BadFile(
            f"{source}: {section}.{quoted(unknown[0])}: expected keys among "
            f"{', '.join(NETWORK_KEYS)}"
        )
    read = {
        NETWORK_KEYS[key][0]: NETWORK_KEYS[key][1].read(value, f"{section}.{key}", source)
        for key, value in values.items()
    }
    return NetworkConfig(**read)


def network_config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Return all keys of a network's MODEL section, JSON-ready; whole numbers become integers."""
    lists = [[list(one.entries), list(one.channels)] for one in config.feature_layer]
    scales = all(isinstance(size, float) for size in config.sizes)
    return {
        "SSDS": config.ssds,
        "NETS": config.nets,
        "IMAGE_SIZE": list(config.image_size),
        "FEATURE_LAYER": lists[0] if len(lists) == 1 else lists,
        "STEPS": [_plain(pair) for pair in config.steps],
        # two scales are recognised by being floats instead of pairs
        "SIZES": list(config.sizes) if scales else [_plain(pair) for pair in config.sizes],
        "ASPECT_RATIOS": [
            [ratio if isinstance(ratio, int) else _plain(ratio) for ratio in ratios]
            for ratios in config.aspect_ratios
        ],
        "CLIP": config.clip,
    }


def _plain(values: Any) -> list[float]:
    return [int(one) if math.floor(one) == one else one for one in values]
