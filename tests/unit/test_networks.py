"""Networks: structure, priors, cost, dual path, width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import ssd_small
from ssd_small.errors import UsageError
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec
from ssd_small.models.shapes import summarize
from ssd_small.models.spec import Level
from ssd_small.pictures.preprocessing import Preprocessing

# published structure: maps, priors, million parameters, GMAC, sum of cx, sum of w, last prior
FACTS = {
    "vgg16": ([38, 19, 10, 5, 3, 1], 11620, 35.09, 35.5, 5906.400, 1843.625, (0.5, 0.62225)),
    "vgg16_s1l2": (
        [75, 37, 19, 10, 5, 3], 44866, 35.09, 128.8, 22415.213, 3682.786, (0.83333, 0.50205)
    ),
    "vgg16_s1l2_dual": (
        [75, 37, 10, 5, 3, 1], 42754, 35.09, 153.9, 21346.440, 3296.852, (0.5, 0.62225)
    ),
    "mobilenet_v1": ([19, 10, 5, 3, 2, 1], 2990, 16.14, 2.51, 1533.640, 695.333, (0.5, 0.6364)),
    "mobilenet_v1_s1l0": (
        [38, 19, 10, 5, 3, 1], 11638, 16.53, 9.74, 5915.400, 1046.020, (0.5, 0.53033)
    ),
    "mobilenet_v1_s1l0_dual": (
        [38, 19, 5, 3, 2, 1], 11062, 16.53, 10.41, 5608.200, 882.113, (0.5, 0.6364)
    ),
}  # fmt: skip


def test_the_six_published_networks_are_listed() -> None:
    assert ssd_small.list_models() == list(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_structure_is_the_published_one(name: str) -> None:
    maps, priors, parameters, gmac, _, _, _ = FACTS[name]
    summary = summarize(get_spec(name))
    assert [shape.height for shape in summary.levels] == maps
    assert [shape.width for shape in summary.levels] == maps
    assert summary.num_priors == priors
    assert round(summary.cost.parameters / 1e6, 2) == parameters
    assert summary.cost.macs / 1e9 == pytest.approx(gmac, abs=0.05)


@pytest.mark.parametrize("name", FACTS)
def test_priors_have_the_published_sums(name: str) -> None:
    _, count, _, _, sum_centre, sum_width, (last_centre, last_width) = FACTS[name]
    priors = priors_from_spec(get_spec(name)).astype(np.float64)
    assert priors.shape == (count, 4)
    assert priors.min() >= 0
    assert priors.max() <= 1
    # the facts are rounded to three digits; float32 rounding of 44 866 values adds 1e-4
    np.testing.assert_allclose(priors[:, :2].sum(axis=0), sum_centre, atol=1e-3)
    np.testing.assert_allclose(priors[:, 2].sum(), sum_width, atol=5e-3)
    np.testing.assert_allclose(priors[-1, [0, 2]], (last_centre, last_width), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize(
    ("num_classes", "width", "size"),
    [(81, 1.0, (300, 300)), (4, 0.25, (300, 300)), (4, 0.25, (272, 401))],
)
def test_arithmetic_agrees_with_the_built_network(name, num_classes, width, size) -> None:
    spec = replace(get_spec(name), preprocessing=Preprocessing(*size))
    with torch.device("meta"):
        net = ssd_small.create_model(spec, num_classes, width)
        with FlopCounterMode(display=False) as counter:
            loc, conf = net(torch.empty(1, 3, *size))
    summary = summarize(net.spec, num_classes, width)
    assert sum(p.numel() for p in net.parameters()) == summary.cost.parameters
    assert counter.get_total_flops() == 2 * summary.cost.macs
    assert loc.shape == (1, summary.num_priors, 4)
    assert conf.shape == (1, summary.num_priors, num_classes)


def test_priors_of_a_network_are_not_in_its_state_dict() -> None:
    net = ssd_small.create_model("mobilenet_v1", 3, 0.1)
    assert "priors" not in net.state_dict()
    np.testing.assert_array_equal(net.priors.numpy(), priors_from_spec(net.spec))


def test_coarse_path_of_mobilenet_is_the_plain_network_with_the_same_weights() -> None:
    """Sub-sampling a stride-1 stem at even pixels is the stride-2 stem."""
    torch.manual_seed(0)
    dual = ssd_small.create_model("mobilenet_v1_s1l0_dual", 3, 0.25)
    plain = ssd_small.create_model("mobilenet_v1", 3, 0.25)
    plain.base.load_state_dict(dual.base.state_dict())
    plain.extras.load_state_dict(dual.extras.state_dict())
    image = torch.randn(1, 3, 300, 300)
    with torch.inference_mode():
        coarse, expected = dual._sources(image)[2:], plain._sources(image)[2:]
    for own, other in zip(coarse, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_extras_of_the_dual_path_ignore_what_sub_sampling_drops() -> None:
    """Odd pixels after the split reach the fine levels only."""
    torch.manual_seed(0)
    net = ssd_small.create_model("vgg16_s1l2_dual", 3, 0.125)
    features = torch.rand(1, 3, 300, 300)
    with torch.inference_mode():
        before = net._sources(features)
        net.base[4] = _ChangeOddPixels()
        after = net._sources(features)
    assert not torch.equal(before[0], after[0])
    for own, other in zip(before[2:], after[2:], strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0)


class _ChangeOddPixels(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[:, :, 1::2, :] += 1
        x[:, :, :, 1::2] += 1
        return x


def test_l2norm_of_an_all_zero_pixel_is_zero() -> None:
    from ssd_small.models.blocks import L2Norm

    norm = L2Norm(8)
    assert torch.equal(norm(torch.zeros(1, 8, 2, 2)), torch.zeros(1, 8, 2, 2))
    x = torch.rand(2, 8, 3, 3)
    torch.testing.assert_close(norm(x).norm(dim=1), torch.full((2, 3, 3), 20.0))


def test_other_families_fit_the_spec() -> None:
    """Four anchors on level 0, RGB with mean and std, unclipped centres: only data changes."""
    spec = get_spec("vgg16")
    first = replace(spec.levels[0], aspect_ratios=(2.0,))
    other = replace(
        spec,
        name="other",
        levels=(first, *spec.levels[1:]),
        clip="size",
        preprocessing=Preprocessing(color_order="RGB", std=(58.0, 57.0, 57.0)),
    )
    net = ssd_small.create_model(other, 21, 0.125)
    priors = net.priors.numpy()
    assert len(priors) == 11620 - 2 * 38 * 38
    assert priors[:, :2].max() > 1  # 10 cells with step 32
    assert priors[:, 2:].max() <= 1
    with torch.inference_mode():
        loc, conf = net(torch.zeros(1, 3, 300, 300))
    assert loc.shape[1] == conf.shape[1] == len(priors)


def test_the_earlier_s1l0_can_be_asked_for_by_name() -> None:
    assert summarize(get_spec("mobilenet_v1_s1l0_fmap2")).num_priors == 11650
    assert "mobilenet_v1_s1l0_fmap2" not in ssd_small.list_models()


def test_anchors_of_a_level_are_squares_and_ratios() -> None:
    assert Level(8, (30.0, 42.4), (2.0, 3.0)).num_anchors == 6
    assert Level(8, (30.0, 42.4), (2.0,)).num_anchors == 4


@pytest.mark.parametrize(("classes", "width"), [(1, 1.0), (81, 0.0), (81, float("nan"))])
def test_impossible_sizes_are_refused(classes: int, width: float) -> None:
    with pytest.raises(UsageError, match="expected at least 2 classes"):
        ssd_small.create_model("vgg16", classes, width)


def test_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known: vgg16"):
        ssd_small.create_model("resnet")
