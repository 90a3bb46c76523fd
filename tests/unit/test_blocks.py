"""Building blocks against the same mathematics, written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssd_small.models.backbones import BACKBONES
from ssd_small.models.blocks import build
from ssd_small.models.layers import Chain, ConvBn, Share, Unit
from ssd_small.models.receptive_fields import FIRST_TAP, FIRST_TAP_LITE, later_field, lite_field


def made(layer: object, channels: int) -> tuple[nn.Module, int]:
    """A module with weights and statistics that are not those of its start."""
    torch.manual_seed(0)
    module, out = build(layer, channels, 1.0)  # type: ignore[arg-type]
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if value.ndim == 1 else value.normal_(0, 0.2)
    return module.eval(), out


def conv_bn(state: dict[str, Tensor], conv: str, bn: str, x: Tensor, **window: object) -> Tensor:
    y = F.conv2d(x, state[f"{conv}.weight"], **window)  # type: ignore[arg-type]
    mean, var = state[f"{bn}.running_mean"], state[f"{bn}.running_var"]
    scale = state[f"{bn}.weight"] / torch.sqrt(var + 1e-5)
    return (y - mean[:, None, None]) * scale[:, None, None] + state[f"{bn}.bias"][:, None, None]


def close(own: Tensor, expected: Tensor) -> None:
    # two orders of the same sums in float32, of at most 10**4 terms
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


def test_a_bottleneck_has_its_stride_on_the_3x3_and_is_rectified_after_the_sum() -> None:
    first, second = BACKBONES["resnet_50"][7:9]
    module, out = made(first, 256)
    assert out == 512
    x = torch.randn(1, 256, 6, 6)
    state = module.state_dict()
    order = list(dict.fromkeys(key.split(".")[0] for key in state))
    assert order == ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"]
    y = F.relu(conv_bn(state, "conv1", "bn1", x))
    y = F.relu(conv_bn(state, "conv2", "bn2", y, stride=2, padding=1))
    y = conv_bn(state, "conv3", "bn3", y)
    short = conv_bn(state, "downsample.0", "downsample.1", x, stride=2)
    with torch.inference_mode():
        close(module(x), F.relu(y + short))
    # the next of the stage adds its input as it is
    assert not any("downsample" in key for key in made(second, 512)[0].state_dict())


def test_stages_of_resnet_begin_with_a_projection_the_first_too() -> None:
    for nets, firsts in (("resnet_50", {4, 7, 11}), ("resnet_101", {4, 7, 11})):
        layers = BACKBONES[nets]
        projected = {i for i, one in enumerate(layers) if getattr(one, "shortcut", None)}
        assert projected == firsts
    assert [len(BACKBONES[nets]) for nets in ("resnet_50", "resnet_101")] == [17, 34]


@pytest.mark.parametrize(
    ("nets", "index", "adds"), [("darknet_19", 5, False), ("darknet_53", 2, True)]
)
def test_a_darknet_pair_leaks_a_tenth_and_adds_after_the_second(
    nets: str, index: int, adds: bool
) -> None:
    layer, channels = BACKBONES[nets][index], 128 if nets == "darknet_19" else 64
    module, out = made(layer, channels)
    assert out == channels
    x, state = torch.randn(1, channels, 5, 5), module.state_dict()
    y = F.leaky_relu(conv_bn(state, "conv.0", "conv.1", x), 0.1)
    assert y.shape[1] == channels // 2
    y = F.leaky_relu(conv_bn(state, "conv.3", "conv.4", y, padding=1), 0.1)
    with torch.inference_mode():
        close(module(x), x + y if adds else y)


def test_an_inverted_residual_ends_linear_and_adds_where_the_shape_is_kept() -> None:
    kept = {3, 5, 6, 8, 9, 10, 12, 13, 15, 16}
    channels = 3
    for index, layer in enumerate(BACKBONES["mobilenet_v2"]):
        module, out = made(layer, channels)
        x, state = torch.randn(1, channels, 4, 4), module.state_dict()
        if index:
            stride = 2 if index in (2, 4, 7, 14) else 1
            y = F.relu6(conv_bn(state, "conv.0", "conv.1", x))
            # the first expands too, by 1
            assert y.shape[1] == channels * (1 if index == 1 else 6)
            y = conv_bn(state, "conv.3", "conv.4", y, stride=stride, padding=1, groups=y.shape[1])
            y = conv_bn(state, "conv.6", "conv.7", F.relu6(y))
            with torch.inference_mode():
                close(module(x), x + y if index in kept else y)
        channels = out
    assert channels == 320


def test_the_stem_of_mobilenet_v2_has_no_upper_limit() -> None:
    module, _ = made(BACKBONES["mobilenet_v2"][0], 3)
    with torch.inference_mode():
        assert module(torch.randn(1, 3, 8, 8) * 100).max() > 6


def test_narrow_mobilenets_have_the_published_channels() -> None:
    def channels(nets: str) -> list[int]:
        found, x = [], 3
        for layer in BACKBONES[nets]:
            x = build(layer, x, 1.0)[1]
            found.append(x)
        return found

    assert channels("mobilenet_v1_075") == [24, 48, 96, 96, 192, 192, *[384] * 6, 768, 768]
    assert channels("mobilenet_v1_025") == [8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256]
    narrow = [*[8] * 7, *[16] * 4, *[24] * 3, *[40] * 3, 80]
    assert channels("mobilenet_v2_025") == narrow


#: shapes of the convolutions of a block on 512 channels, by key
FIRST = {
    "branch0.0": (128, 512, 1, 1),
    "branch0.1": (128, 128, 3, 3),
    "branch1.0": (128, 512, 1, 1),
    "branch1.1": (128, 128, 3, 1),
    "branch1.2": (128, 128, 3, 3),
    "branch2.0": (128, 512, 1, 1),
    "branch2.1": (128, 128, 1, 3),
    "branch2.2": (128, 128, 3, 3),
    "branch3.0": (64, 512, 1, 1),
    "branch3.1": (96, 64, 1, 3),
    "branch3.2": (128, 96, 3, 1),
    "branch3.3": (128, 128, 3, 3),
    "ConvLinear": (512, 512, 1, 1),
}
LATER = {
    "branch0.0": (64, 512, 1, 1),
    "branch0.1": (128, 64, 3, 3),
    "branch0.2": (128, 128, 3, 3),
    "branch1.0": (64, 512, 1, 1),
    "branch1.1": (96, 64, 3, 3),
    "branch1.2": (128, 96, 3, 3),
    "branch1.3": (128, 128, 3, 3),
    "ConvLinear": (512, 256, 1, 1),
}
LITE = {
    "branch1.0": (64, 512, 1, 1),
    "branch1.1": (96, 64, 1, 3),
    "branch1.2": (96, 96, 3, 1),
    "branch1.3": (96, 96, 3, 3),
    "branch2.0": (64, 512, 1, 1),
    "branch2.1": (96, 64, 3, 3),
    "branch2.2": (96, 96, 3, 3),
    "branch2.3": (96, 96, 3, 3),
    "ConvLinear": (256, 192, 1, 1),
}


@pytest.mark.parametrize(
    ("layer", "shapes", "shortcut"),
    [
        (FIRST_TAP, FIRST, (512, 512, 1, 1)),
        (FIRST_TAP_LITE, FIRST, None),
        (later_field(), LATER, (512, 512, 1, 1)),
        (lite_field(256), LITE, (256, 512, 1, 1)),
    ],
)
def test_receptive_fields_have_the_published_convolutions_in_their_order(
    layer: object, shapes: dict[str, tuple[int, ...]], shortcut: tuple[int, ...] | None
) -> None:
    module, _ = made(layer, 512)
    found = {
        name.removesuffix(".conv"): tuple(one.weight.shape)
        for name, one in module.named_modules()
        if isinstance(one, nn.Conv2d)
    }
    expected = shapes | ({"shortcut": shortcut} if shortcut else {})
    assert list(found.items()) == list(expected.items())
    norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.01}


def test_a_receptive_field_of_stride_2_is_its_branches_written_out() -> None:
    module, out = made(later_field(40, stride=2), 32)
    x, state = torch.randn(1, 32, 9, 9), module.state_dict()

    def unit(key: str, y: Tensor, **window: object) -> Tensor:
        return conv_bn(state, f"{key}.conv", f"{key}.bn", y, **window)

    a = F.relu(unit("branch0.0", x))
    a = F.relu(unit("branch0.1", a, stride=2, padding=1))
    a = unit("branch0.2", a, padding=3, dilation=3)
    b = F.relu(unit("branch1.0", x))
    b = F.relu(unit("branch1.1", b, padding=1))
    b = F.relu(unit("branch1.2", b, stride=2, padding=1))
    b = unit("branch1.3", b, padding=5, dilation=5)
    expected = unit("ConvLinear", torch.cat([a, b], 1)) + unit("shortcut", x, stride=2)
    with torch.inference_mode():
        own = module(x)
    assert own.shape == (1, out, 5, 5)
    close(own, F.relu(expected))


def test_the_lite_field_at_a_tap_adds_its_input() -> None:
    module, _ = made(FIRST_TAP_LITE, 32)
    for value in module.ConvLinear.parameters():
        nn.init.zeros_(value)
    x = torch.randn(1, 32, 7, 7)
    with torch.inference_mode():
        torch.testing.assert_close(module(x), F.relu(x), rtol=0, atol=0)


def test_shares_are_of_the_input_of_the_block_and_never_none() -> None:
    chain = Chain((ConvBn(Share(4), 1), ConvBn(Share(2, 3), 1), ConvBn(None)))
    module, out = build(chain, 8, 1.0)
    convolutions = [one for one in module.modules() if isinstance(one, nn.Conv2d)]
    assert [one.out_channels for one in convolutions] == [2, 12, 12]
    assert (out, convolutions[-1].groups) == (12, 12)
    assert build(Unit(ConvBn(Share(16, 3))), 8, 1.0)[1] == 1
