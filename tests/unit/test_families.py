"""Networks from configurations: what a family builds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from family_configs import small_config
from torch.utils.flop_counter import FlopCounterMode

from ssd_small.configs.network import FeatureList, NetworkConfig
from ssd_small.errors import BadFile
from ssd_small.models.backbones import BACKBONES
from ssd_small.models.families import FAMILIES
from ssd_small.models.fit import width_from_state
from ssd_small.models.from_config import spec_from_config
from ssd_small.models.network import SsdNetwork, create_model
from ssd_small.models.registry import get_spec, known_models
from ssd_small.models.shapes import summarize
from ssd_small.models.spec import ModelSpec

CLASSES, WIDTH = 4, 0.125


def built(ssds: str, nets: str) -> tuple[ModelSpec, SsdNetwork]:
    spec = spec_from_config(small_config(ssds, nets, (192, 192)))
    torch.manual_seed(0)
    return spec, create_model(spec, CLASSES, WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize("ssds", FAMILIES)
@pytest.mark.parametrize("nets", BACKBONES)
def test_arithmetic_agrees_with_every_backbone_in_every_family(nets: str, ssds: str) -> None:
    size = (232, 301)
    spec = spec_from_config(small_config(ssds, nets, size))
    with torch.device("meta"):
        net = SsdNetwork(spec, CLASSES, WIDTH).eval()
        maps = [tuple(x.shape[1:]) for x in net._sources(torch.empty(1, 3, *size))]
        with FlopCounterMode(display=False) as counter:
            loc, conf = net(torch.empty(1, 3, *size))
    summary = summarize(spec, CLASSES, WIDTH)
    assert maps == [(s.channels, s.height, s.width) for s in summary.levels]
    assert sum(p.numel() for p in net.parameters()) == summary.cost.parameters
    assert counter.get_total_flops() == 2 * summary.cost.macs
    assert loc.shape == (1, summary.num_priors, 4)
    assert conf.shape == (1, summary.num_priors, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1.0, 0.3, 0.125])
@pytest.mark.parametrize(
    ("ssds", "nets"),
    [
        ("ssd_lite", "mobilenet_v2"),
        ("rfb", "darknet_53"),
        ("rfb_lite", "resnet_50"),
        ("fssd", "vgg16"),
    ],
)
def test_a_width_is_read_off_weights_whose_channels_follow_from_others(
    ssds: str, nets: str, width: float
) -> None:
    spec = spec_from_config(small_config(ssds, nets))
    with torch.device("meta"):
        state = SsdNetwork(spec, CLASSES, width).state_dict()
        found = width_from_state(state, spec)
        assert found is not None
        again = SsdNetwork(spec, CLASSES, found).state_dict()
    # several widths give the same channels
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in state.items()}


def test_names_are_those_of_family_and_backbone_but_for_the_named() -> None:
    config = small_config("rfb_lite", "mobilenet_v1_S1L4")
    assert spec_from_config(config).name == "rfb_lite_mobilenet_v1_s1l4"
    for name in known_models():
        named = get_spec(name)
        assert named.config is not None
        assert spec_from_config(named.config) == named


def test_the_defaults_of_the_published_implementation_are_a_network() -> None:
    spec = spec_from_config(NetworkConfig())
    assert spec.name == "ssd_vgg16"
    # four boxes a cell for two ratios, two for one: a list without 1 has no squares
    assert [level.num_anchors for level in spec.levels] == [4, 4, 4, 4, 2, 2]
    assert summarize(spec).num_priors == 4 * (38**2 + 19**2 + 10**2 + 5**2) + 2 * (3**2 + 1)


# --- what the families do differently, by what changes what


@pytest.mark.slow
def test_the_first_norm_does_not_feed_on_and_the_second_of_rfb_does() -> None:
    spec, net = built("rfb", "mobilenet_v1")
    image = torch.rand(1, 3, *spec.input_size)
    with torch.inference_mode():
        before = net._sources(image)
        _disturb(net.norm[0])  # type: ignore[index]
        first = net._sources(image)
        _disturb(net.norm[1])  # type: ignore[index]
        second = net._sources(image)
    assert not torch.equal(before[0], first[0])
    assert all(torch.equal(a, b) for a, b in zip(before[1:], first[1:], strict=True))
    assert torch.equal(first[0], second[0])
    assert not any(torch.equal(a, b) for a, b in zip(first[1:], second[1:], strict=True))


@pytest.mark.slow
def test_a_third_tap_of_rfb_sees_what_the_second_was_made_into() -> None:
    config = small_config("rfb", "mobilenet_v1", (192, 192))
    listed = config.feature_layer[0]
    three = replace(
        config,
        feature_layer=(FeatureList((5, *listed.entries), (256, *listed.channels)),),
        aspect_ratios=((1, 2), *config.aspect_ratios),
    )
    net = create_model(spec_from_config(three), CLASSES, WIDTH)
    image = torch.rand(1, 3, *three.image_size)
    with torch.inference_mode():
        before = net._sources(image)
        _disturb(net.norm[1])  # type: ignore[index]
        after = net._sources(image)
    assert torch.equal(before[0], after[0])
    assert not any(torch.equal(a, b) for a, b in zip(before[1:], after[1:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("ssds", ["ssd", "ssd_lite", "rfb_lite"])
def test_one_norm_changes_the_first_level_alone(ssds: str) -> None:
    spec, net = built(ssds, "mobilenet_v2")
    image = torch.rand(1, 3, *spec.input_size)
    assert net.norm is not None
    with torch.inference_mode():
        before = net._sources(image)
        _disturb(net.norm)
        after = net._sources(image)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [False] + [True] * 3


def _disturb(module: torch.nn.Module) -> None:
    for value in module.parameters():
        value.mul_(-1).add_(0.5)


@pytest.mark.slow
def test_extras_of_feature_fusion_may_be_negative_and_those_of_ssd_may_not() -> None:
    for ssds, may in (("ssd", False), ("ssd_lite", False), ("fssd", True), ("fssd_lite", True)):
        spec, net = built(ssds, "mobilenet_v1")
        with torch.inference_mode():
            maps = net._tapped(torch.randn(1, 3, *spec.input_size))
        assert any(bool((x < 0).any()) for x in maps[2:]) == may, ssds


def test_fusion_rectifies_before_it_resizes_and_resizes_all_but_the_first() -> None:
    """One pixel of a 1x1 map is everywhere; of a 2x2 map, the quarter points lie between pixels."""
    spec, net = built("fssd", "mobilenet_v1")
    assert spec.fusion is not None
    for module in net.transforms:
        torch.nn.init.zeros_(module.conv.weight)
        torch.nn.init.zeros_(module.conv.bias)
    channels = net.transforms[1].conv.in_channels
    net.transforms[1].conv.weight.data[0, 0] = 1  # of the second source, the first channel
    sources = [torch.zeros(1, t.conv.in_channels, 4, 4) for t in net.transforms]
    sources[1] = torch.zeros(1, channels, 2, 2)
    sources[1][0, 0] = torch.tensor([[4.0, -4.0], [0.0, 0.0]])
    seen: list[torch.Tensor] = []
    assert net.norm is not None
    net.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net.pyramids = torch.nn.ModuleList()
    with torch.inference_mode():
        net._fused(replace(spec.fusion, pyramid=()), sources)
    first = net.transforms[0].conv.out_channels
    joined = seen[0][0, first]  # the first channel of the second source
    # corners are not aligned: rows and columns 0 to 3 lie at -1/4, 1/4, 3/4, 5/4 of the two pixels
    along = torch.tensor([1.0, 0.75, 0.25, 0.0])
    torch.testing.assert_close(joined, 4 * along[:, None] * along[None, :])
    assert not seen[0][0, :first].any()


def test_the_dual_path_of_the_lite_family_splits_after_the_first_layer() -> None:
    for ssds, split in (("ssd_dual", 4), ("ssd_lite_dual", 0)):
        for nets in ("vgg16", "resnet_50"):
            assert spec_from_config(small_config(ssds, nets)).dual_split == split


# --- refusals


def listed(*pairs: tuple[int | str, int]) -> FeatureList:
    return FeatureList(tuple(entry for entry, _ in pairs), tuple(channels for _, channels in pairs))


VGG = ((22, 512), (34, 1024))
#: what is changed in a sound configuration of (SSDS, NETS), and what the message says
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("yolo_v3", "darknet_53", {}, "SSDS 'yolo_v3' .*expected one of ssd, "),
    ("ssd", "vgg19", {}, "NETS 'vgg19' .*expected one of vgg16, "),
    ("ssd", "resnet_18", {}, "resnet_18: .*cannot be built"),
    ("ssd", "resnet_34", {}, "resnet_34: .*cannot be built"),
    ("ssd", "vgg16", {"feature_layer": (listed((22, 256), (34, 1024), ("S", 64)),)}, "256 .* 512"),
    ("ssd", "vgg16", {"feature_layer": (listed((34, 1024), (22, 512), ("S", 64)),)}, "ascending"),
    ("ssd", "vgg16", {"feature_layer": (listed((22, 512), ("S", 64), (34, 1024)),)}, "then codes"),
    ("ssd", "vgg16", {"feature_layer": (listed((22, 512), (35, 1024), ("S", 64)),)}, "0 to 34"),
    ("ssd", "vgg16", {"feature_layer": (listed((-1, 512), (34, 1024), ("S", 64)),)}, "0 to 34"),
    ("ssd", "vgg16", {"feature_layer": (listed(("S", 64)),)}, "expected taps"),
    ("ssd", "vgg16", {"feature_layer": (listed((22, 512), ("S", 64)),)}, "last layer .*1024"),
    ("ssd", "vgg16", {"feature_layer": (listed(*VGG, ("P", 64)),)}, "code 'P' .*'S', ''"),
    ("ssd_lite", "vgg16", {"feature_layer": (listed(*VGG, ("E", 64)),)}, "code 'E'"),
    ("rfb_lite", "vgg16", {"feature_layer": (listed(*VGG, ("B", 64)),)}, "code 'B'"),
    (
        "rfb",
        "vgg16",
        {"feature_layer": (listed(*VGG, ("RBF", 64), ("S", 64)),)},
        "1 RBF .*even number",
    ),
    (
        "rfb_lite",
        "vgg16",
        {"feature_layer": (listed(*VGG, ("RBF", 64), ("RBF", 32), ("S", 64)),)},
        "2 RBF .*odd number",
    ),
    (
        "rfb",
        "vgg16",
        {"feature_layer": (listed(*VGG, ("RBF", 64), ("S", 64), ("RBF", 64)),)},
        "before the others",
    ),
    (
        "rfb_lite",
        "vgg16",
        {"feature_layer": (listed(*VGG, ("RBF", 1024), ("S", 64)),)},
        "1024 to 1024",
    ),
    ("ssd_lite_dual", "vgg16", {"feature_layer": (listed(VGG[1], ("S", 64)),)}, "two or more"),
    ("fssd", "vgg16", {"feature_layer": (listed(*VGG),)}, "1 pairs? .*takes 2"),
    ("ssd", "vgg16", {"feature_layer": (listed(*VGG), listed(("S", 64)))}, "2 pairs .*takes 1"),
    ("fssd", "vgg16", {"feature_layer": (listed(*VGG), listed((22, 512)))}, "22 in the pyramid"),
    ("fssd", "vgg16", {"feature_layer": (listed(*VGG), listed(("P", 64)))}, "'P' in the pyramid"),
    (
        "ssd",
        "vgg16",
        {"feature_layer": (FeatureList((22, 34, "S", ""), (512, 1024, 64)),)},
        "4 entries and 3 numbers",
    ),
    ("ssd", "vgg16", {"aspect_ratios": ((1, 2),) * 5}, "ASPECT_RATIOS has 5 .* 4 feature levels"),
    ("ssd", "vgg16", {"aspect_ratios": ((1, 2),) * 3}, "ASPECT_RATIOS has 3 .* 4 feature levels"),
    ("ssd", "vgg16", {"aspect_ratios": ((1, (2.0, 1.0)),) * 4}, r"ASPECT_RATIOS \[1, \(2"),
    ("ssd", "vgg16", {"steps": ((8, 8),) * 3}, "STEPS has 3 .* 4 feature levels"),
    ("ssd", "vgg16", {"sizes": ((8, 8),) * 4}, "SIZES has 4 .* expected 5"),
    ("ssd", "vgg16", {"sizes": ((8, 8),) * 4 + ((0, 8),)}, "SIZES holds 0"),
    ("ssd", "vgg16", {"image_size": (64, 64)}, "cells .* 64x64; expected a cell in each"),
    ("ssd", "vgg16", {"image_size": (0, 300)}, r"IMAGE_SIZE \[0, 300\]"),
    ("ssd", "vgg16_S2L2_5", {"image_size": (8192, 8192)}, "prior boxes at .*8192x8192.*at most"),
    (
        "ssd",
        "vgg16",
        {"feature_layer": (listed(*VGG, ("S", 60000), ("", 60000)),)},
        "parameters .*at most .*fewer channels",
    ),
    ("ssd", "vgg16", {"sizes": (0.1, 0.2, 0.3)}, "SIZES .*two numbers"),
    ("ssd", "vgg16", {"sizes": ((8, 8), 0.3)}, "SIZES .*two numbers"),
    ("fssd", "darknet_19", {"image_size": (12, 300)}, "expected a cell in each"),
]


@pytest.mark.parametrize(
    ("ssds", "nets", "change", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))]
)
def test_what_is_no_network_is_refused_with_the_numbers(
    ssds: str, nets: str, change: dict[str, Any], message: str
) -> None:
    known = small_config(
        ssds if ssds in FAMILIES else "ssd", nets if nets in BACKBONES else "vgg16"
    )
    config = replace(known, ssds=ssds, nets=nets, **change)
    with pytest.raises(BadFile, match=message) as caught:
        spec_from_config(config, "FILE.yml")
    assert str(caught.value).startswith("FILE.yml: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
