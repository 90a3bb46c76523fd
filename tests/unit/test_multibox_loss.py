"""The MultiBox loss, by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.training.loss import hard_negatives, multibox_loss  # noqa: E402
from ssd_small.training.matching import Targets, match  # noqa: E402
from ssd_small.training.overlaps import GroupedPriors  # noqa: E402


def test_hard_negatives_are_the_three_worst_per_positive() -> None:
    loss = torch.tensor([[9.0, 1, 5, 2, 4, 3], [1, 2, 3, 4, 5, 6]])
    positive = torch.tensor([[True] + [False] * 5, [False] * 6])
    assert hard_negatives(loss, positive).tolist() == [
        [False, False, True, False, True, True],
        [False] * 6,
    ]
    assert hard_negatives(loss, positive, ratio=1.0).tolist() == [
        [False, False, True, False, False, False],
        [False] * 6,
    ]


def test_no_more_negatives_than_there_are() -> None:
    positive = torch.tensor([[True, True, False]])
    assert hard_negatives(torch.ones(1, 3), positive).tolist() == [[False, False, True]]


def test_loss_by_hand() -> None:
    """One positive of five priors and two classes, all logits 0 but for one negative."""
    labels = torch.tensor([[1, 0, 0, 0, 0]])
    target_loc = torch.zeros(1, 5, 4)
    target_loc[0, 0] = torch.tensor([0.5, -2.0, 0.0, 0.0])
    loc = torch.zeros(1, 5, 4)
    loc[0, 1:] = 100.0  # background priors have no say
    conf = torch.zeros(1, 5, 2)
    conf[0, 2] = torch.tensor([10.0, 0.0])  # an easy negative: left out by the mining
    parts = multibox_loss(loc, conf, Targets(target_loc, labels))
    # smooth L1: 0.5 * 0.5**2 + (2 - 0.5); one positive and three negatives of ln 2 each
    assert parts.loc.item() == pytest.approx(0.125 + 1.5)
    assert parts.conf.item() == pytest.approx(4 * math.log(2))
    assert parts.num_positive == 1
    assert parts.total.item() == pytest.approx(1.625 + 4 * math.log(2))


def test_the_divisor_is_the_number_of_positives_of_the_batch() -> None:
    labels = torch.tensor([[1, 1, 0], [1, 0, 0]])
    conf = torch.zeros(2, 3, 2)
    parts = multibox_loss(torch.ones(2, 3, 4), conf, Targets(torch.zeros(2, 3, 4), labels))
    # every offset is wrong by 1 (0.5 each, four per positive); all six priors count
    assert parts.loc.item() == pytest.approx(2.0)
    assert parts.conf.item() == pytest.approx(6 * math.log(2) / 3)


def test_a_batch_without_objects_costs_nothing_and_trains() -> None:
    loc = torch.ones(1, 3, 4, requires_grad=True)
    conf = torch.ones(1, 3, 2, requires_grad=True)
    targets = Targets(torch.zeros(1, 3, 4), torch.zeros(1, 3, dtype=torch.int64))
    parts = multibox_loss(loc, conf, targets)
    parts.total.backward()
    assert parts.total.item() == 0
    assert conf.grad is not None
    assert not conf.grad.any()


def test_gradients_reach_only_what_counts() -> None:
    labels = torch.tensor([[1, 0, 0, 0, 0]])
    loc = torch.ones(1, 5, 4, requires_grad=True)
    conf = torch.zeros(1, 5, 2)
    conf[0, 4, 0] = 5.0
    conf.requires_grad_()
    multibox_loss(loc, conf, Targets(torch.zeros(1, 5, 4), labels)).total.backward()
    assert loc.grad is not None
    assert conf.grad is not None
    assert loc.grad[0].any(dim=1).tolist() == [True, False, False, False, False]
    assert conf.grad[0].any(dim=1).tolist() == [True, True, True, True, False]


def test_a_step_downhill_lowers_the_loss() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 40))
    targets = Targets(torch.randn(2, 40, 4), labels)
    loc = torch.randn(2, 40, 4, requires_grad=True)
    conf = torch.randn(2, 40, 3, requires_grad=True)
    before = multibox_loss(loc, conf, targets)
    before.total.backward()
    assert loc.grad is not None
    assert conf.grad is not None
    after = multibox_loss(loc - loc.grad, conf - conf.grad, targets)
    assert after.total.item() < before.total.item()


def test_parts_of_a_batch_add_up_to_it() -> None:
    """As processes share it: the divisor is that of the whole, the mining is per picture."""
    torch.manual_seed(1)
    labels = torch.randint(-8, 3, (4, 50)).clamp(min=0)
    targets = Targets(torch.randn(4, 50, 4), labels)
    loc, conf = torch.randn(4, 50, 4), torch.randn(4, 50, 3)
    whole = multibox_loss(loc, conf, targets)
    assert len({int((row > 0).sum()) for row in labels}) > 1, "equal parts would prove little"
    parts = [
        multibox_loss(
            loc[i : i + 1],
            conf[i : i + 1],
            Targets(targets.loc[i : i + 1], labels[i : i + 1]),
            divisor=whole.num_positive,
        )
        for i in range(4)
    ]
    assert sum(part.loc.item() for part in parts) == pytest.approx(whole.loc.item())
    assert sum(part.conf.item() for part in parts) == pytest.approx(whole.conf.item())


def test_a_mirrored_picture_with_mirrored_boxes_has_the_same_loss() -> None:
    """On priors that lie symmetric; the heads' answers are mirrored with the picture."""
    torch.manual_seed(2)
    centres = torch.tensor([[(x + 0.5) / 8, (y + 0.5) / 8] for y in range(8) for x in range(8)])
    priors = GroupedPriors.of(torch.cat([centres, torch.full((64, 2), 0.25)], dim=1))
    mirrored_prior = torch.tensor([8 * (i // 8) + 7 - i % 8 for i in range(64)])
    low = torch.rand(5, 2) * 0.6
    boxes = torch.cat([low, low + 0.2 + torch.rand(5, 2) * 0.1], dim=1)
    mirrored_boxes = torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
    labels = torch.tensor([1, 2, 1, 2, 2])
    loc, conf = torch.randn(1, 64, 4), torch.randn(1, 64, 3)
    # an offset to the right becomes one to the left, at the prior on the other side
    mirrored_loc = loc[:, mirrored_prior] * torch.tensor([-1.0, 1, 1, 1])
    one = multibox_loss(loc, conf, Targets.stack([match(boxes, labels, priors)]))
    other = multibox_loss(
        mirrored_loc,
        conf[:, mirrored_prior],
        Targets.stack([match(mirrored_boxes, labels, priors)]),
    )
    assert one.num_positive == other.num_positive > 5
    assert other.loc.item() == pytest.approx(one.loc.item(), rel=1e-5)
    assert other.conf.item() == pytest.approx(one.conf.item(), rel=1e-5)
