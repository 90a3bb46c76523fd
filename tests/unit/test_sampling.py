"""Which pictures make which batch."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.errors import UsageError  # noqa: E402
from ssd_small.training.sampling import EpochSampler, SampleKey, repeat_factors  # noqa: E402

lengths, batches, seeds = st.integers(1, 40), st.integers(1, 12), st.integers(0, 5)


def take(count: int, *arguments: int, **options: object) -> list[list[SampleKey]]:
    return list(islice(EpochSampler(*arguments, **options), count))  # type: ignore[arg-type]


@given(lengths, batches, seeds)
@settings(deadline=None)
def test_an_epoch_uses_every_picture_and_its_batches_are_full(
    length: int, batch: int, seed: int
) -> None:
    sampler = EpochSampler(length, batch, seed)
    assert sampler.batches_per_epoch == -(-length // batch)
    for epoch in range(2):
        first = epoch * sampler.batches_per_epoch
        drawn = [sampler.batch(first + i) for i in range(sampler.batches_per_epoch)]
        assert all(len(part) == batch for part in drawn)
        keys = [key for part in drawn for key in part]
        assert len(set(keys)) == len(keys)  # no augmentation occurs twice
        assert {key.epoch for key in keys} == {epoch}
        uses = Counter(key.index for key in keys)
        assert set(uses) == set(range(length))
        assert max(uses.values()) - min(uses.values()) <= 1


def test_epochs_and_seeds_differ_in_order_and_repeat_exactly() -> None:
    orders = [
        tuple(key.index for key in EpochSampler(20, 20, seed).batch(epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert take(5, 20, 8, 3) == take(5, 20, 8, 3)


@given(lengths, st.integers(1, 4), st.sampled_from([1, 2, 3]), seeds)
@settings(deadline=None)
def test_the_parts_of_all_processes_are_the_batches_of_one(
    length: int, part: int, world: int, seed: int
) -> None:
    batch = part * world
    alone = take(7, length, batch, seed)
    parts = [take(7, length, batch, seed, rank=r, world=world) for r in range(world)]
    assert [[key for p in parts for key in p[i]] for i in range(7)] == alone


@given(lengths, batches, st.integers(0, 30))
@settings(deadline=None)
def test_a_resumed_run_goes_on_where_it_stopped(length: int, batch: int, start: int) -> None:
    assert (
        take(5, length, batch, 1, start_iteration=start) == take(start + 5, length, batch, 1)[-5:]
    )


def test_the_end_is_where_it_was_asked_for() -> None:
    assert len(list(EpochSampler(5, 2, 0, start_iteration=4, iterations=7))) == 3
    assert list(EpochSampler(5, 2, 0, start_iteration=7, iterations=7)) == []


@given(st.lists(st.floats(1, 5), min_size=1, max_size=30), seeds)
@settings(deadline=None)
def test_repeated_pictures_are_used_as_often_as_asked(factors: list[float], seed: int) -> None:
    sampler = EpochSampler(len(factors), 1, seed, repeat_factors=factors)
    total = sum(factors)
    scale = sampler.batches_per_epoch / total
    assert total <= sampler.batches_per_epoch + 1e-6 < total + 1.001
    uses = Counter(sampler.batch(i)[0].index for i in range(sampler.batches_per_epoch))
    for index, factor in enumerate(factors):
        # equidistant points hit an interval of length f floor(f) or ceil(f) times; 1e-6 for
        # the rounding of the cumulated factors
        assert np.floor(factor * scale - 1e-6) <= uses[index] <= np.ceil(factor * scale + 1e-6)


def test_repeats_of_a_picture_are_augmented_differently() -> None:
    sampler = EpochSampler(1, 3, 0)
    keys = sampler.batch(0)
    assert [key.repeat for key in keys] == [0, 1, 2]
    numbers = {float(key.generator().random()) for key in keys}
    assert len(numbers) == 3
    assert float(keys[1].generator().random()) in numbers


def test_repeat_factors_by_hand() -> None:
    # label 1 in all four pictures, label 3 in one: sqrt(0.5 / 0.25)
    images = [np.array(labels, np.int64) for labels in ([1, 1], [1], [1, 3, 3], [1])]
    assert repeat_factors(images, 0.5).tolist() == pytest.approx([1, 1, 2**0.5, 1])
    assert repeat_factors(images, 0.0).tolist() == [1, 1, 1, 1]
    assert repeat_factors(images, 0.25).tolist() == [1, 1, 1, 1]


def test_repeat_factors_of_pictures_without_objects() -> None:
    nothing = np.zeros(0, np.int64)
    assert repeat_factors([nothing, nothing], 1.0).tolist() == [1, 1]
    images = [nothing, np.array([2]), nothing, nothing]
    assert repeat_factors(images, 1.0).tolist() == pytest.approx([1, 2, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((0, 1, 0), {}),
        ((5, 0, 0), {}),
        ((5, 1, -1), {}),
        ((5, 1, 0), {"start_iteration": -1}),
        ((5, 3, 0), {"world": 2}),
        ((5, 2, 0), {"world": 2, "rank": 2}),
        ((5, 2, 0), {"world": 0}),
        ((5, 2, 0), {"repeat_factors": [1.0] * 4}),
        ((2, 2, 0), {"repeat_factors": [1.0, 0.5]}),
        ((2, 2, 0), {"repeat_factors": [1.0, float("inf")]}),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: tuple, options: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        EpochSampler(*arguments, **options)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_repeat_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        repeat_factors([np.array([1])], threshold)
