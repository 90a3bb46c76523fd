"""The networks with names: the published table, as configurations."""

from __future__ import annotations

from dataclasses import dataclass

from ..configs.network import Entry, FeatureList, NetworkConfig
from .spec import Published


@dataclass(frozen=True)
class NamedNetwork:
    """A row of the table.

    Attributes:
        name: as in ``create_model``.
        title: the name in the published table.
        config: the network's configuration.
        published: its published figures; None for a network that is not in that table.
    """

    name: str
    title: str
    config: NetworkConfig
    published: Published | None = None


def _config(
    ssds: str, nets: str, codes: tuple[str, ...], steps: tuple[int, ...], sizes: tuple[int, ...]
) -> NetworkConfig:
    vgg = nets.startswith("vgg16")
    taps: tuple[Entry, ...] = (22, 34) if vgg else (11, 13)
    # the fifth level has ratio 3 too where the first stride was removed
    ratios = 5 if nets == "mobilenet_v1_S1L0" else 4
    return NetworkConfig(
        ssds,
        nets,
        feature_layer=(
            FeatureList((*taps, *codes), (512, 1024, 512, 256, 256, 256 if vgg else 128)),
        ),
        steps=tuple((step, step) for step in steps),
        sizes=tuple((size, size) for size in sizes),
        aspect_ratios=((1, 2, 3),) * ratios + ((1, 2),) * (6 - ratios),
    )


NAMED = (
    NamedNetwork(
        "vgg16",
        "VGG16",
        _config(
            "ssd",
            "vgg16",
            ("S", "S", "", ""),
            (8, 16, 32, 64, 100, 300),
            (30, 60, 111, 162, 213, 264, 315),
        ),
        Published(6.9, 27.9, 40.3, 24.6, 12.1),
    ),
    NamedNetwork(
        "vgg16_s1l2",
        "VGG16-S1L2",
        _config(
            "ssd",
            "vgg16_S1L2",
            ("S", "S", "S", "S"),
            (4, 8, 16, 32, 64, 100),
            (15, 30, 60, 111, 162, 213, 264),
        ),
        Published(11.2, 27.3, 33.4, 23.7),
    ),
    NamedNetwork(
        "vgg16_s1l2_dual",
        "VGG16-S1L2 Dualpath-Split",
        _config(
            "ssd_dual",
            "vgg16_S1L2",
            ("S", "S", "", ""),
            (4, 8, 32, 64, 100, 300),
            (15, 30, 111, 162, 213, 264, 315),
        ),
        Published(13.7, 31.4, 41.3, 28.5, 31.1),
    ),
    NamedNetwork(
        "mobilenet_v1",
        "MobilenetV1",
        _config(
            "ssd_lite",
            "mobilenet_v1",
            ("S", "S", "S", "S"),
            (16, 32, 64, 100, 150, 300),
            (45, 90, 135, 180, 225, 270, 315),
        ),
        Published(1.8, 19.1, 36.3, 18.8, 6.9),
    ),
    NamedNetwork(
        "mobilenet_v1_s1l0",
        "MobilenetV1-S1L0",
        _config(
            "ssd_lite",
            "mobilenet_v1_S1L0",
            ("S", "S", "S", "P"),
            (8, 16, 32, 64, 100, 300),
            (10, 45, 90, 135, 180, 225, 270),
        ),
        Published(7.9, 25.2, 28.6, 19.6, 12.1),
    ),
    NamedNetwork(
        "mobilenet_v1_s1l0_dual",
        "MobilenetV1-S1L0 Dualpath-Split",
        _config(
            "ssd_lite_dual",
            "mobilenet_v1_S1L0",
            ("S", "S", "S", "S"),
            (8, 16, 64, 100, 150, 300),
            (10, 45, 135, 180, 225, 270, 315),
        ),
        Published(8.2, 25.0, 30.8, 20.7),
    ),
    # An earlier S1L0 ended in a padded extra (last map 2x2, step 150). Its weights have the same
    # shapes, so a checkpoint cannot tell which it belongs to: such a network is requested by name.
    NamedNetwork(
        "mobilenet_v1_s1l0_fmap2",
        "MobilenetV1-S1L0 (2x2 last map)",
        _config(
            "ssd_lite",
            "mobilenet_v1_S1L0",
            ("S", "S", "S", "S"),
            (8, 16, 32, 64, 100, 150),
            (10, 45, 90, 135, 180, 225, 270),
        ),
    ),
)
