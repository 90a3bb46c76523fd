"""Parts of the network that do not learn, and parts of a checkpoint that are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from training_doubles import (  # noqa: E402
    CLASSES,
    MODEL,
    WIDTH,
    NoiseBatches,
    learner_of,
    small_recipe,
    train_noise,
)

from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.training.initialise import initial_network  # noqa: E402
from ssd_small.training.recipe import OPTIMIZERS, SCHEDULES, Recipe  # noqa: E402
from ssd_small.training.scope import names_without_part  # noqa: E402
from ssd_small.training.step import Learner, update  # noqa: E402

pytestmark = pytest.mark.slow

PARTS = ("base", "norm", "extras", "loc", "conf")


def _updates(learner: Learner, count: int = 2) -> None:
    batches = NoiseBatches(learner.net)
    for number in range(count):
        learner.set_lr(1.0)
        update(learner, *batches.batch(number), list)


def _part(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize(
    "scope", [("base",), ("norm",), ("extras", "conf"), ("loc", "conf"), PARTS, None]
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_not_in_scope_is_bit_unchanged_and_the_rest_learns(
    optimizer: str, scope: tuple[str, ...] | None
) -> None:
    """With decay, clipping and the average, each of which touches all it is given."""
    # every prior is in the loss, so that every parameter has a gradient
    more = {"lr": 1e-3, "weight_decay": 0.01, "negative_ratio": 1e4}
    recipe = small_recipe(optimizer=optimizer, trainable_scope=scope, **more)
    learner = learner_of(recipe)
    before = {name: p.detach().clone() for name, p in learner.net.named_parameters()}
    _updates(learner)
    learns = set(scope or PARTS)
    averaged = dict(learner.result.named_parameters())
    for name, parameter in learner.net.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == (_part(name) in learns), name
        assert torch.equal(averaged[name], before[name]) == (not moved), name
        assert parameter.requires_grad == moved
    held = [p for group in learner.optimizer.param_groups for p in group["params"]]
    names = {id(p): _part(n) for n, p in learner.net.named_parameters()}
    assert {names[id(p)] for p in held} == learns
    assert len(learner.optimizer.param_groups) == 2


def test_batch_norms_that_do_not_learn_go_on_averaging() -> None:
    learner = learner_of(small_recipe(trainable_scope=("conf",)))
    norms = [m for m in learner.net.base.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    _updates(learner, 1)
    assert all(not torch.equal(n.running_mean, b) for n, b in zip(norms, before, strict=True))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_trains(schedule: str, tmp_path: Path) -> None:
    recipe = small_recipe(schedule=schedule, gamma=0.5, ramp=0.0)
    run = train_noise(tmp_path, recipe)
    rates = [row["lr"] for row in run.history.rows]
    # at updates 2, 4 and 6 of two epochs of three
    first, last = {
        "cosine": (1.0, 0.5),
        "sgdr": (0.5, 0.0),
        "step": (0.5, 0.25),
        "multi_step": (0.5, 0.5),
        "exponential": (0.5, 0.25),
    }[schedule]
    assert rates == pytest.approx([0.01 * first, 0.01 * last, 0.01 * last])


def test_names_that_the_network_lacks_are_skipped_and_told() -> None:
    scope = ("transforms", "conf", "pyramids")
    learner = learner_of(small_recipe(trainable_scope=scope))
    assert names_without_part(learner.net, scope) == ["transforms", "pyramids"]
    assert names_without_part(learner.net, None) == []
    learning = {_part(n) for n, p in learner.net.named_parameters() if p.requires_grad}
    assert learning == {"conf"}


def test_a_scope_of_nothing_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"trainable_scope transforms: .*expected some of base, norm"
    ) as caught:
        learner_of(small_recipe(trainable_scope=("transforms",)))
    assert caught.value.exit_code == 2


# --- what is taken from a checkpoint


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A sibling with more classes and a tensor of its own, as a published checkpoint has it."""
    torch.manual_seed(5)
    state = create_model("mobilenet_v1_s1l0", 7, WIDTH).state_dict()
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    state["extras.9.conv.0.weight"] = torch.zeros(3)
    path = tmp_path / "trained.pth"
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    return path


def _taken(path: Path, scope: str, said: list[str] | None = None) -> tuple[set[str], int]:
    """Keys of the network that are the checkpoint's, and how many it has."""
    fresh = initial_network(MODEL, CLASSES, WIDTH, Recipe(seed=1)).state_dict()
    say = (said if said is not None else []).append
    net = initial_network(MODEL, CLASSES, WIDTH, Recipe(seed=1), path, scope, say).state_dict()
    theirs = torch.load(path, weights_only=True)
    taken = {k for k in net if not torch.equal(net[k], fresh[k])}
    for key in taken:
        assert torch.equal(net[key], theirs[f"module.{key}"])
    return taken, len(net)


def test_substrings_choose_keys_wherever_they_stand_in_them(trained: Path) -> None:
    said: list[str] = []
    taken, total = _taken(trained, "extras, base.1", said)
    parts = {".".join(key.split(".")[:2]) for key in taken}
    # base.1 is part of base.10 too
    assert parts == {
        *(f"base.{i}" for i in (1, 10, 11, 12, 13)),
        *(f"extras.{i}" for i in range(4)),
    }
    assert len(taken) < total
    (line,) = said
    assert "not taken: extras.9.conv.0.weight (not in mobilenet_v1)" in line
    assert "random" not in line


def test_what_the_checkpoint_lacks_keeps_its_value_and_is_told(trained: Path) -> None:
    content = torch.load(trained, weights_only=True)
    del content["module.base.3.conv.0.weight"]
    torch.save(content, trained)
    said: list[str] = []
    taken, _ = _taken(trained, "base,norm", said)
    assert "base.3.conv.0.weight" not in taken
    assert "base.3.conv.3.weight" in taken
    assert "not in it, so random: base.3.conv.0.weight" in said[0]


def test_a_tensor_of_another_shape_in_scope_is_refused_by_name(trained: Path) -> None:
    with pytest.raises(
        BadFile, match=r"conf\.0\.weight \[42, .*expected \[18, .*conf\.5"
    ) as caught:
        _taken(trained, "base,loc,conf")
    assert "\n" not in str(caught.value)
    _taken(trained, "base,loc.0")


@pytest.mark.parametrize("scope", ["layer1", "base.99,layer1", "num_batches_tracked"])
def test_a_checkpoint_with_nothing_to_take_is_refused(trained: Path, scope: str) -> None:
    with pytest.raises(BadFile, match="nothing to take"):
        _taken(trained, scope)


def test_base_among_others_asks_for_some_of_the_backbone(trained: Path) -> None:
    content = torch.load(trained, weights_only=True)
    torch.save({k: v for k, v in content.items() if ".base." not in k}, trained)
    with pytest.raises(BadFile, match="nothing to take for the backbone"):
        _taken(trained, "base,extras")
    with pytest.raises(BadFile, match="does not fit"):
        _taken(trained, "base")
    _taken(trained, "extras")


def test_the_scope_base_alone_asks_for_the_whole_backbone(trained: Path) -> None:
    content = torch.load(trained, weights_only=True)
    del content["module.base.3.conv.0.weight"]
    torch.save(content, trained)
    with pytest.raises(BadFile, match=r"missing: base\.3\.conv\.0\.weight"):
        _taken(trained, "base")


@pytest.mark.parametrize("scope", ["", "base,", ",", "a\nb"])
def test_no_word_is_no_scope(trained: Path, scope: str) -> None:
    with pytest.raises(UsageError, match=r"init_scope .*expected base, all, fitting, or"):
        _taken(trained, scope)
