"""``ssd-small train --resume --output run``: what the run is stands in its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch", reason="needs torch")
for module in ("torchvision", "hotcoco", "cv2"):
    pytest.importorskip(module, reason=f"needs {module}")

from training_pictures import short_run, write_pictures  # noqa: E402

from ssd_small.cli import main  # noqa: E402
from ssd_small.models.checkpoint import read_state_dict  # noqa: E402
from ssd_small.training.options import job_from_options  # noqa: E402
from ssd_small.training.run_record import RUN_FORMAT  # noqa: E402
from ssd_small.training.session import run_training  # noqa: E402

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]


def _begin(data: Path, folder: Path, **more: object) -> Path:
    """A run of two updates that was stopped after the first."""
    arguments = short_run(data, folder, **more)[1:]
    given = {
        str(name)[2:].replace("-", "_"): value
        for name, value in zip(arguments[::2], arguments[1::2], strict=True)
    }
    job = job_from_options(Path(given.pop("output")), given)
    report = run_training(replace(job, options=replace(job.options, stop_after=1e-9)))
    assert report["iterations"] == 1
    return folder


@pytest.fixture(scope="module")
def begun(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped run, to be copied."""
    val = {"val_annotations": data / "truth.json", "val_images": data, "save_minutes": 7}
    return _begin(data, tmp_path_factory.mktemp("begun"), **val)


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def _bare(run: Path) -> tuple[object, ...]:
    return ("train", "--resume", "--output", run)


