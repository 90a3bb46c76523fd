"""What a run leaves behind when something goes wrong in the middle of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

import click  # noqa: E402
from torch import Tensor  # noqa: E402
from training_doubles import (  # noqa: E402
    ABOUT,
    NoiseBatches,
    learner_of,
    small_recipe,
    train_noise,
)

from ssd_small.errors import BadFile, Diverged, MissingRequirement, SsdSmallError, UsageError  # noqa: E402
from ssd_small.training.distributed import joined_processes  # noqa: E402
from ssd_small.training.reporter import Reporter  # noqa: E402
from ssd_small.training.run import Run  # noqa: E402
from ssd_small.training.step import update  # noqa: E402
from ssd_small.training.stopping import stop_on_signals  # noqa: E402
from ssd_small.training.trainer import LoopOptions  # noqa: E402

pytestmark = pytest.mark.slow


def _saved(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "resume.pth", weights_only=True)
    return state


@pytest.mark.parametrize("kind", [BadFile, MissingRequirement])
def test_a_picture_or_loader_that_fails_costs_no_update(
    whole: Run, tmp_path: Path, kind: type[SsdSmallError]
) -> None:
    def fail_once(iteration: int, images: Tensor) -> Tensor:
        if iteration == 4 and not (tmp_path / "resume.pth.seen").exists():
            (tmp_path / "resume.pth.seen").touch()
            raise kind("4-1.png")
        return images

    with pytest.raises(kind, match=r"4-1\.png"):
        train_noise(tmp_path, damage=fail_once)
    assert _saved(tmp_path)["position"]["iteration"] == 4
    run = train_noise(tmp_path, resume=True, damage=fail_once)
    mine, theirs = (one.learner.net.state_dict() for one in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_val_picture_that_fails_costs_no_update(tmp_path: Path) -> None:
    def evaluate(net: object) -> dict[str, float | None]:
        raise BadFile("val.png")

    with pytest.raises(BadFile, match=r"val\.png"):
        train_noise(tmp_path, evaluate=evaluate, options=LoopOptions(eval_every=2))
    # after the last update: nothing is left to do but to evaluate
    assert _saved(tmp_path)["position"]["iteration"] == 6
    run = train_noise(tmp_path, evaluate=lambda net: {"AP": 0.5}, resume=True)
    assert run.position.best == 0.5
    assert run.folder.best.exists()
    train_noise(tmp_path, evaluate=evaluate, resume=True)  # is finished now


def test_a_gradient_that_is_not_finite_changes_no_parameter() -> None:
    learner = learner_of(small_recipe(ema_decay=0.5))
    learner.set_lr(1.0)
    before = {name: p.detach().clone() for name, p in learner.net.named_parameters()}
    learner.net.conf[0].weight.register_hook(lambda grad: grad * float("inf"))
    images, targets = NoiseBatches(learner.net).batch(0)
    with pytest.raises(Diverged, match=r"gradient is not finite .*a\.png, b\.png.*clip_norm"):
        update(learner, images, targets, lambda: ["a.png", "b.png"])
    assert all(torch.equal(p, before[name]) for name, p in learner.net.named_parameters())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    run = train_noise(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.pth")}
    with torch.no_grad():
        run.learner.net.norm.weight[0] = float("inf")
    with pytest.raises(Diverged, match="not finite after 6 updates, and were not saved"):
        run.save()
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pth")} == before


def test_a_run_shorter_than_a_line_of_the_log_has_a_history(tmp_path: Path) -> None:
    run = train_noise(tmp_path, options=LoopOptions(log_every=100))
    (row,) = run.history.rows
    assert row["iteration"] == 6
    assert row["loss"] is not None
    assert row["loss"] > 0
    assert "loss" in run.folder.log.read_text()


def test_nobody_has_to_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", gone)
    Reporter(tmp_path / "train.log").line("a line")
    assert (tmp_path / "train.log").read_text() == "a line\n"


def test_a_lost_terminal_asks_to_stop_unless_nohup_said_otherwise() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.signal is None
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.signal == signal.SIGHUP
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def _drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *path, last = keys
        for key in path:
            content = content[key]
        del content[last]

    return change


def _put(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *path, last = keys
        for key in path:
            content = content[key]
        content[last] = value

    return change


def _shrink_momentum(content: dict[str, Any]) -> None:
    content["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(1)


@pytest.mark.parametrize(
    "change",
    [
        _drop("about"),
        _put([], "about"),
        _drop("about", "recipe"),
        _put("6", "position", "iteration"),
        _put(-1, "position", "iteration"),
        _put(None, "position", "window"),
        _put([0.0], "position", "window"),
        _put("high", "position", "best"),
        _shrink_momentum,
    ],
)
def test_a_resume_file_with_other_contents_is_named(
    whole: Run, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    content = _saved(whole.folder.path)
    change(content)
    torch.save(content, tmp_path / "resume.pth")
    learner = learner_of(small_recipe())
    with pytest.raises(BadFile, match="damaged"):
        Run.resumed(learner, NoiseBatches(learner.net), ABOUT, tmp_path)


@pytest.mark.parametrize(
    ("variables", "word"),
    [({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR"), ({"RANK": "x", "WORLD_SIZE": "2"}, "'x'")],
)
def test_half_of_what_torchrun_sets_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], word: str
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{word}.*torchrun"), joined_processes("cpu"):
        pass


def test_a_file_name_that_is_no_text_does_not_end_the_log(tmp_path: Path) -> None:
    Reporter(tmp_path / "train.log", speaks=False).line("weights in caf\udce9, ümlaut")
    assert (tmp_path / "train.log").read_text("utf-8") == "weights in caf\\udce9, ümlaut\n"
