"""Published hyper-parameters and the schedule, against PyTorch's own where it has one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.artefacts.record import Fields  # noqa: E402
from ssd_small.errors import UsageError  # noqa: E402
from ssd_small.models.registry import list_models  # noqa: E402
from ssd_small.training.recipe import (  # noqa: E402
    Recipe,
    changed_for_random_weights,
    published_recipe,
    recipe_differences,
    recipe_from_fields,
)
from ssd_small.training.schedule import lr_factor, progress_of  # noqa: E402


@pytest.mark.parametrize(
    ("model", "epochs", "batch", "lr", "held"),
    [
        ("vgg16", 60, 32, 0.004, 5),
        ("vgg16_s1l2", 60, 16, 0.004, 5),
        ("vgg16_s1l2_dual", 60, 16, 0.004, 5),
        ("mobilenet_v1", 100, 32, 0.001, 0),
        ("mobilenet_v1_s1l0", 100, 24, 0.001, 0),
        ("mobilenet_v1_s1l0_dual", 100, 24, 0.001, 0),
    ],
)
def test_published_values(model: str, epochs: int, batch: int, lr: float, held: int) -> None:
    recipe = published_recipe(model)
    assert (recipe.epochs, recipe.batch, recipe.lr) == (epochs, batch, lr)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 1e-4)
    assert recipe.warm_up * epochs == pytest.approx(held)
    assert (recipe.negative_ratio, recipe.match_iou, recipe.expand) == (3.0, 0.5, 0.6)
    # what is not published is off
    assert (recipe.ramp, recipe.head_lr, recipe.clip_norm, recipe.ema_decay) == (
        0,
        None,
        None,
        None,
    )


def test_every_network_has_a_recipe() -> None:
    for name in list_models():
        assert published_recipe(name).batch > 0
    with pytest.raises(UsageError, match="unknown model"):
        published_recipe("resnet")


@pytest.mark.parametrize("model", ["vgg16", "mobilenet_v1"])
def test_the_rate_is_that_of_the_published_schedule(model: str) -> None:
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
            assert recipe.lr * lr_factor(recipe, done) == pytest.approx(expected, abs=1e-9)
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
            assert lr_factor(recipe, at) == pytest.approx(expected, abs=1e-12)
            before = progress_of(recipe, epoch * per_epoch - 1, per_epoch, 0.0)
            assert lr_factor(recipe, before) > lr_factor(recipe, at)


def test_a_budget_of_updates_or_minutes_moves_the_rate_smoothly() -> None:
    updates = Recipe(epochs=None, iterations=100, warm_up=0.2, ramp=0.1)
    factors = [lr_factor(updates, progress_of(updates, i, 9, 0.0)) for i in range(101)]
    assert factors[0] == pytest.approx(0.05)
    assert factors[5] == pytest.approx(0.525)
    assert factors[10:20] == [1.0] * 10
    assert factors[60] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    minutes = Recipe(epochs=None, minutes=2.0, warm_up=0.0)
    assert lr_factor(minutes, progress_of(minutes, 7, 9, 60.0)) == pytest.approx(0.5)


def test_constant_all_the_way() -> None:
    recipe = Recipe(epochs=3, warm_up=1.0)
    assert {lr_factor(recipe, p / 10) for p in range(11)} == {1.0}


def test_a_budget_takes_the_place_of_another() -> None:
    recipe = published_recipe("vgg16").with_changes(iterations=10, lr=0.1, batch=None)
    assert (recipe.epochs, recipe.iterations, recipe.lr, recipe.batch) == (None, 10, 0.1, 32)
    with pytest.raises(UsageError, match="epochs and minutes"):
        recipe.with_changes(epochs=2, minutes=1.0)


@pytest.mark.parametrize(
    "given",
    [
        {"lr": 0.0},
        {"lr": math.nan},
        {"batch": 0},
        {"momentum": 1.0},
        {"warm_up": 1.5},
        {"clip_norm": -1.0},
        {"ema_decay": 1.0},
        {"background": 0.0},
        {"match_iou": 0.0},
        {"precision": "fp16"},
        {"seed": -1},
        {"minutes": math.inf},
        {"weight_decay": math.nan},
    ],
)
def test_impossible_values_are_named(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(given))} .*expected"):
        Recipe().with_changes(**given)


def test_differences_are_named() -> None:
    assert recipe_differences(Recipe(), Recipe().to_dict()) == []
    other = Recipe(lr=0.5, ema_decay=0.9).to_dict()
    assert recipe_differences(Recipe(), other) == [
        "lr is 0.004, was 0.5",
        "ema_decay is None, was 0.9",
    ]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(epochs=None, minutes=2.5, head_lr=0.1, clip_norm=3.0, ema_decay=0.9),
        Recipe(background=0.5, precision="amp", channels_last=False, seed=2**63 - 1),
    ],
)
def test_a_recipe_is_read_back_from_json(recipe: Recipe) -> None:
    assert recipe_from_fields(Fields(json.loads(json.dumps(recipe.to_dict())))) == recipe


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", None),
        ("lr", "0.1"),
        ("lr", -1),
        ("batch", 2.5),
        ("batch", True),
        ("channels_last", 1),
        ("precision", "fp8"),
        ("epochs", None),
        ("seed", 2**63),
    ],
)
def test_what_is_no_recipe_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        recipe_from_fields(Fields(Recipe().to_dict() | {name: value}))
    without = {key: kept for key, kept in Recipe().to_dict().items() if key != "momentum"}
    with pytest.raises(ValueError, match="momentum is missing"):
        recipe_from_fields(Fields(without))


@pytest.mark.parametrize("model", list_models())
def test_a_recipe_is_for_random_weights_once_one_of_the_four_options_is_set(model: str) -> None:
    recipe = published_recipe(model)
    assert not changed_for_random_weights(model, recipe.with_changes(lr=0.1, batch=2, seed=9))
    for name, value in {"norm_scale": 8, "background": 0.9, "clip_norm": 10, "ramp": 0.03}.items():
        assert changed_for_random_weights(model, recipe.with_changes(**{name: value}))