def _changed(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((run / "run.json").read_text())
    change(content)
    (run / "run.json").write_text(json.dumps(content))


def _iteration(run: Path) -> int:
    return int(torch.load(run / "resume.pth", weights_only=True)["position"]["iteration"])


def test_a_run_goes_on_without_being_told_what_it_is(
    call: Call, data: Path, run: Path, tmp_path: Path
) -> None:
    report = call(*_bare(run), "--json").fits().json
    assert report["iterations"] == 2
    assert report["metrics"]["AP"] is not None, "val pictures are the run's too"
    main([str(part) for part in short_run(data, tmp_path / "whole")])
    one, other = (read_state_dict(folder / "last.pth") for folder in (run, tmp_path / "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_message_at_a_stop_is_the_command_that_goes_on(call: Call, run: Path) -> None:
    (line,) = [x for x in (run / "train.log").read_text().splitlines() if x.startswith("stopped")]
    command = line.partition("; ssd-small ")[2].removesuffix(" goes on").split()
    assert command == ["train", "--output", command[2], "--resume"]
    command[2] = str(run)
    call(*command).fits()


def test_what_the_folder_says_of_its_run(data: Path, begun: Path) -> None:
    content = json.loads((begun / "run.json").read_text())
    assert content["format"] == 1
    assert (content["model"], content["width"]) == ("mobilenet_v1", 0.1)
    assert (content["labels"], content["weights"]) == (["square", "disc"], None)
    assert content["recipe"]["lr"] == 0.01
    assert content["options"] == {
        "eval_every": 1,
        "save_minutes": 7,
        "log_every": 1,
        "device": "cpu",
        "workers": 0,
        "threads": 1,
    }
    paths = {name: content["data"][name]["path"] for name in ("annotations", "val_images")}
    assert paths == {"annotations": str(data / "truth.json"), "val_images": str(data)}
    assert len(content["data"]["annotations"]["sha256"]) == 64
    # 24 to 39 pixels of 160 x 120, shown as 300 x 300: longer by sqrt(300 / 160 * 300 / 120)
    assert 2.165 * 24 < content["data"]["median_object_pixels"] < 2.166 * 39


def test_the_run_is_described_before_anything_is_saved(
    call: Call, data: Path, tmp_path: Path
) -> None:
    """A loss that is no number ends it before that."""
    rare = {"eval-every": 0, "iterations": 50}
    call(*short_run(data, tmp_path, lr=1e6, **rare)).fails(1, "not finite")
    assert (tmp_path / "run.json").exists()
    assert not (tmp_path / "resume.pth").exists()
    call(*_bare(tmp_path)).fails(4, "no run to go on with", "resume.pth: No such file")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--lr", 0.5), "lr is 0.5, was 0.01"),
        (("--model", "mobilenet_v1_s1l0"), "model is 'mobilenet_v1_s1l0', was 'mobilenet_v1'"),
        (("--width", 0.2), "width is 0.2, was 0.1"),
        (("--epochs", 3), "epochs is 3, was None"),
        (("--weights", "digits/mobilenet_v1"), "weights is 'sha256:"),
    ],
)
def test_what_decides_the_result_cannot_be_changed(
    call: Call, run: Path, options: tuple[object, ...], words: str
) -> None:
    before = (run / "run.json").read_bytes()
    call(*_bare(run), *options).fails(2, "cannot go on from", words)
    assert (run / "run.json").read_bytes() == before
    assert _iteration(run) == 1


def test_what_does_not_decide_it_can_and_is_remembered(call: Call, run: Path) -> None:
    call(*_bare(run), "--workers", 1, "--log-every", 9, "--lr", 0.01).fits()
    options = json.loads((run / "run.json").read_text())["options"]
    assert (options["workers"], options["log_every"], options["save_minutes"]) == (1, 9, 7)


def test_data_that_moved_is_named_with_the_option_that_finds_it(call: Call, tmp_path: Path) -> None:
    was, now = tmp_path / "was", tmp_path / "now"
    was.mkdir()
    write_pictures(was)
    run = _begin(was, tmp_path / "run")
    was.rename(now)
    call(*_bare(run)).fails(4, f"{was / 'truth.json'} is not there", "--annotations")
    moved = ("--annotations", now / "truth.json")
    call(*_bare(run), *moved).fails(4, f"{was} is not there", "--images")
    (now / "3.png").rename(tmp_path / "3.png")
    moved = (*moved, "--images", now)
    call(*_bare(run), *moved).fails(4, "1 of 8 images", "3.png", "--images")
    (tmp_path / "3.png").rename(now / "3.png")
    call(*_bare(run), *moved).fits()
    assert "resumed after iteration 2" in call(*_bare(run)).fits().err, "the new place is known"


def test_other_annotations_are_other_data(call: Call, data: Path, run: Path) -> None:
    truth = json.loads((data / "truth.json").read_text())
    del truth["annotations"][0]
    (run / "other.json").write_text(json.dumps(truth))
    call(*_bare(run), "--annotations", run / "other.json").fails(2, "annotations is 'sha256:")
    noted = call(*_bare(run), "--val-annotations", run / "other.json").fits()
    assert "note: " in noted.err
    assert "the best AP so far is of other pictures" in noted.err


def test_relative_paths_are_those_of_the_folder_the_run_was_begun_in(
    call: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    _begin(Path(), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    call("train", "--resume", "--output", "run").fits()


def test_weights_are_not_needed_once_the_run_has_begun(
    call: Call, data: Path, run: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "w.pth"
    shutil.copy(run / "last.pth", weights)
    tuned = _begin(data, tmp_path / "tuned", weights=weights, model=None, width=None)
    weights.unlink()
    assert "took" not in call(*_bare(tuned)).fits().err
    again = call(*_bare(tuned), "--init-scope", "base")
    again.fails(2, "init_scope is 'base', was 'fitting'")


def test_a_folder_of_an_older_version_goes_on_with_the_whole_command(
    call: Call, data: Path, run: Path
) -> None:
    (run / "run.json").unlink()
    call(*_bare(run)).fails(2, "no run.json", "whole command", "--annotations, --images")
    call(*short_run(data, run, "--resume")).fits()
    assert _iteration(run) == 2
    assert "resumed after iteration 2" in call(*_bare(run)).fits().err


def test_older_versions_took_the_backbone_unless_told_otherwise(
    call: Call, data: Path, tmp_path: Path
) -> None:
    tuned = {"weights": "digits/mobilenet_v1", "width": 0.25}
    run = _begin(data, tmp_path / "run", **tuned, **{"init-scope": "base"})
    (run / "run.json").unlink()
    call(*short_run(data, run, "--resume", **tuned)).fits()
    assert json.loads((run / "run.json").read_text())["weights"]["init_scope"] == "base"


def test_what_was_taken_of_the_weights_is_known_without_the_description(
    call: Call, data: Path, tmp_path: Path
) -> None:
    tuned = {"weights": "digits/mobilenet_v1", "width": 0.25}
    run = _begin(data, tmp_path / "run", **tuned)
    (run / "run.json").unlink()
    call(*short_run(data, run, "--resume", **tuned)).fits()
    assert json.loads((run / "run.json").read_text())["weights"]["init_scope"] == "fitting"


def _newer(content: dict[str, Any]) -> None:
    content["format"] = RUN_FORMAT + 1


def _without_data(content: dict[str, Any]) -> None:
    del content["data"]


def _without_images(content: dict[str, Any]) -> None:
    content["data"]["images"] = None


def _with_another_kind_of_rate(content: dict[str, Any]) -> None:
    content["recipe"]["lr"] = "high"


def _with_two_budgets(content: dict[str, Any]) -> None:
    content["recipe"]["epochs"] = 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_newer, ("written by a newer ssd-small", "update")),
        (_without_data, ("data is missing", "remove it")),
        (_without_images, ("data.images", "remove it")),
        (_with_another_kind_of_rate, ("recipe.lr: got 'high'", "remove it")),
        (_with_two_budgets, ("epochs and iterations", "remove it")),
    ],
)
def test_a_description_that_cannot_be_read_is_named(
    call: Call, run: Path, change: Callable[[dict[str, Any]], None], words: tuple[str, ...]
) -> None:
    _changed(run, change)
    call(*_bare(run)).fails(4, "run.json", *words)


#: what format 1 of run.json cannot say
NEWER = {"optimizer": "adam", "schedule": "multi_step", "schedule-steps": "1,3", "lr": 1e-3}


def test_a_run_that_older_versions_would_do_otherwise_says_so(
    call: Call, data: Path, tmp_path: Path
) -> None:
    partly = {"trainable-scope": "norm,transforms,conf", "gamma": 0.5, "eps": 1e-6}
    job = [str(part) for part in short_run(data, tmp_path / "whole", **NEWER, **partly)]
    err = call(*job).fits().err
    assert "note: mobilenet_v1 has no transforms that could learn" in err
    content = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert content["format"] == 2
    recipe = content["recipe"]
    assert (recipe["optimizer"], recipe["schedule_steps"], recipe["gamma"]) == ("adam", [1, 3], 0.5)
    assert recipe["trainable_scope"] == ["norm", "transforms", "conf"]
    record = torch.load(tmp_path / "whole" / "last.pth", weights_only=True)["ssd_small"]
    assert record["recipe"] == recipe
    call(*_bare(tmp_path / "whole"), "--optimizer", "sgd").fails(
        2, "optimizer is 'sgd', was 'adam'"
    )
    call(*_bare(tmp_path / "whole"), "--schedule-steps", "1,4").fails(
        2, "schedule_steps is [1, 4], was [1, 3]"
    )
    content["format"] = 1
    (tmp_path / "whole" / "run.json").write_text(json.dumps(content))
    call(*_bare(tmp_path / "whole")).fails(4, "run.json", "format: got 1, expected 2")


def test_a_run_with_another_optimizer_goes_on_without_being_told(
    call: Call, data: Path, tmp_path: Path
) -> None:
    options = {"model": "mobilenet_v1", "width": 0.1, "optimizer": "rmsprop", "schedule": "step"}
    job = job_from_options(
        tmp_path / "run",
        {"annotations": data / "truth.json", "images": data, "batch": 4, "iterations": 2,
         "workers": 0, "threads": 1, "trainable_scope": ("loc", "conf"), **options},
    )  # fmt: skip
    run_training(replace(job, options=replace(job.options, stop_after=1e-9)))
    assert call(*_bare(tmp_path / "run"), "--json").fits().json["iterations"] == 2


def test_words_that_choose_what_is_taken_are_kept(call: Call, data: Path, tmp_path: Path) -> None:
    run, scope = tmp_path / "run", "base,extras.0"
    tuned = {"weights": "digits/mobilenet_v1", "width": 0.25, "init-scope": scope}
    err = call(*short_run(data, run, **tuned)).fits().err
    assert f"from {scope} of " in err
    assert "took " in err
    content = json.loads((run / "run.json").read_text())
    assert (content["format"], content["weights"]["init_scope"]) == (2, scope)
    call(*_bare(run)).fits()
    call(*_bare(run), "--init-scope", "base").fails(2, f"init_scope is 'base', was '{scope}'")
    content["weights"]["init_scope"] = "base,,"
    (run / "run.json").write_text(json.dumps(content))
    call(*_bare(run)).fails(4, "run.json", "init_scope 'base,,'", "remove it")


def test_a_format_that_says_it_all_to_older_versions_is_kept(begun: Path) -> None:
    assert json.loads((begun / "run.json").read_text())["format"] == 1
    assert torch.load(begun / "resume.pth", weights_only=True)["format"] == 1


def test_text_that_is_no_json_is_named(call: Call, run: Path) -> None:
    (run / "run.json").write_text("{")
    call(*_bare(run)).fails(4, "run.json is not JSON")


def test_fields_of_a_newer_minor_format_are_kept(call: Call, run: Path) -> None:
    def grow(content: dict[str, Any]) -> None:
        content["format_minor"] = 3
        content["mascot"] = "owl"
        content["data"]["licence"] = "MIT"

    _changed(run, grow)
    call(*_bare(run)).fits()
    content = json.loads((run / "run.json").read_text())
    assert (content["format_minor"], content["mascot"]) == (3, "owl")
    assert content["data"]["licence"] == "MIT"


def test_what_is_missing_is_said_with_the_way_out(call: Call, data: Path, tmp_path: Path) -> None:
    call("train", "--output", tmp_path / "x").fails(2, "--annotations and --images")
    call(*short_run(data, tmp_path / "x", model=None)).fails(2, "--model NAME", "--weights")
    call("train").fails(2, "--output")
    call(*_bare(tmp_path / "x")).fails(4, "no run to go on with", "resume.pth: No such file")
    assert not list(tmp_path.iterdir())
