"""The training loop on made-up pictures: resume, files, faults."""

from __future__ import annotations

import csv
import errno
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from full_disk import file_size_limit  # noqa: E402
from training_doubles import (  # noqa: E402
    ABOUT,
    MODEL,
    NoiseBatches,
    learner_of,
    small_recipe,
    train_noise,
)

from ssd_small.errors import BadFile, Diverged, OutputError, UsageError  # noqa: E402
from ssd_small.models.checkpoint import model_from_checkpoint, read_state_dict  # noqa: E402
from ssd_small.training.distributed import Processes  # noqa: E402
from ssd_small.training.reporter import Reporter  # noqa: E402
from ssd_small.training.run import Run  # noqa: E402
from ssd_small.training.stopping import (  # noqa: E402
    TIME_OVER,
    Stopped,
    StopReason,
    StopRequest,
)
from ssd_small.training.trainer import LoopOptions, train  # noqa: E402


def _rows(path: Path) -> list[dict[str, str]]:
    """The history without what the clock says."""
    with path.open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
            for row in csv.DictReader(file)
        ]


def _equal(one: object, other: object) -> bool:
    """Whether nested dictionaries and lists of tensors and numbers are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    whole: Run, tmp_path: Path, stop_at: int
) -> None:
    """Bit for bit: in the middle of an epoch, at its last update, and at its first."""
    with pytest.raises(Stopped):
        train_noise(tmp_path, stop_at=stop_at)
    run = train_noise(tmp_path, resume=True)
    assert run.position.iteration == whole.position.iteration == 6
    for mine, theirs in (
        (run.learner.net.state_dict(), whole.learner.net.state_dict()),
        (run.learner.optimizer.state_dict(), whole.learner.optimizer.state_dict()),
        (run.learner.ema.state_dict(), whole.learner.ema.state_dict()),
        (read_state_dict(run.folder.last), read_state_dict(whole.folder.last)),
        (_rows(run.folder.history), _rows(whole.folder.history)),
    ):
        assert _equal(mine, theirs)


def test_stopping_takes_effect_after_the_present_update(tmp_path: Path) -> None:
    with pytest.raises(Stopped) as end:
        train_noise(tmp_path, stop_at=1)
    assert end.value.reason == StopReason(2)
    position = torch.load(tmp_path / "resume.pth", weights_only=True)["position"]
    assert position["iteration"] == 2


def test_what_is_written(whole: Run) -> None:
    names = {path.name for path in whole.folder.path.iterdir()}
    assert {"resume.pth", "last.pth", "history.csv", "train.log"} <= names
    assert "best.pth" not in names, "nobody evaluated"
    assert not [name for name in names if name.endswith(".part")]
    # the averaged weights, under the published keys
    net = model_from_checkpoint(MODEL, whole.folder.last)
    assert _equal(dict(net.state_dict()), dict(whole.learner.result.state_dict()))
    assert not _equal(dict(net.state_dict()), dict(whole.learner.net.state_dict()))
    rows = _rows(whole.folder.history)
    assert [float(row["iteration"]) for row in rows] == [2, 4, 6]
    assert all(float(row["loss"]) > 0 and float(row["lr"]) > 0 for row in rows)


@pytest.mark.slow
def test_the_best_weights_are_kept_and_the_last_ones_too(tmp_path: Path) -> None:
    scores = iter([0.2, 0.6, 0.4, 0.5])
    seen = []

    def evaluate(net) -> dict[str, float | None]:
        seen.append({k: v.clone() for k, v in net.state_dict().items()})
        return {"AP": next(scores), "AP50": None}

    run = train_noise(tmp_path, small_recipe(epochs=4, iterations=None), evaluate=evaluate)
    assert run.position.best == 0.6
    assert _equal(read_state_dict(run.folder.best), seen[1])
    assert _equal(read_state_dict(run.folder.last), seen[3])
    achieved = [row["AP"] for row in _rows(run.folder.history) if row["AP"]]
    assert achieved == ["0.2", "0.6", "0.4", "0.5"]
    assert sum("best" in line for line in run.folder.log.read_text().splitlines()) == 2


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    run = train_noise(tmp_path, evaluate=lambda net: {"AP": 0.5})
    assert run.folder.curves.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_session_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with pytest.raises(Stopped) as end:
        train_noise(tmp_path, options=LoopOptions(stop_after=1e-9))
    assert end.value.reason == TIME_OVER
    assert train_noise(tmp_path, resume=True).position.iteration == 6


class _BesideOneWithASignal(Processes):
    """The first of two processes; the other one was asked to stop."""

    def total(self, values: Sequence[float]) -> list[float]:
        if len(values) == 1:  # positives
            return list(values)
        *others, signalled, over = values
        return [*others, signalled + 1, over]


def test_a_signal_to_another_process_stops_this_one_too(tmp_path: Path) -> None:
    learner = learner_of(small_recipe(), _BesideOneWithASignal(torch.device("cpu")))
    run = Run.fresh(learner, NoiseBatches(learner.net), ABOUT, tmp_path)
    with pytest.raises(Stopped) as end:
        train(run, None, Reporter(speaks=False), LoopOptions(), StopRequest())
    assert end.value.reason == StopReason(signal.SIGTERM)
    assert run.position.iteration == 1


def test_a_finished_run_stays_as_it_is(whole: Run) -> None:
    before = whole.folder.last.read_bytes()
    run = train_noise(whole.folder.path, resume=True)
    assert run.position.iteration == 6
    assert run.folder.last.read_bytes() == before


@pytest.mark.parametrize(
    ("about", "recipe", "words"),
    [
        ({"model": "vgg16"}, {}, "model is 'vgg16', was 'mobilenet_v1'"),
        (ABOUT, {"lr": 0.5, "seed": 7}, "lr is 0.5, was 0.01; seed is 7, was 0"),
        (ABOUT, {"epochs": 9}, "epochs is 9, was 2"),
    ],
)
def test_another_run_is_not_gone_on_with(whole: Run, about, recipe, words: str) -> None:
    learner = learner_of(small_recipe(**recipe))
    with pytest.raises(UsageError, match=f"cannot go on from .*{words}"):
        Run.resumed(learner, NoiseBatches(learner.net), about, whole.folder.path)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", None])
def test_a_damaged_resume_file_is_named(whole: Run, tmp_path: Path, content) -> None:
    learner = learner_of(small_recipe())
    with pytest.raises(BadFile, match=r"resume\.pth"):
        Run.resumed(learner, NoiseBatches(learner.net), ABOUT, tmp_path)
    content = whole.folder.resume.read_bytes()[:-1000] if content is None else content
    (tmp_path / "resume.pth").write_bytes(content)
    with pytest.raises(BadFile, match="damaged"):
        Run.resumed(learner, NoiseBatches(learner.net), ABOUT, tmp_path)


def _rewritten(whole: Run, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = torch.load(whole.folder.resume, weights_only=True)
    change(content)
    torch.save(content, folder / "resume.pth")
    return folder


def test_a_resume_file_of_a_newer_format_is_refused(whole: Run, tmp_path: Path) -> None:
    learner = learner_of(small_recipe())
    for number, words in (
        (3, "written by a newer ssd-small.*format 3.*update"),
        (None, "last.pth"),
    ):
        folder = _rewritten(whole, tmp_path, lambda content: content.update(format=number))  # noqa: B023
        with pytest.raises(BadFile, match=f"resume.pth.*{words}"):
            Run.resumed(learner, NoiseBatches(learner.net), ABOUT, folder)


def test_fields_of_a_newer_minor_format_are_written_again(whole: Run, tmp_path: Path) -> None:
    def grow(content: dict[str, Any]) -> None:
        content["format_minor"], content["weather"] = 1, "fine"
        content["position"]["altitude"] = 8848

    learner = learner_of(small_recipe())
    folder = _rewritten(whole, tmp_path, grow)
    run = Run.resumed(learner, NoiseBatches(learner.net), ABOUT, folder)
    assert run.position.iteration == 6
    run.save()
    again = torch.load(folder / "resume.pth", weights_only=True)
    assert (again["format_minor"], again["weather"]) == (1, "fine")
    assert again["position"]["altitude"] == 8848
    assert (
        again.keys() - {"format_minor", "weather"}
        == torch.load(whole.folder.resume, weights_only=True).keys()
    )


@pytest.mark.slow
def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train_noise(tmp_path, stop_at=1)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")}
    assert set(before) == {"resume.pth", "last.pth"}
    with file_size_limit(10_000), pytest.raises(OutputError, match=r"resume\.pth.*free space"):
        train_noise(tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")} == before
    assert not list(tmp_path.glob(".ssd-small-*"))
    assert train_noise(tmp_path, resume=True).position.iteration == 6


@pytest.mark.parametrize("lost", ["history.csv", "resume.pth"])
def test_where_one_file_has_no_room_the_others_are_kept(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is full loses no weights, and a resume file that is too large no smaller one."""
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if target.name == lost:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=rf"{lost}: No space left on device"):
        train_noise(tmp_path)
    kept = {"history.csv", "resume.pth", "last.pth"} - {lost}
    assert kept <= {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.glob(".ssd-small-*"))


def test_a_loss_that_is_no_number_names_the_images_and_changes_nothing(tmp_path: Path) -> None:
    def damage(iteration, images):
        return images * float("nan") if iteration == 4 else images

    with pytest.raises(Diverged, match=r"not finite .*4-0\.png, 4-1\.png.*lower lr") as caught:
        train_noise(tmp_path, damage=damage)
    assert caught.value.exit_code == 1
    # what was saved at the end of the epoch before is there to go on from
    state = torch.load(tmp_path / "resume.pth", weights_only=True)
    assert state["position"]["iteration"] == 3
    assert all(bool(torch.isfinite(v).all()) for v in state["net"].values())


def test_the_same_seed_gives_the_same_run_and_another_does_not(whole: Run, tmp_path: Path) -> None:
    same = train_noise(tmp_path / "same")
    assert _equal(dict(same.learner.net.state_dict()), dict(whole.learner.net.state_dict()))
    first = learner_of(small_recipe(seed=0)).net.base[0].conv[0].weight
    other = learner_of(small_recipe(seed=1)).net.base[0].conv[0].weight
    assert not torch.equal(first, other)
