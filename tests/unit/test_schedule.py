"""The learning rate over a run, against PyTorch's own schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch.optim import Optimizer, lr_scheduler  # noqa: E402

from ssd_small.training.recipe import Recipe, published_recipe  # noqa: E402
from ssd_small.training.schedule import lr_factor, progress_of  # noqa: E402


@pytest.mark.parametrize("model", ["vgg16", "mobilenet_v1"])
def test_our_cosine_is_stepped_after_each_epoch(model: str) -> None:
    """Constant, then torch's CosineAnnealingLR over what is left, moved once an epoch."""
    recipe, per_epoch = published_recipe(model), 7
    assert recipe.epochs is not None
    held = round(recipe.warm_up * recipe.epochs)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], recipe.lr)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs - held)
    for epoch in range(recipe.epochs):
        expected = optimizer.param_groups[0]["lr"]
        for step in range(per_epoch):
            done = progress_of(recipe, epoch * per_epoch + step, per_epoch, 0.0)
            # the scheduler multiplies factors up, some 60 roundings
            lr = recipe.lr * lr_factor(recipe, done, epoch + step / per_epoch)
            assert lr == pytest.approx(expected, abs=1e-9)
        optimizer.step()
        if epoch >= held:
            cosine.step()
    assert progress_of(recipe, recipe.epochs * per_epoch, per_epoch, 0.0) == 1


def test_every_epoch_has_its_rate_however_long_it_is() -> None:
    recipe = Recipe(epochs=60, warm_up=0.0)
    for per_epoch in (1, 3, 7, 1000, 3667):
        for epoch in (1, 7, 29, 59):
            at = progress_of(recipe, epoch * per_epoch, per_epoch, 0.0)
            expected = 0.5 * (1 + math.cos(math.pi * epoch / 60))
            assert lr_factor(recipe, at, epoch) == pytest.approx(expected, abs=1e-12)
            before = progress_of(recipe, epoch * per_epoch - 1, per_epoch, 0.0)
            assert lr_factor(recipe, before, epoch - 1 / per_epoch) > lr_factor(recipe, at, epoch)


def test_a_budget_of_updates_or_minutes_moves_the_rate_smoothly() -> None:
    updates = Recipe(epochs=None, iterations=100, warm_up=0.2, ramp=0.1)
    factors = [lr_factor(updates, progress_of(updates, i, 9, 0.0), i / 9) for i in range(101)]
    assert factors[0] == pytest.approx(0.05)
    assert factors[5] == pytest.approx(0.525)
    assert factors[10:20] == [1.0] * 10
    assert factors[60] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    minutes = Recipe(epochs=None, minutes=2.0, warm_up=0.0)
    assert lr_factor(minutes, progress_of(minutes, 7, 9, 60.0), 7 / 9) == pytest.approx(0.5)


def test_constant_all_the_way() -> None:
    recipe = Recipe(epochs=3, warm_up=1.0)
    assert {lr_factor(recipe, p / 10, 0.3 * p) for p in range(11)} == {1.0}


#: schedules with PyTorch's for T epochs
PUBLISHED: dict[str, tuple[dict[str, Any], Callable[[Optimizer, int], Any]]] = {
    "sgdr": ({}, lambda optimizer, epochs: lr_scheduler.CosineAnnealingLR(optimizer, epochs)),
    "step": (
        {"schedule_steps": (3,), "gamma": 0.5},
        lambda optimizer, epochs: lr_scheduler.StepLR(optimizer, 3, 0.5),
    ),
    "multi_step": (
        {"schedule_steps": (2, 7, 8), "gamma": 0.3},
        lambda optimizer, epochs: lr_scheduler.MultiStepLR(optimizer, [2, 7, 8], 0.3),
    ),
    "exponential": (
        {"gamma": 0.9},
        lambda optimizer, epochs: lr_scheduler.ExponentialLR(optimizer, 0.9),
    ),
}


