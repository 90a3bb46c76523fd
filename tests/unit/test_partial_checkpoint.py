"""Taking what fits from a checkpoint of other classes or of a sibling."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.models.network import SsdNetwork, create_model  # noqa: E402
from ssd_small.models.partial_checkpoint import PartialLoad, load_fitting  # noqa: E402
from ssd_small.training.initialise import initial_network  # noqa: E402
from ssd_small.training.recipe import Recipe  # noqa: E402

COUNTER = "num_batches_tracked"


def _network(seed: int, classes: int = 3, width: float = 0.1) -> SsdNetwork:
    torch.manual_seed(seed)
    net = create_model("mobilenet_v1", classes, width)
    for name, value in net.state_dict().items():
        if name.endswith(COUNTER):
            value.fill_(seed)
    return net


def _saved(state: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save(state, folder / "c.pth")
    return folder / "c.pth"


def test_all_but_the_class_heads_is_taken_from_other_classes(tmp_path: Path) -> None:
    source, net = _network(5, classes=7), _network(1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = source.state_dict()
    told = load_fitting(net, _saved(state, tmp_path))
    heads = tuple(key for key in before if key.startswith("conf."))
    assert told == PartialLoad(
        sum(not key.endswith(COUNTER) for key in state) - len(heads), heads, (), ()
    )
    for key, value in net.state_dict().items():
        assert torch.equal(value, (before if key in heads else state)[key]), key


def test_the_line_says_what_was_and_was_not_taken(tmp_path: Path) -> None:
    state = _network(5).state_dict()
    total = sum(not key.endswith(COUNTER) for key in state)
    state["surplus"] = state.pop("norm.weight")
    state["loc.0.bias"] = torch.zeros(5)
    del state["base.0.conv.1.running_mean"]
    path = _saved(state, tmp_path)
    assert load_fitting(_network(1), path).line(path, "mobilenet_v1") == (
        f"took {total - 3} of {total - 1} tensors of {path}; not taken: loc.0.bias (other shape), "
        "surplus (not in mobilenet_v1); not in it, so random: "
        "base.0.conv.1.running_mean and 1 more"
    )


def test_the_line_names_the_network_of_a_record_that_is_another() -> None:
    name = "bccd/mobilenet_v1_s1l0"
    told = load_fitting(_network(1, width=0.25), name)
    assert f" of {name}, which is of a mobilenet_v1_s1l0" in told.line(name, "mobilenet_v1")
    assert "which is" not in told.line(name, "mobilenet_v1_s1l0")


def test_a_counter_goes_with_its_batch_norm(tmp_path: Path) -> None:
    state = _network(5).state_dict()
    state["base.0.conv.1.running_mean"] = torch.zeros(9)
    net = _network(1)
    load_fitting(net, _saved(state, tmp_path))
    counters = {k: int(v) for k, v in net.state_dict().items() if k.endswith(COUNTER)}
    assert counters.pop(f"base.0.conv.1.{COUNTER}") == 1
    assert set(counters.values()) == {5}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "it is empty"),
        (
            {"features.0.weight": torch.zeros(8, 3, 3, 3)},
            r"such as features\.0.*no network known here",
        ),
        (_network(0, width=0.5).state_dict(), r"it has width 0\.5: pass --width 0\.5"),
        (create_model("vgg16", 3, 0.1).state_dict(), "pass that --model"),
    ],
)
def test_a_checkpoint_of_which_nothing_fits_the_backbone_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], words: str
) -> None:
    net = _network(1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(BadFile) as caught:
        load_fitting(net, _saved(state, tmp_path))
    (line,) = caught.value.command_line.splitlines()
    assert re.search(words, line), line
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_weights_that_are_no_numbers_are_refused_where_they_would_be_taken(tmp_path: Path) -> None:
    state = _network(5, classes=7).state_dict()
    state["conf.0.bias"] = torch.full_like(state["conf.0.bias"], float("nan"))
    load_fitting(_network(1), _saved(state, tmp_path))
    state["loc.0.bias"] = torch.full_like(state["loc.0.bias"], float("nan"))
    with pytest.raises(BadFile, match=r"loc\.0\.bias holds NaN"):
        load_fitting(_network(1), _saved(state, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["fitting", "base,conf", "base", "all"])
def test_every_scope_takes_from_what_a_trainer_wrote(tmp_path: Path, scope: str) -> None:
    source = _network(0).state_dict()
    wrapped = {f"module._orig_mod.{key}": value.double() for key, value in source.items()}
    path = tmp_path / "c.pth"
    torch.save({"model": wrapped, "args": Namespace(lr=1), "epoch": 3}, path)
    net = initial_network("mobilenet_v1", 3, 0.1, Recipe(), path, scope)
    taken = [key for key in source if scope in ("fitting", "all") or key.startswith("base.")]
    assert all(torch.equal(net.state_dict()[key], source[key]) for key in taken)
    wrapped["module._orig_mod.base.0.conv.0.weight"] = torch.ones(8, 3, 3, 3, dtype=torch.int8)
    torch.save({"model": wrapped}, path)
    with pytest.raises(BadFile, match=r"base\.0\.conv\.0\.weight is a tensor of torch\.int8"):
        initial_network("mobilenet_v1", 3, 0.1, Recipe(), path, scope)
