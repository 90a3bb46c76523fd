"""Overlaps of objects with grouped priors."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.models.priors import priors_from_spec  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.training.overlaps import (  # noqa: E402
    GroupedPriors,
    boxes_xyxy_from_cxcywh,
    iou_from_columns,
)


def network_priors(name: str) -> torch.Tensor:
    return torch.from_numpy(priors_from_spec(get_spec(name)))


def scattered_priors(count: int) -> torch.Tensor:
    """No two of one size."""
    rng = np.random.default_rng(3)
    return torch.from_numpy(rng.uniform(0.02, 0.9, (count, 4)).astype(np.float32))


def test_corners_of_a_box() -> None:
    box = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    assert boxes_xyxy_from_cxcywh(box).tolist() == [pytest.approx([0.4, 0.3, 0.6, 0.7])]


def test_iou_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    others = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 2, 1], [0, 0, 0, 0]])
    expected = [[1, 1 / 7, 0, 1 / 2, 0], [0, 0, 0, 0, 0]]
    overlaps = iou_from_columns(boxes[..., None].unbind(1), others.unbind(1))
    assert overlaps.tolist() == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize(
    "priors",
    [network_priors("mobilenet_v1"), network_priors("vgg16"), scattered_priors(90)],
    ids=["mobilenet_v1", "vgg16", "scattered"],
)
def test_every_prior_is_in_one_group_of_its_size(priors: torch.Tensor) -> None:
    grouped = GroupedPriors.of(priors)
    groups_of = {}
    for group, members in enumerate(grouped.members.tolist()):
        for member in members:
            groups_of.setdefault(member, set()).add(group)
        assert len(priors[members, 2:].unique(dim=0)) == 1
    assert sorted(groups_of) == list(range(len(priors)))
    assert all(len(groups) == 1 for groups in groups_of.values())


def test_groups_of_a_network_are_small_and_few() -> None:
    grouped = GroupedPriors.of(network_priors("vgg16_s1l2"))
    groups, size = grouped.members.shape
    # 44 866 priors of which an object is to be compared with hundreds, by way of the groups
    assert groups < 2000
    assert size <= 128


@pytest.mark.parametrize(
    "priors",
    [network_priors("mobilenet_v1"), scattered_priors(60)],
    ids=["mobilenet_v1", "scattered"],
)
def test_no_overlap_exceeds_its_group_s_bound_by_a_bit(priors: torch.Tensor) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 1, (60, 2))
    random = np.concatenate([low, low + rng.uniform(1e-3, 1, (60, 2)) * (1 - low)], axis=1)
    # priors themselves reach the bound: an overlap of 1, or of a rounding more
    own = boxes_xyxy_from_cxcywh(priors[rng.choice(len(priors), 40, replace=False)]).clamp(0, 1)
    boxes = torch.cat([torch.from_numpy(random.astype(np.float32)), own])
    grouped = GroupedPriors.of(priors)
    bounds = grouped.bounds(boxes)
    every = torch.arange(len(grouped.members))
    reached = 0
    for box, bound in zip(boxes, bounds, strict=True):
        overlaps = grouped.overlaps(box.expand(len(every), 4), every)
        assert (overlaps.amax(dim=1) <= bound).all()
        reached += int((overlaps.amax(dim=1) == bound).sum())
    assert reached > 100
