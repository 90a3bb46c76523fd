"""Matching of priors to objects, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.models.priors import priors_from_spec  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc  # noqa: E402
from ssd_small.training.matching import (  # noqa: E402
    Targets,
    _best_pairs,
    loc_from_boxes,
    match,
)
from ssd_small.training.overlaps import GroupedPriors  # noqa: E402


def _tensor(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


#: four squares of side 0.5 that tile the unit square
QUARTERS = _tensor(
    [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]
)
GROUPED_QUARTERS = GroupedPriors.of(QUARTERS)


def _overlaps(boxes: torch.Tensor, priors: torch.Tensor) -> npt.NDArray[np.float32]:
    """``[G, P]`` of each object with each prior, in the steps of float32 that matching takes."""
    centre, size = priors.numpy()[:, :2], priors.numpy()[:, 2:]
    (u1, v1), (u2, v2) = (centre - size / 2).T, (centre + size / 2).T
    rows = []
    for x1, y1, x2, y2 in boxes.numpy():
        wide = np.maximum(np.minimum(x2, u2) - np.maximum(x1, u1), np.float32(0))
        high = np.maximum(np.minimum(y2, v2) - np.maximum(y1, v1), np.float32(0))
        inter = wide * high
        union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inter
        rows.append(inter / np.maximum(union, np.finfo(np.float32).tiny))
    return np.array(rows)


def _every_pair_compared(
    boxes: torch.Tensor, labels: torch.Tensor, priors: torch.Tensor, iou_threshold: float
) -> Targets:
    """What match gives, the long way: all overlaps, then loops over the objects."""
    overlaps = _overlaps(boxes, priors)
    most, owner = np.full(len(priors), -1, np.float32), np.zeros(len(priors), np.int64)
    for i, row in enumerate(overlaps):
        owner[row > most] = i
        most = np.maximum(most, row)
    positive = most >= np.float32(iou_threshold)
    left = overlaps.copy()
    for _ in boxes:
        i, prior = divmod(int(left.argmax()), len(priors))
        owner[prior], positive[prior] = i, True
        left[i], left[:, prior] = -1, -1
    learned, learns = torch.from_numpy(owner), torch.from_numpy(positive)
    loc = loc_from_boxes(boxes[learned], priors)
    zero = torch.zeros_like(loc)
    return Targets(torch.where(learns[:, None], loc, zero), labels[learned] * learns)


def _labels(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


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
    targets = match(_tensor([]), _labels(), GROUPED_QUARTERS)
    assert targets.labels.tolist() == [0, 0, 0, 0]
    assert targets.loc.tolist() == [[0] * 4] * 4


def test_a_prior_learns_an_object_from_iou_one_half_on() -> None:
    # half of the first quarter: IoU exactly 0.5 in binary fractions
    half = _tensor([[0, 0, 0.5, 0.25]])
    assert match(half, _labels(3), GROUPED_QUARTERS).labels.tolist() == [3, 0, 0, 0]
    # a second prior of IoU 0.5 - d is background, one of 0.5 + d is not
    for step, label in ((-1e-3, 0), (1e-3, 3)):
        priors = torch.cat([QUARTERS, _tensor([[0.25, 0.125, 0.5, 0.25 / (0.5 + step)]])])
        assert _overlaps(half, priors[4:]).item() == pytest.approx(0.5 + step, abs=1e-6)
        assert match(half, _labels(3), GroupedPriors.of(priors)).labels[4].item() == label


def test_an_object_smaller_than_every_prior_gets_its_best_one() -> None:
    tiny = _tensor([[0.8, 0.8, 0.81, 0.81]])
    assert match(tiny, _labels(2), GROUPED_QUARTERS).labels.tolist() == [0, 0, 0, 2]


def test_objects_that_want_the_same_prior_are_all_kept() -> None:
    objects = _tensor([[0.1, 0.1, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.5, 0.5]])
    labels = match(objects, _labels(1, 2, 3), GROUPED_QUARTERS).labels
    # the third fits the first quarter exactly; the others take what is left
    assert labels[0].item() == 3
    assert sorted(labels.tolist()) == [0, 1, 2, 3]


def test_the_prior_of_two_objects_learns_the_one_it_overlaps_more() -> None:
    objects = _tensor([[0, 0, 0.5, 0.3], [0, 0, 0.5, 0.45]])
    targets = match(objects, _labels(1, 2), GROUPED_QUARTERS)
    assert targets.labels[0].item() == 2


def _best_free_of(overlaps: torch.Tensor) -> Callable[[int, torch.Tensor], tuple[float, int]]:
    def best_free(i: int, free: torch.Tensor) -> tuple[float, int]:
        overlap, prior = torch.where(free, overlaps[i], -1.0).max(dim=0)
        return float(overlap), int(prior)

    return best_free


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
        best, first = overlaps.max(dim=1)
        chosen = _best_pairs(best, first, num_priors, _best_free_of(overlaps)).tolist()
        assert {row: chosen[row] for row in expected} == expected


def _boxes(rng: np.random.Generator, count: int, low: float, high: float) -> torch.Tensor:
    """Objects of ``low`` to ``high`` of the input's side, in the picture."""
    sides = np.exp(rng.uniform(np.log(low), np.log(high), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (1 - sides)
    boxes = np.concatenate([corner, corner + sides], axis=1).clip(0, 1)
    return torch.from_numpy(boxes.astype(np.float32))


def _scenes(rng: np.random.Generator, priors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Objects of all kinds, among them such that overlap several priors equally."""
    own = priors[rng.choice(len(priors), 12)]
    corners = torch.cat([own[:, :2] - own[:, 2:] / 2, own[:, :2] + own[:, 2:] / 2], 1).clamp(0, 1)
    whole = torch.from_numpy(rng.integers(0, 32, (40, 2)) / 32).float()
    specks = _boxes(rng, 3, 0.004, 0.01)
    return {
        "one": _boxes(rng, 1, 0.03, 0.9),
        "of all sizes": _boxes(rng, 40, 0.01, 1.0),
        "small": _boxes(rng, 60, 0.01, 0.06),
        "specks": _boxes(rng, 30, 0.002, 0.01),
        "large": _boxes(rng, 30, 0.4, 1.0),
        "the same five times": _boxes(rng, 4, 0.02, 0.6).repeat(5, 1),
        "a speck, again and again, and its neighbours": torch.cat(
            [specks + shift for shift in (0, 0, 0, 1e-3, 2e-3, 3e-3, 4e-3)]
        ),
        "as the priors": corners,
        "centred between cells": torch.cat([whole, whole + 1 / 32], dim=1),
        "squares on a lattice": torch.cat([whole * 0.5, whole * 0.5 + 0.25], dim=1),
    }


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 0.3, 1.0, 0.0])
@pytest.mark.parametrize("kind", ["network", "binary", "scattered", "corner"])
def test_targets_are_those_of_comparing_every_pair_to_the_bit(kind: str, threshold: float) -> None:
    rng = np.random.default_rng(5)
    if kind == "network":
        priors = torch.from_numpy(priors_from_spec(get_spec("mobilenet_v1_s1l0")))
    elif kind == "binary":  # coordinates without rounding: overlaps are equal or they are not
        cells = torch.cartesian_prod(torch.arange(16), torch.arange(16)) / 16 + 1 / 32
        priors = torch.cat(
            [torch.cat([cells, torch.full_like(cells, s)], 1) for s in (1 / 8, 1 / 2)]
        )
    elif kind == "scattered":
        priors = torch.from_numpy(rng.uniform(0.02, 0.9, (150, 4)).astype(np.float32))
    else:  # most objects overlap none of them
        cells = torch.cartesian_prod(torch.arange(8), torch.arange(8)) / 64 + 1 / 128
        priors = torch.cat([cells, torch.full_like(cells, 1 / 64)], dim=1)
    grouped, contested = GroupedPriors.of(priors), 0
    for name, boxes in _scenes(rng, priors).items():
        labels = torch.from_numpy(rng.integers(1, 81, len(boxes)))
        expected = _every_pair_compared(boxes, labels, priors, threshold)
        targets = match(boxes, labels, grouped, iou_threshold=threshold)
        assert torch.equal(targets.labels, expected.labels), name
        # as bytes: 0 and -0 are two, too
        assert targets.loc.numpy().tobytes() == expected.loc.numpy().tobytes(), name
        best = _overlaps(boxes, priors).argmax(axis=1)
        contested += len(best) - len(set(best.tolist()))
    assert contested > 20


def test_targets_of_the_largest_network_are_those_of_comparing_every_pair() -> None:
    priors = torch.from_numpy(priors_from_spec(get_spec("vgg16_s1l2")))
    rng = np.random.default_rng(6)
    boxes, labels = _boxes(rng, 40, 0.02, 0.4), torch.from_numpy(rng.integers(1, 81, 40))
    targets = match(boxes, labels, GroupedPriors.of(priors))
    expected = _every_pair_compared(boxes, labels, priors, 0.5)
    assert torch.equal(targets.labels, expected.labels)
    assert targets.loc.numpy().tobytes() == expected.loc.numpy().tobytes()


def test_the_order_of_objects_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    priors = GroupedPriors.of(torch.from_numpy(rng.uniform(0.1, 0.9, (60, 4)).astype(np.float32)))
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
    targets = match(objects, _labels(1), GROUPED_QUARTERS, variances=(0.2, 0.4))
    decoded = boxes_xyxy_from_loc(targets.loc.numpy(), QUARTERS.numpy(), (0.2, 0.4))
    assert decoded[0] == pytest.approx(objects[0].numpy(), abs=1e-6)


def test_targets_stack_to_a_batch() -> None:
    one = match(_tensor([[0, 0, 0.5, 0.5]]), _labels(1), GROUPED_QUARTERS)
    batch = Targets.stack([one, match(_tensor([]), _labels(), GROUPED_QUARTERS)])
    assert batch.labels.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert batch.loc.shape == (2, 4, 4)
