"""Matching of priors to objects, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.postprocess.boxes import boxes_xyxy_from_loc  # noqa: E402
from ssd_small.training.matching import (  # noqa: E402
    Targets,
    _best_pairs,
    boxes_xyxy_from_cxcywh,
    iou_matrix,
    loc_from_boxes,
    match,
)


def _tensor(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


#: four squares of side 0.5 that tile the unit square
QUARTERS = _tensor(
    [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]
)


def _labels(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def test_corners_of_a_box() -> None:
    assert boxes_xyxy_from_cxcywh(_tensor([[0.5, 0.5, 0.2, 0.4]])).tolist() == [
        pytest.approx([0.4, 0.3, 0.6, 0.7])
    ]


def test_iou_by_hand() -> None:
    boxes = _tensor([[0, 0, 2, 2], [0, 0, 0, 0]])
    others = _tensor([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 2, 1], [0, 0, 0, 0]])
    expected = [[1, 1 / 7, 0, 1 / 2, 0], [0, 0, 0, 0, 0]]
    assert iou_matrix(boxes, others).tolist() == [pytest.approx(row) for row in expected]


def test_offsets_by_hand() -> None:
    # the box is twice the prior wide, as high, and shifted by half the prior's width
    loc = loc_from_boxes(_tensor([[0.4, 0.4, 0.8, 0.6]]), _tensor([[0.5, 0.5, 0.2, 0.2]]))
    assert loc.tolist() == [pytest.approx([0.1 / (0.1 * 0.2), 0, math.log(2) / 0.2, 0], abs=1e-5)]


def test_decoding_gives_the_boxes_back() -> None:
    rng = np.random.default_rng(0)
    priors = rng.uniform(0.05, 0.5, (200, 4)).astype(np.float32)
    low = rng.uniform(0, 0.5, (200, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.01, 0.5, (200, 2))], axis=1).astype(np.float32)
    for variances in ((0.1, 0.2), (0.3, 0.5)):
        loc = loc_from_boxes(torch.from_numpy(boxes), torch.from_numpy(priors), variances)
        decoded = boxes_xyxy_from_loc(loc.numpy(), priors, variances)
        # coordinates up to 1, some ten roundings of 6e-8 each, amplified by at most
        # loc / log ~ 10 in the exponential
        assert np.abs(decoded - boxes).max() < 5e-6


def test_an_image_without_objects_is_all_background() -> None:
    targets = match(_tensor([]), _labels(), QUARTERS)
    assert targets.labels.tolist() == [0, 0, 0, 0]
    assert targets.loc.tolist() == [[0] * 4] * 4


def test_a_prior_learns_an_object_from_iou_one_half_on() -> None:
    # half of the first quarter: IoU exactly 0.5 in binary fractions
    half = _tensor([[0, 0, 0.5, 0.25]])
    assert match(half, _labels(3), QUARTERS).labels.tolist() == [3, 0, 0, 0]
    # a second prior of IoU 0.5 - d is background, one of 0.5 + d is not
    for step, label in ((-1e-3, 0), (1e-3, 3)):
        priors = torch.cat([QUARTERS, _tensor([[0.25, 0.125, 0.5, 0.25 / (0.5 + step)]])])
        overlap = iou_matrix(half, boxes_xyxy_from_cxcywh(priors[4:]))
        assert overlap.item() == pytest.approx(0.5 + step, abs=1e-6)
        assert match(half, _labels(3), priors).labels[4].item() == label


def test_an_object_smaller_than_every_prior_gets_its_best_one() -> None:
    tiny = _tensor([[0.8, 0.8, 0.81, 0.81]])
    assert match(tiny, _labels(2), QUARTERS).labels.tolist() == [0, 0, 0, 2]


def test_objects_that_want_the_same_prior_are_all_kept() -> None:
    objects = _tensor([[0.1, 0.1, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.5, 0.5]])
    labels = match(objects, _labels(1, 2, 3), QUARTERS).labels
    # the third fits the first quarter exactly; the others take what is left
    assert labels[0].item() == 3
    assert sorted(labels.tolist()) == [0, 1, 2, 3]


def test_the_prior_of_two_objects_learns_the_one_it_overlaps_more() -> None:
    objects = _tensor([[0, 0, 0.5, 0.3], [0, 0, 0.5, 0.45]])
    targets = match(objects, _labels(1, 2), QUARTERS)
    assert targets.labels[0].item() == 2


def test_contested_priors_go_to_the_largest_overlap_first() -> None:
    """Beside the definition: again and again the largest overlap of what is left."""
    generator = torch.Generator().manual_seed(0)
    for objects, num_priors in [(1, 1), (5, 5), (30, 40), (60, 300), (4, 3)] * 10:
        # few different values: many ties
        overlaps = torch.randint(0, 12, (objects, num_priors), generator=generator) / 11
        left, expected = overlaps.clone(), {}
        for _ in range(min(objects, num_priors)):
            row, column = divmod(int(left.argmax()), num_priors)
            expected[row] = column
            left[row], left[:, column] = -1, -1
        chosen = _best_pairs(overlaps).tolist()
        assert {row: chosen[row] for row in expected} == expected


def test_the_order_of_objects_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    priors = torch.from_numpy(rng.uniform(0.1, 0.9, (60, 4)).astype(np.float32))
    low = rng.uniform(0, 0.7, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.02, 0.3, (12, 2))], axis=1)
    objects, labels = torch.from_numpy(boxes.astype(np.float32)), torch.arange(1, 13)
    first = match(objects, labels, priors)
    assert set(range(1, 13)) <= set(first.labels.tolist())
    for _ in range(5):
        order = torch.from_numpy(rng.permutation(12))
        again = match(objects[order], labels[order], priors)
        assert torch.equal(first.labels, again.labels)
        assert torch.equal(first.loc, again.loc)


def test_offsets_of_a_match_decode_to_the_object() -> None:
    objects = _tensor([[0.1, 0.1, 0.45, 0.5]])
    targets = match(objects, _labels(1), QUARTERS, variances=(0.2, 0.4))
    decoded = boxes_xyxy_from_loc(targets.loc.numpy(), QUARTERS.numpy(), (0.2, 0.4))
    assert decoded[0] == pytest.approx(objects[0].numpy(), abs=1e-6)


def test_targets_stack_to_a_batch() -> None:
    one = match(_tensor([[0, 0, 0.5, 0.5]]), _labels(1), QUARTERS)
    batch = Targets.stack([one, match(_tensor([]), _labels(), QUARTERS)])
    assert batch.labels.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert batch.loc.shape == (2, 4, 4)
