"""SGD, RMSprop and Adam as a recipe asks for them; resuming with each; their state when damaged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from training_doubles import ABOUT, NoiseBatches, learner_of, small_recipe, train_noise  # noqa: E402

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.training.optimizers import optimizer_from_recipe  # noqa: E402
from ssd_small.training.recipe import OPTIMIZERS, Recipe  # noqa: E402
from ssd_small.training.run import Run  # noqa: E402
from ssd_small.training.step import update  # noqa: E402
from ssd_small.training.stopping import Stopped  # noqa: E402

pytestmark = pytest.mark.slow

LR, DECAY = 0.01, 0.1


def _after(recipe: Recipe, weight: float, gradients: list[float]) -> list[float]:
    """A weight after updates with these gradients, in the group of the heads."""
    parameter = torch.nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    optimizer = optimizer_from_recipe(recipe, [], [parameter])
    seen = []
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        seen.append(parameter.item())
    return seen


def _recipe(**given: Any) -> Recipe:
    return Recipe(lr=LR, weight_decay=DECAY, momentum=0.8, momentum_2=0.7, eps=0.01, **given)


GRADIENTS = [0.3, -1.2, 0.05]


def test_sgd_by_hand() -> None:
    w, momentum, expected = 2.0, 0.0, []
    for gradient in GRADIENTS:
        momentum = 0.8 * momentum + (gradient + DECAY * w)
        w -= LR * momentum  # no Nesterov
        expected.append(w)
    assert _after(_recipe(), 2.0, GRADIENTS) == pytest.approx(expected, rel=1e-12)


def test_rmsprop_by_hand() -> None:
    w, momentum, square, expected = 2.0, 0.0, 0.0, []
    for gradient in GRADIENTS:
        g = gradient + DECAY * w
        square = 0.7 * square + 0.3 * g * g  # momentum_2 is what PyTorch calls alpha
        momentum = 0.8 * momentum + g / (math.sqrt(square) + 0.01)
        w -= LR * momentum
        expected.append(w)
    assert _after(_recipe(optimizer="rmsprop"), 2.0, GRADIENTS) == pytest.approx(
        expected, rel=1e-12
    )


def test_adam_by_hand() -> None:
    w, mean, square, expected = 2.0, 0.0, 0.0, []
    for n, gradient in enumerate(GRADIENTS, 1):
        g = gradient + DECAY * w  # in the gradient, not beside it as AdamW has it
        mean = 0.8 * mean + 0.2 * g
        square = 0.7 * square + 0.3 * g * g
        root = math.sqrt(square / (1 - 0.7**n)) + 0.01
        w -= LR * mean / (1 - 0.8**n) / root
        expected.append(w)
    assert _after(_recipe(optimizer="adam"), 2.0, GRADIENTS) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_heads_have_their_own_rate_under_each(name: str) -> None:
    recipe = Recipe(
        epochs=1, batch=2, lr=1e-3, head_lr=1e-6, norm_scale=8.0, weight_decay=0.0, optimizer=name,
    )  # type: ignore[arg-type] # fmt: skip
    learner = learner_of(recipe)
    before = {n: p.detach().clone() for n, p in learner.net.named_parameters()}
    assert learner.set_lr(0.5) == 5e-4
    update(learner, *NoiseBatches(learner.net).batch(0), list)
    moved = {
        n: float((p.detach() - before[n]).abs().max()) for n, p in learner.net.named_parameters()
    }
    heads = [moved[n] for n in moved if n.startswith(("loc.", "conf."))]
    rest = [moved[n] for n in moved if not n.startswith(("loc.", "conf."))]
    # a thousandth of the rate; the largest gradients of the two differ by less than a hundred
    assert 0 < max(heads) < 0.1 * max(rest)


def _moving(name: str, **given: Any) -> Recipe:
    """With a rate that moves, and what the other tests of resuming have."""
    schedule = {"sgd": "multi_step", "rmsprop": "sgdr", "adam": "exponential"}[name]
    return small_recipe(
        optimizer=name, schedule=schedule, lr=1e-3, gamma=0.5, momentum_2=0.9, **given
    )


def _equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scope", [None, ("extras", "conf")])
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    name: str, scope: tuple[str, ...] | None, tmp_path: Path
) -> None:
    recipe = _moving(name, trainable_scope=scope)
    whole = train_noise(tmp_path / "whole", recipe)
    with pytest.raises(Stopped):
        train_noise(tmp_path / "run", recipe, stop_at=2)
    run = train_noise(tmp_path / "run", recipe, resume=True)
    assert run.position.iteration == 6
    for mine, theirs in (
        (run.learner.net.state_dict(), whole.learner.net.state_dict()),
        (run.learner.optimizer.state_dict(), whole.learner.optimizer.state_dict()),
        (run.learner.ema.state_dict(), whole.learner.ema.state_dict()),
    ):
        assert _equal(mine, theirs)


@pytest.fixture(scope="module", params=OPTIMIZERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch under each optimizer."""
    recipe = _moving(request.param, epochs=1)
    return train_noise(tmp_path_factory.mktemp(request.param), recipe)


