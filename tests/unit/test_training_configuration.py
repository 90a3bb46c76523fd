"""From configuration files to training jobs, and back."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.cli.config_file import train_options  # noqa: E402
from ssd_small.configs.experiment import Experiment, read_experiment  # noqa: E402
from ssd_small.configs.options import LOOP, OPTIONS, RECIPE  # noqa: E402
from ssd_small.configs.yaml_file import yaml_from_mapping  # noqa: E402
from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.training.configuration import (  # noqa: E402
    configuration_from_job,
    configuration_from_options,
    merged_options,
    options_from_experiment,
    recipe_from_experiment,
)
from ssd_small.training.initialise import (  # noqa: E402
    NAMED_SCOPES,
    substrings_from_scope,
)
from ssd_small.training.job import TrainingJob  # noqa: E402
from ssd_small.training.options import job_from_options  # noqa: E402
from ssd_small.training.recipe import Recipe, published_recipe  # noqa: E402
from ssd_small.training.trainer import LoopOptions  # noqa: E402

#: of a job, what no file says: it is nested, described in MODEL, or an act of the command line
NO_OPTION = {"recipe", "options", "network", "resume"}


def read(folder: Path, values: dict[str, Any]) -> Experiment:
    path = folder / "e.yml"
    path.write_text(yaml_from_mapping(values))
    return read_experiment(path)


def test_every_option_of_training_is_a_key_and_nothing_else_is() -> None:
    recipe = {one.name for one in fields(Recipe)}
    job = {one.name for one in fields(TrainingJob)} - NO_OPTION
    loop = {one.name for one in fields(LoopOptions)}
    assert set(RECIPE) == recipe
    assert set(OPTIONS) == recipe | job | loop
    assert loop <= set(LOOP)


@pytest.mark.parametrize("field", [*fields(Recipe), *fields(LoopOptions)], ids=lambda f: f.name)
def test_a_key_has_the_type_of_its_field(field: Any) -> None:
    """The words of the schema and those of the dataclass are one."""
    kind = OPTIONS[field.name].expected
    declared = str(field.type).removesuffix(" | None")
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "Precision": "one of fp32, amp",
        "Optimizer": "one of sgd, rmsprop, adam",
        "Schedule": "one of ",
        "tuple[int, ...]": "a list",
        "tuple[str, ...]": "names",
    }
    assert kind.startswith(words[declared])


def test_the_default_of_every_field_is_taken_by_its_key() -> None:
    for field in (*fields(Recipe), *fields(LoopOptions)):
        if field.default is not None:
            assert OPTIONS[field.name].take(field.default) == field.default


@pytest.mark.parametrize("name", ["schedule", "optimizer", "precision"])
def test_a_choice_is_that_of_the_recipe(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadFile, match=f"{name}: got 'x', expected one of "):
        read(tmp_path, {name: "x"})


def test_published_keys_become_the_recipe(tmp_path: Path) -> None:
    train = {
        "MAX_EPOCHS": 50,
        "BATCH_SIZE": 24,
        "TRAINABLE_SCOPE": "norm,loc",
        "OPTIMIZER": {
            "OPTIMIZER": "rmsprop",
            "LEARNING_RATE": 0.5,
            "MOMENTUM": 0.8,
            "MOMENTUM_2": 0.7,
            "EPS": 1e-4,
            "WEIGHT_DECAY": 0.01,
        },
        "LR_SCHEDULER": {
            "SCHEDULER": "multi_step",
            "STEPS": [10, 20],
            "GAMMA": 0.1,
            "WARM_UP_EPOCHS": 5,
        },
    }
    matcher = {"MATCHED_THRESHOLD": 0.4, "NEGPOS_RATIO": 2}
    experiment = read(tmp_path, {"TRAIN": train, "MATCHER": matcher, "DATASET": {"PROB": 0.25}})
    assert recipe_from_experiment(experiment) == Recipe(
        epochs=50,
        batch=24,
        optimizer="rmsprop",
        lr=0.5,
        momentum=0.8,
        momentum_2=0.7,
        eps=1e-4,
        weight_decay=0.01,
        schedule="multi_step",
        schedule_steps=(10, 20),
        gamma=0.1,
        warm_up=0.1,
        trainable_scope=("norm", "loc"),
        match_iou=0.4,
        negative_ratio=2.0,
        expand=0.25,
    )


@pytest.mark.parametrize(
    ("scheduler", "schedule"),
    [
        ("SGDR", "sgdr"),
        ("step", "step"),
        ("multi_step", "multi_step"),
        ("exponential", "exponential"),
    ],
)
def test_a_published_schedule_has_its_name_here(
    tmp_path: Path, scheduler: str, schedule: str
) -> None:
    values = {"TRAIN": {"LR_SCHEDULER": {"SCHEDULER": scheduler}}}
    assert recipe_from_experiment(read(tmp_path, values)).schedule == schedule


def test_what_a_file_does_not_say_of_training_is_published_for_the_network(tmp_path: Path) -> None:
    options, _ = train_options(
        read(tmp_path, {"model": "mobilenet_v1", "annotations": "t.json", "images": "i"}), {}
    )
    assert job_from_options(Path("o"), options).recipe == published_recipe("mobilenet_v1")


def test_a_warm_up_longer_than_the_run_lasts_for_all_of_it(tmp_path: Path) -> None:
    train = {"MAX_EPOCHS": 2, "LR_SCHEDULER": {"WARM_UP_EPOCHS": 5}}
    assert recipe_from_experiment(read(tmp_path, {"TRAIN": train})).warm_up == 1.0


def test_places_of_data_and_weights_become_options(tmp_path: Path) -> None:
    experiment = read(
        tmp_path,
        {
            "TRAIN": {"RESUME_SCOPE": "base,extras"},
            "DATASET": {"DATASET_DIR": "d", "TRAIN_SETS": [["2012", "train"]], "NUM_WORKERS": 3},
            "EXP_DIR": "runs/x",
        },
    )
    options = options_from_experiment(experiment, Path("w.pth"))
    assert options["annotations"] == options["val_annotations"] == Path("d")
    assert options["sets"] == (("2012", "train"),)
    assert options["val_sets"] == (("2007", "test"),)
    assert (options["workers"], options["output"]) == (3, Path("runs/x"))
    assert (options["weights"], options["init_scope"]) == (Path("w.pth"), "base,extras")
    assert "init_scope" not in options_from_experiment(experiment, None)


def test_no_resume_scope_is_every_key(tmp_path: Path) -> None:
    experiment = read(tmp_path, {"TRAIN": {"RESUME_SCOPE": ""}})
    scope = options_from_experiment(experiment, Path("w.pth"))["init_scope"]
    assert scope == "base,norm,extras,transforms,pyramids,loc,conf"


@pytest.mark.parametrize("word", NAMED_SCOPES)
def test_a_resume_scope_is_part_of_keys_whatever_has_that_name_here(
    tmp_path: Path, word: str
) -> None:
    """The published ``base`` takes what there is of the backbone; ours needs all of it."""
    experiment = read(tmp_path, {"TRAIN": {"RESUME_SCOPE": word}})
    scope = options_from_experiment(experiment, Path("w.pth"))["init_scope"]
    assert scope not in NAMED_SCOPES
    (part,) = substrings_from_scope(scope)
    keys = ("base.0.weight", "norm.weight", "extras.0.conv.weight", "conf.1.bias")
    assert [key for key in keys if part in key] == [key for key in keys if word in key]


def test_thresholds_that_training_does_not_use_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_options(read(tmp_path, {"POST_PROCESS": {"SCORE_THRESHOLD": 0.01}}), {})
    assert capsys.readouterr().err == ""
    train_options(read(tmp_path, {"POST_PROCESS": {"SCORE_THRESHOLD": 0.2}}), {})
    assert "POST_PROCESS is not of training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ({"epochs": 3, "lr": 1.0}, {"minutes": 2.0}, {"lr": 1.0, "minutes": 2.0}),
        ({"lr": 1.0}, {"lr": 2.0}, {"lr": 2.0}),
        (
            {"annotations": "d", "sets": "s", "val_annotations": "d", "val_sets": "v"},
            {"annotations": "e"},
            {"annotations": "e", "sets": "s", "val_annotations": "e", "val_sets": "v"},
        ),
        (
            {"annotations": "d", "sets": "s", "val_annotations": "d", "val_sets": "v"},
            {"annotations": "t.json", "images": "i"},
            {"annotations": "t.json", "images": "i"},
        ),
        (
            {"annotations": "t.json", "images": "i", "val_annotations": "v.json"},
            {"annotations": "d", "sets": "s"},
            {"annotations": "d", "sets": "s", "val_annotations": "v.json"},
        ),
    ],
)
def test_what_cannot_stand_together_goes(
    lower: dict[str, Any], upper: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merged_options(lower, upper) == expected


def test_small_letters_win_over_capitals_and_the_command_line_over_both(tmp_path: Path) -> None:
    experiment = read(
        tmp_path,
        {
            "TRAIN": {"MAX_EPOCHS": 7, "BATCH_SIZE": 9, "OPTIMIZER": {"LEARNING_RATE": 0.1}},
            "iterations": 20,
            "lr": 0.2,
            "model": "vgg16",
        },
    )
    options, output = train_options(experiment, {"lr": 0.3})
    recipe = job_from_options("o", {**options, "annotations": "a", "images": "i"}).recipe
    assert (recipe.epochs, recipe.iterations, recipe.batch, recipe.lr) == (None, 20, 9, 0.3)
    assert recipe.schedule == "step"
    assert output is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 3, "minutes": 2}, "epochs and minutes: expected exactly one"),
        ({"DATASET": {"DATASET_DIR": "d", "TRAIN_SETS": [["../x", "y"]]}}, "set '../x:y'"),
        ({"sets": "2007:a b"}, "set '2007:a b'"),
        ({"init_scope": "base,,x"}, "init_scope 'base,,x'"),
        ({"DATASET": {"PIXEL_MEANS": [1, 2, 3]}}, "DATASET.PIXEL_MEANS: got"),
        ({"MATCHER": {"VARIANCE": [0.1, 0.3]}}, "MATCHER.VARIANCE: got"),
    ],
)
def test_what_training_cannot_do_is_a_fault_of_the_file(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadFile) as caught:
        options_from_experiment(read(tmp_path, values), None)
    assert str(caught.value).startswith(f"{tmp_path / 'e.yml'}: ")
    assert words in caught.value.command_line
    assert "--" not in caught.value.command_line
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_that_there_is_not_is_a_fault_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="unknown model 'vgg17'"):
        train_options(read(tmp_path, {"model": "vgg17"}), {})


def test_another_network_on_the_command_line_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model mobilenet_v1 is another network than vgg16 of"):
        train_options(read(tmp_path, {"model": "vgg16"}), {"model": "mobilenet_v1"})
    options, _ = train_options(read(tmp_path, {"model": "vgg16"}), {"model": "vgg16"})
    assert options["model"] == "vgg16"


def test_weights_that_are_not_there_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"model": "vgg16", "RESUME_CHECKPOINT": str(tmp_path / "w.pth"), "TRAIN": {}}
    options, _ = train_options(read(tmp_path, values), {})
    assert "weights" not in options
    assert "w.pth is not there" in capsys.readouterr().err
    (tmp_path / "w.pth").touch()
    options, _ = train_options(read(tmp_path, values), {})
    assert options["weights"] == tmp_path / "w.pth"
    assert options["init_scope"] == "base,norm,extras,transforms,pyramids,loc,conf"
    options, _ = train_options(read(tmp_path, values), {"weights": Path("other.pth")})
    assert options["weights"] == Path("other.pth")


JOB = TrainingJob(
    "mobilenet_v1",
    Recipe(
        epochs=None,
        iterations=5,
        optimizer="adam",
        schedule="step",
        schedule_steps=(3, 4),
        trainable_scope=("loc", "conf"),
        clip_norm=10.0,
        ema_decay=0.999,
        eps=3e-7,
        channels_last=False,
    ),
    Path("/data/voc"),
    None,
    Path("/out"),
    width=0.1,
    sets=(("2007", "trainval"), ("2012", "trainval")),
    val_annotations=Path("/data/v.json"),
    val_images=Path("/data/i"),
    device="cpu",
    workers=0,
    options=LoopOptions(eval_every=0, stop_after=2.5),
)


def test_a_job_survives_its_configuration(tmp_path: Path) -> None:
    experiment = read(tmp_path, configuration_from_job(JOB))
    assert experiment.notes == ()
    options, output = train_options(experiment, {})
    assert output is None
    assert job_from_options("/out", options) == JOB


def test_an_effective_configuration_need_not_be_enough_for_a_run(tmp_path: Path) -> None:
    printed = configuration_from_options({"model": "vgg16", "lr": 0.5, "output": Path("o")})
    assert not {"annotations", "images"} & set(printed)
    assert (printed["model"], printed["lr"], printed["epochs"]) == ("vgg16", 0.5, 60)
    assert printed["output"] == "o"
    options, output = train_options(read(tmp_path, printed), {})
    assert configuration_from_options({**options, "output": output}) == printed
