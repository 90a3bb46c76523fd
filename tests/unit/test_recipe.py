"""Published hyper-parameters, what may be set, and how a record keeps it."""

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

#: what records of format 1 do not hold
LATER = {
    "optimizer": "adam",
    "momentum_2": 0.5,
    "eps": 1e-3,
    "schedule": "step",
    "schedule_steps": (3, 9),
    "gamma": 0.5,
    "trainable_scope": ("loc",),
}


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
        {"optimizer": "lion"},
        {"momentum_2": 1.0},
        {"eps": 0.0},
        {"schedule": "linear"},
        {"schedule_steps": ()},
        {"schedule_steps": (3, 0)},
        {"gamma": 1.5},
        {"gamma": 0.0},
        {"trainable_scope": ()},
        {"trainable_scope": ("base", "")},
    ],
)
def test_impossible_values_are_named(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(given))} .*expected"):
        Recipe().with_changes(**given)


@pytest.mark.parametrize("schedule", ["step", "multi_step", "exponential"])
def test_epochs_of_a_warm_up_in_minutes_are_not_known(schedule: str) -> None:
    with pytest.raises(UsageError, match=f"warm_up 0.1 with minutes and schedule {schedule}"):
        Recipe(epochs=None, minutes=5, warm_up=0.1, schedule=schedule)  # type: ignore[arg-type]
    Recipe(epochs=None, minutes=5, warm_up=0.0, schedule=schedule)  # type: ignore[arg-type]


def test_differences_are_named() -> None:
    assert recipe_differences(Recipe(), Recipe().to_dict()) == []
    other = Recipe(lr=0.5, ema_decay=0.9).to_dict()
    assert recipe_differences(Recipe(), other) == [
        "lr is 0.004, was 0.5",
        "ema_decay is None, was 0.9",
    ]
    mine = Recipe(schedule_steps=(10, 20), trainable_scope=("loc", "conf"))
    assert recipe_differences(mine, mine.to_dict()) == []
    assert recipe_differences(mine, Recipe().to_dict()) == [
        "schedule_steps is [10, 20], was [1]",
        "trainable_scope is ['loc', 'conf'], was None",
    ]


def test_a_run_of_before_is_one_with_the_defaults_of_what_came_later() -> None:
    then = {name: value for name, value in Recipe().to_dict().items() if name not in LATER}
    assert recipe_from_fields(Fields(then), 1) == Recipe()
    assert recipe_differences(Recipe(), then) == []
    assert recipe_differences(Recipe(optimizer="adam"), then) == ["optimizer is 'adam', was 'sgd'"]
    with pytest.raises(ValueError, match="optimizer is missing"):
        recipe_from_fields(Fields(then))


@pytest.mark.parametrize("name", LATER)
def test_what_a_reader_of_format_1_would_not_obey_needs_format_2(name: str) -> None:
    assert not Recipe(lr=0.5, seed=3).needs_format_2
    assert Recipe().with_changes(**{name: LATER[name]}).needs_format_2


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(epochs=None, minutes=2.5, head_lr=0.1, clip_norm=3.0, ema_decay=0.9),
        Recipe(background=0.5, precision="amp", channels_last=False, seed=2**63 - 1),
        Recipe().with_changes(**LATER),
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
        ("optimizer", "lion"),
        ("schedule_steps", 3),
        ("schedule_steps", [0]),
        ("trainable_scope", "base"),
        ("gamma", "0.5"),
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
    assert not changed_for_random_weights(recipe.with_changes(lr=0.1, batch=2, seed=9))
    for name, value in {"norm_scale": 8, "background": 0.9, "clip_norm": 10, "ramp": 0.03}.items():
        assert changed_for_random_weights(recipe.with_changes(**{name: value}))