def _first_state(content: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = content["optimizer"]["state"][0]
    return state


def _tensor_of(state: dict[str, Any]) -> str:
    return next(name for name in state if name != "step")


def _shortened(content: dict[str, Any]) -> None:
    state = _first_state(content)
    state[_tensor_of(state)] = state[_tensor_of(state)].flatten()[:1]


def _with_nan(content: dict[str, Any]) -> None:
    state = _first_state(content)
    state[_tensor_of(state)].fill_(math.nan)


def _as_text(content: dict[str, Any]) -> None:
    state = _first_state(content)
    state[_tensor_of(state)] = "odd"


def _without_one(content: dict[str, Any]) -> None:
    state = _first_state(content)
    del state[_tensor_of(state)]
    state["novelty"] = torch.zeros(1)


def _of_more_parameters(content: dict[str, Any]) -> None:
    content["optimizer"]["param_groups"][0]["params"].append(10_000)


def _of_an_unknown_parameter(content: dict[str, Any]) -> None:
    content["optimizer"]["state"][10_000] = _first_state(content)


def _without_groups(content: dict[str, Any]) -> None:
    del content["optimizer"]["param_groups"]


def _no_state(content: dict[str, Any]) -> None:
    content["optimizer"] = [1]


DAMAGES = (
    _shortened, _with_nan, _as_text, _without_one, _of_more_parameters, _of_an_unknown_parameter,
    _without_groups, _no_state,
)  # fmt: skip


def _resumed(saved: Run, folder: Path, change: Callable[[dict[str, Any]], None]) -> Run:
    content = torch.load(saved.folder.resume, weights_only=True)
    change(content)
    torch.save(content, folder / "resume.pth")
    learner = learner_of(saved.learner.recipe)
    return Run.resumed(learner, NoiseBatches(learner.net), ABOUT, folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused(
    saved: Run, tmp_path: Path, damage: Callable[..., None]
) -> None:
    with pytest.raises(BadFile, match=r"resume\.pth: it is damaged"):
        _resumed(saved, tmp_path, damage)


@pytest.mark.parametrize("value", [-1.0, math.nan, [1.0, 2.0], "odd", None])
def test_a_damaged_number_of_updates_is_refused(saved: Run, tmp_path: Path, value: object) -> None:
    def damage(content: dict[str, Any]) -> None:
        changed = value if isinstance(value, str | None) else torch.tensor(value)
        _first_state(content)["step"] = changed

    with pytest.raises(BadFile, match=r"resume\.pth: it is damaged"):
        _resumed(saved, tmp_path, damage)


def test_a_mean_of_squares_is_not_negative(saved: Run, tmp_path: Path) -> None:
    if saved.learner.recipe.optimizer == "sgd":
        return

    def damage(content: dict[str, Any]) -> None:
        state = _first_state(content)
        (name,) = {"square_avg", "exp_avg_sq"} & state.keys()
        state[name].fill_(-1.0)

    with pytest.raises(BadFile, match="damaged"):
        _resumed(saved, tmp_path, damage)


def test_the_numbers_are_those_of_the_recipe_whatever_the_state_says(
    saved: Run, tmp_path: Path
) -> None:
    def damage(content: dict[str, Any]) -> None:
        for group in content["optimizer"]["param_groups"]:
            group.update(momentum=0.1, weight_decay=9.0, betas=(0.1, 0.1), alpha=0.1, eps=1.0)

    groups = _resumed(saved, tmp_path, damage).learner.optimizer.param_groups
    fresh = learner_of(saved.learner.recipe).optimizer.param_groups
    for mine, theirs in zip(groups, fresh, strict=True):
        assert {k: v for k, v in mine.items() if k != "params"} == {
            k: v for k, v in theirs.items() if k != "params"
        }


def test_a_resume_file_with_another_optimizer_is_refused_by_older_versions(saved: Run) -> None:
    content = torch.load(saved.folder.resume, weights_only=True)
    assert content["format"] == 2
    assert content["about"]["recipe"]["optimizer"] == saved.learner.recipe.optimizer
