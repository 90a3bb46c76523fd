"""The files of a training run, each field damaged: one line and exit 4, or what the value means."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import PREFIX, Outcome

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from described_files import FORMAT_1  # noqa: E402
from record_damage import DEEP, REMOVED, damages, json_text  # noqa: E402

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.training.run_record import read_run_record  # noqa: E402

pytestmark = pytest.mark.slow

RUNS = {
    "1": FORMAT_1 / "run",
    "2": FORMAT_1.with_name("run-format-2") / "run",
    "3": FORMAT_1.with_name("run-format-3") / "run",
}
#: fields that may be absent or null
OPTIONAL = {
    *("format_minor", "weights", "data.val_annotations", "data.val_images"),
    *(f"recipe.{name}" for name in ("epochs", "iterations", "minutes", "head_lr", "clip_norm")),
    *(f"recipe.{name}" for name in ("ema_decay", "background", "trainable_scope")),
}


def _at(record: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        try:
            record = record[key]
        except (KeyError, IndexError, TypeError):
            return REMOVED
    return record


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_damaged_field_of_the_run_record_is_refused_or_means_what_it_says(
    run: Path, tmp_path: Path
) -> None:
    record, path = json.loads((run / "run.json").read_text()), tmp_path / "run.json"
    faults, read = [], 0
    for place, changes in damages(record).items():
        name = ".".join(map(str, place))
        for damage in changes:
            path.write_text(json_text(damage.applied(record)))
            try:
                again = read_run_record(path)
            except BadFile as error:
                line = str(error)
                if "run.json" not in line or "\n" in line or len(line) > 600:
                    faults.append(f"{damage}: {line[:200]}")
                continue
            except Exception as error:
                faults.append(f"{damage}: {error!r:.200}")
                continue
            assert again is not None
            read += 1
            told = _at(again.to_dict(), damage.path)
            if damage.value is REMOVED:
                fine = name in OPTIONAL or type(place[-1]) is int
            else:
                fine = told == damage.value or (damage.value is None and name in OPTIONAL)
            if not fine or (type(damage.value) is float and damage.value != damage.value):
                faults.append(f"{damage}: read as {told!r:.100}")
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults[:40])
    assert read > 100


@pytest.mark.parametrize(
    "run", [RUNS["1"], pytest.param(RUNS["2"], marks=pytest.mark.slow)], ids=["1", "2"]
)
def test_a_damaged_resume_file_is_refused(
    run: Path, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Of what decides how a run goes on, nothing may be another thing than it was."""
    pytest.importorskip("hotcoco")
    pytest.importorskip("cv2")
    content = torch.load(run / "resume.pth", weights_only=True)
    head = {name: content[name] for name in ("format", "about", "position")}
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    data = ("--annotations", run / "truth.json", "--images", run)
    draw, faults = random.Random(0), []
    for changes in damages(head).values():
        # what a newer version added is not damage, and numbers may be any of their kind
        wrong = [one for one in changes if one.value == "odd" or one.value is DEEP]
        for damage in draw.sample(wrong, min(len(wrong), 1)):
            torch.save(content | damage.applied(head), tmp_path / "resume.pth")
            try:
                done = call("train", "--resume", "--output", tmp_path, *data)
            except Exception as error:
                faults.append(f"{damage}: {error!r:.200}")
                continue
            lines = [line for line in done.err.splitlines() if line.startswith(PREFIX)]
            # another recipe or network than the run's is told as such: exit 2
            if done.code not in (2, 4) or len(lines) != 1 or len(lines[0]) > 600:
                faults.append(f"{damage}: exit {done.code} {done.err[-200:]}")
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults[:40])


@pytest.mark.parametrize("kind", ["inf", "sparse", "complex", "no state"])
def test_a_resume_file_of_other_values_is_refused(
    kind: str, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    pytest.importorskip("hotcoco")
    pytest.importorskip("cv2")
    run = RUNS["1"]
    content = torch.load(run / "resume.pth", weights_only=True)
    if kind == "inf":
        content["position"]["seconds"] = float("inf")
    elif kind == "complex":
        counter = "base.0.conv.1.num_batches_tracked"
        content["net"][counter] = content["net"][counter].to(torch.complex64)
    elif kind == "no state":
        content["optimizer"]["state"][0] = 0
    else:
        state = next(iter(content["optimizer"]["state"].values()))
        state["momentum_buffer"] = state["momentum_buffer"].to_sparse()
    torch.save(content, tmp_path / "resume.pth")
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    data = ("--annotations", run / "truth.json", "--images", run)
    done = call("train", "--resume", "--output", tmp_path, *data)
    done.fails(4, "resume.pth")
    assert len(done.err.splitlines()) == 1