@pytest.mark.parametrize("held", [0, 1, 5])
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schedules_are_stepped_before_each_epoch_after_the_warm_up(
    name: str, held: int
) -> None:
    options, scheduler_of = PUBLISHED[name]
    epochs, per_epoch = 17, 3
    recipe = Recipe(epochs=epochs, warm_up=held / epochs, schedule=name, **options)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], recipe.lr)
    scheduler = scheduler_of(optimizer, epochs - held)
    optimizer.step()  # or PyTorch warns of the order
    for epoch in range(1, epochs + 1):
        if epoch > held:
            scheduler.step()
        expected = optimizer.param_groups[0]["lr"]
        for step in range(per_epoch):
            done = (epoch - 1) * per_epoch + step
            at = progress_of(recipe, done, per_epoch, 0.0)
            # the schedulers multiply factors up, some 20 roundings
            lr = recipe.lr * lr_factor(recipe, at, done / per_epoch)
            assert lr == pytest.approx(expected, rel=1e-12, abs=1e-17)


def test_the_published_cosine_is_an_epoch_ahead_of_ours() -> None:
    ours, published = Recipe(warm_up=0.0), Recipe(warm_up=0.0, schedule="sgdr")
    for epoch in range(59):
        ahead = lr_factor(published, epoch / 60, epoch)
        assert ahead == pytest.approx(lr_factor(ours, (epoch + 1) / 60, epoch + 1), abs=1e-12)
    assert lr_factor(published, 59 / 60, 59) == 0
    assert lr_factor(ours, 59 / 60, 59) > 0
    assert lr_factor(ours, 0, 0) == 1


@pytest.mark.parametrize("epochs", [*range(1, 40), 95, 100, 200, 300])
def test_a_warm_up_of_whole_epochs_is_one_whatever_its_share_is_rounded_to(epochs: int) -> None:
    for held in range(epochs):
        recipe = Recipe(epochs=epochs, warm_up=held / epochs, schedule="step", gamma=0.5)
        factors = [lr_factor(recipe, n / epochs, n) for n in (held - 1, held)]
        assert factors == ([1.0, 0.5] if held else [factors[0], 0.5])


def test_steps_are_epochs_also_where_the_budget_is_another() -> None:
    recipe = Recipe(
        epochs=None, iterations=40, warm_up=0.25, schedule="multi_step",
        schedule_steps=(1, 3), gamma=0.1,
    )  # fmt: skip
    per_epoch = 4
    factors = [lr_factor(recipe, n / 40, n / per_epoch) for n in range(40)]
    # ten updates of warm-up are 2.5 epochs: e is 0.5 in the third one, 1.5 in the fourth
    assert factors[:12] == [1.0] * 12
    assert factors[12:20] == pytest.approx([0.1] * 8)
    assert factors[20:] == pytest.approx([0.01] * 20)
    minutes = Recipe(epochs=None, minutes=5, warm_up=0.0, schedule="exponential", gamma=0.5)
    assert [lr_factor(minutes, 0.9, n / 2) for n in range(4)] == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("budget", ["iterations", "minutes"])
def test_the_published_cosine_is_ours_where_the_budget_is_no_epochs(budget: str) -> None:
    """A run shorter than an epoch would otherwise have rate 0 all the way."""
    given: dict[str, Any] = {"epochs": None, budget: 10, "warm_up": 0.2}
    for n in range(11):
        published = lr_factor(Recipe(**given, schedule="sgdr"), n / 10, n / 100)
        assert published == lr_factor(Recipe(**given), n / 10, n / 100)


def test_a_ramp_goes_with_every_schedule() -> None:
    recipe = Recipe(epochs=4, warm_up=0.0, ramp=0.5, schedule="step", gamma=0.5)
    assert lr_factor(recipe, 0.25, 1.0) == pytest.approx((0.05 + 0.95 / 2) * 0.5**2)
