"""From the options of ``ssd-small train`` to a job."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.cli.train import command  # noqa: E402
from ssd_small.errors import UsageError  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.training.job import TrainingJob  # noqa: E402
from ssd_small.training.options import job_from_options  # noqa: E402
from ssd_small.training.recipe import (  # noqa: E402
    OPTIMIZERS,
    SCHEDULES,
    Recipe,
    published_recipe,
)

DATA: dict[str, Any] = {"annotations": Path("t.json"), "images": Path("i")}


def test_the_defaults_that_help_shows_are_those_of_a_job() -> None:
    """Only what is typed reaches the job."""
    job = TrainingJob("vgg16", published_recipe("vgg16"), Path("a"), Path("b"), Path("c"))
    values = {**vars(job), **vars(job.options), "as_json": False}
    shown = {
        option.name: option.default
        for option in command.params
        if isinstance(option, click.Option) and isinstance(option.default, str | int | float)
    }
    assert {"workers", "eval_every", "device", "threads"} <= set(shown)
    assert shown == {name: values[name] for name in shown}


def test_what_is_not_given_is_published_or_usual() -> None:
    job = job_from_options(Path("o"), {**DATA, "model": "mobilenet_v1", "lr": 0.5, "workers": 7})
    assert job.recipe == published_recipe("mobilenet_v1").with_changes(lr=0.5)
    assert (job.workers, job.width, job.weights, job.resume) == (7, 1.0, None, False)
    assert (job.output, job.images, job.options.eval_every) == (Path("o"), Path("i"), 1)


def test_every_field_of_a_recipe_is_an_option() -> None:
    options = {option.name: option for option in command.params}
    assert {field.name for field in fields(Recipe)} <= set(options)
    choices = {
        name: tuple(option.type.choices)
        for name, option in options.items()
        if isinstance(option.type, click.Choice)
    }
    assert (choices["optimizer"], choices["schedule"]) == (OPTIMIZERS, SCHEDULES)


@pytest.mark.parametrize("width", [None, 0.2])
def test_the_width_is_read_off_the_weights_unless_given(
    tmp_path: Path, width: float | None
) -> None:
    plain = tmp_path / "w.pth"
    torch.save(create_model("mobilenet_v1", 7, 0.35).state_dict(), plain)
    given = {**DATA, "model": "mobilenet_v1", "weights": plain}
    given |= {} if width is None else {"width": width}
    assert job_from_options(Path("o"), given).width == (width or 0.35)


def test_a_shipped_checkpoint_gives_file_network_and_width() -> None:
    job = job_from_options(Path("o"), {**DATA, "weights": Path("digits/mobilenet_v1_s1l0")})
    assert (job.model, job.width) == ("mobilenet_v1_s1l0", 0.25)
    assert job.weights is not None
    assert job.weights.is_file()
    assert job.init_scope == "fitting"
    assert job.recipe == published_recipe("mobilenet_v1_s1l0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "vgg16"}, "pass annotations and images"),
        ({**DATA, "model": "vgg16", "init_scope": "all"}, "init_scope all needs weights"),
        ({**DATA, "model": "vgg16", "init_scope": "base"}, "init_scope base needs weights"),
        (DATA, "no network: pass model"),
        (
            {**DATA, "weights": "digits/mobilenet_v1", "model": "vgg16", "init_scope": "all"},
            "digits/mobilenet_v1 is a mobilenet_v1, not a vgg16",
        ),
        ({**DATA, "model": "vgg16", "epochs": 1, "minutes": 1.0}, "epochs and minutes"),
        (
            {**DATA, "weights": "digits/mobilenet_v1", "init_scope": "base,,loc"},
            "init_scope 'base,,loc': expected base, all, fitting",
        ),
    ],
)
def test_options_that_do_not_make_a_job(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        job_from_options(Path("o"), options)
