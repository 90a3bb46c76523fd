"""State dicts in what trainers put around them: the same tensors, or the true reason why not."""

from __future__ import annotations

import argparse
import collections
import datetime
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ssd_small
from ssd_small.errors import BadFile, Note
from ssd_small.models.checkpoint import read_checkpoint, read_state_dict
from ssd_small.models.containers import ROOTS, weights_from_content
from ssd_small.models.network import SsdNetwork
from ssd_small.models.registry import get_spec, known_models

State = dict[str, Any]
HERE = Path("c.pth")


def _state(offset: float = 0) -> State:
    """Keys of every root, with values that differ."""
    keys = ("base.0.weight", "norm.weight", "extras.0.bias", "loc.0.weight", "conf.0.weight")
    keys += ("base.1.running_var", "base.1.num_batches_tracked")
    return {key: torch.full((2, 3), float(i + offset)) for i, key in enumerate(keys)}


STATE, OTHER = _state(), _state(100)


def _with(prefix: str, state: State = STATE) -> State:
    return {prefix + key: value for key, value in state.items()}


def _same(found: State, expected: State = STATE) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[k], expected[k]) for k in found
    )


#: what stands beside weights in checkpoints of trainers
BESIDE: State = {
    "epoch": 3,
    "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    "lr_scheduler": {"milestones": collections.Counter([3])},
    "args": argparse.Namespace(lr=0.1, output=Path("x"), device=torch.device("cpu")),
    "config": types.SimpleNamespace(a=1),
    "best": np.float64(0.5),
    "scores": [np.float32(0.5), np.int64(3), np.bool_(True)],
    "history": np.zeros(3),
    "random": np.random.get_state(),
    "when": datetime.datetime(2026, 1, 2),
    "took": datetime.timedelta(1),
    "counts": collections.defaultdict(list, {"a": [1]}),
    "window": collections.deque([1.0], 5),
    "part": slice(1, 2),
    "torch": torch.__version__,
    "loss": torch.tensor(0.5),
    "set": {1},
    "none": None,
}
CONTENTS: dict[str, State] = {
    **{name: {name: STATE, **BESIDE} for name in ("model", "net", "network", "weights", "params")},
    **{name: {name: STATE} for name in ("model_state_dict", "model_state", "state_dict", "x")},
    **{name: {name: STATE} for name in ("ema", "model_ema", "ema_state_dict")},
    "averaged": {"n_averaged": torch.tensor(5), **_with("module.")},
    "averaged and compiled": {"n_averaged": torch.tensor(5), **_with("module._orig_mod.")},
    "lightning": {"state_dict": _with("model."), "hyper_parameters": {"lr": 1}, **BESIDE},
    "deep": {"checkpoint": {"model": {"state_dict": _with("module.net.")}}},
    "ema with its rate": {"ema": {"module": STATE, "decay": 0.9, "updates": 3}},
    "flat": {**STATE, "epoch": 3, "arch": "x"},
    "ordered": {"model": collections.OrderedDict(STATE)},
    "default": {"model": collections.defaultdict(float, STATE)},
    "parameters": {key: torch.nn.Parameter(value) for key, value in STATE.items()},
    "twice the same": {"model": STATE, "state_dict": _state()},
    "a compiled part": {
        key.replace("base.", "base._orig_mod."): value for key, value in STATE.items()
    },
    "under a name of ours": _with("base."),
}


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", CONTENTS)
def test_the_same_tensors_come_out_of_every_container(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save(CONTENTS[name], path, _use_new_zipfile_serialization=form == "zip")
    assert _same(read_state_dict(path))


PREFIXES = ("_orig_mod.", "module.", "model.", "net.", "ema_model.", "ssd.", "detector.", "a.b.")
NAMES = ("model", "net", "state_dict", "ema", "weights", "checkpoint")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(PREFIXES), max_size=4),
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.dictionaries(st.sampled_from(sorted(BESIDE)), st.integers(), max_size=3),
)
def test_any_nesting_of_wrappers_and_containers_loads(
    prefixes: list[str], names: list[str], beside: dict[str, int]
) -> None:
    content: State = _with("".join(prefixes))
    for name in names:
        content = {name: content, **beside}
    found, record = weights_from_content(content, HERE)
    assert _same(found)
    assert record is None


def test_no_network_has_a_part_of_a_key_that_is_taken_off() -> None:
    """Else a key of its own would lose it."""
    with torch.device("meta"):
        for name in known_models():
            state = SsdNetwork(get_spec(name), 3, 0.1).state_dict()
            assert {key.partition(".")[0] for key in state} <= ROOTS
            assert list(weights_from_content(state, HERE)[0]) == list(state)


# --- several state dicts in one file


@pytest.mark.parametrize(
    ("content", "taken", "words"),
    [
        ({"model": STATE, "model_ema": OTHER}, OTHER, "took 'model_ema' (averaged weights"),
        ({"ema": {"module": OTHER}, "model": STATE}, OTHER, "took 'ema.module'"),
        (_with("net.") | _with("ema_net.", OTHER), OTHER, "took 'ema_net'"),
        ({**STATE, "swa": OTHER}, OTHER, "rather than the tensors without a prefix"),
        (
            {"model": STATE, "ema": {k: v for k, v in OTHER.items() if "var" not in k}},
            STATE,
            "took 'model' ('ema' lacks 1 of its tensors)",
        ),
    ],
)
def test_averaged_weights_are_taken_where_they_are_whole_and_it_is_said(
    content: State, taken: State, words: str
) -> None:
    with pytest.warns(Note) as caught:
        found, _ = weights_from_content(content, HERE)
    assert _same(found, taken)
    assert [words in str(one.message) for one in caught] == [True]


@pytest.mark.parametrize(
    "beside",
    [
        # Lightning's WeightAveraging
        {"current_model_state": OTHER, "averaging_state": {"n_averaged": torch.tensor(5)}},
        # MMEngine's EMAHook
        {
            "ema_state_dict": {"steps": torch.tensor(5), **_with("module.", OTHER)},
            "meta": {"mmengine_version": "0.10.7"},
        },
    ],
)
def test_an_average_that_was_saved_as_the_state_dict_is_not_replaced_by_the_last_step(
    beside: State,
) -> None:
    found, _ = weights_from_content({"state_dict": STATE, **beside}, HERE)
    assert _same(found)


def test_counters_of_averages_are_no_weights() -> None:
    # as ema_pytorch's EMA writes them
    counters = {"initted": torch.tensor([True]), "step": torch.tensor([4])}
    assert _same(weights_from_content({**_with("ema_model."), **counters}, HERE)[0])


def test_nothing_is_said_where_there_is_no_choice() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _same(weights_from_content({"ema": STATE, "model": None}, HERE)[0])
        assert _same(weights_from_content({"model": STATE, "loss": {"a.b": OTHER}}, HERE)[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"generator": STATE, "teacher": OTHER}, "several state dicts ('generator', 'teacher')"),
        (
            _with("student.") | _with("teacher.", OTHER),
            "several state dicts ('student', 'teacher')",
        ),
        (STATE | _with("module.", OTHER), "holds base.0.weight twice, with other values"),
        ([1], "it holds a list, no dictionary"),
        (torch.ones(2), "it holds a Tensor, no dictionary"),
        ({}, "no dictionary of tensors (it is empty)"),
        ({"model": None, "epoch": 3}, "('model': NoneType, 'epoch': int)"),
        (BESIDE["optimizer"], "no dictionary of tensors ('state': dict"),
        ({**STATE, "norm.weight": [1.0]}, "norm.weight is a list; expected a tensor"),
        (
            {**STATE, "base.0._packed_params.dtype": torch.qint8},
            "base.0._packed_params.dtype is a dtype; expected a tensor of floating point: take the "
            "weights from before the quantisation",
        ),
        (
            {"format": 2, "position": {}, "net": STATE, "optimizer": {}, "ema": OTHER},
            "resume file of a training run, which goes on from it; take last.pth or best.pth",
        ),
    ],
)
def test_what_is_no_one_state_dict_is_refused_with_what_it_is(content: Any, words: str) -> None:
    with pytest.raises(BadFile) as caught:
        weights_from_content(content, HERE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- what weights-only loading refuses


class Own:
    """A class of a trainer's own."""

    def __init__(self) -> None:
        self.rate = 1


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            lambda: {"model": STATE, "args": Own()},
            f"holds {__name__}.Own beside the weights, which could run code; where it was made, "
            "save the weights alone: torch.save(checkpoint['model'], path)",
        ),
        (
            lambda: torch.nn.Linear(2, 2),
            "it is a whole torch.nn.modules.linear.Linear as an object, no state dict",
        ),
        (
            lambda: {"epoch": 3, "model": torch.nn.Linear(2, 2)},
            "its 'model' is a whole torch.nn.modules.linear.Linear as an object, no state dict, "
            "which could run code; where it was made: torch.save(checkpoint['model'].state_dict()",
        ),
        (lambda: {"a": Path.touch}, "which could run code"),
        (lambda: {"net": {**STATE, "a.b": Own()}}, f"its tensor 'a.b' is a {__name__}.Own, which"),
        (
            lambda: {key: value.numpy() for key, value in STATE.items()},
            "base.0.weight is a numpy.ndarray; expected a tensor",
        ),
    ],
)
def test_what_is_no_tensor_is_named_and_never_made(
    content: Callable[[], Any], words: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.pth"
    torch.save(content(), path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(BadFile) as caught:
        read_checkpoint(path)
    if form == "legacy" and "as an object" in words:
        # the older form keeps a module apart, and where it belongs is not read
        words = "holds more than tensors (torch.nn.modules.linear.Linear), which could run code"
    assert words in str(caught.value)


def test_nothing_of_the_data_beside_the_weights_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins are; and torch's list of allowed classes is afterwards as it was."""
    path = tmp_path / "c.pth"
    torch.save({"model": STATE, "args": argparse.Namespace(a=1)}, path)
    before = set(torch.serialization.get_safe_globals())

    def make(self: object, **values: object) -> None:
        raise AssertionError("made")

    monkeypatch.setattr(argparse.Namespace, "__init__", make)
    monkeypatch.setattr(argparse.Namespace, "__setstate__", make, raising=False)
    assert _same(read_state_dict(path))
    assert set(torch.serialization.get_safe_globals()) == before


def test_keys_are_shown_on_one_line_whatever_they_are() -> None:
    state = {"a\n\x1b[1m.b": torch.ones(1), "x" * 1000 + ".y": torch.ones(1)}
    found, _ = weights_from_content(state, HERE)
    assert list(found) == ["a\\n\\x1b[1m.b", "x" * 200 + "..."]


def test_a_network_takes_bit_equal_weights_from_a_trainer(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = ssd_small.create_model("mobilenet_v1", 4, 0.1)
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(source))
    torch.save({"model": averaged.state_dict(), **BESIDE}, tmp_path / "c.pth")
    net = ssd_small.create_model("mobilenet_v1", 4, 0.1)
    assert not _same(net.state_dict(), source.state_dict())
    ssd_small.load_checkpoint(net, tmp_path / "c.pth")
    assert _same(net.state_dict(), source.state_dict())
