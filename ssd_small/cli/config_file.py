"""``--config FILE.yml``: what a configuration file puts in the place of options not given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, UsageError
from .options import FILE, note

if TYPE_CHECKING:
    from ..configs.experiment import Experiment
    from ..models.spec import ModelSpec

config_option = click.option(
    "--config",
    type=FILE,
    help="Configuration (YAML): of a published experiment, or config.yml of a run. What is given "
    "here wins over it.",
)


def experiment_from_option(config: Path | None) -> Experiment | None:
    """The configuration of --config; its notes go to standard error."""
    if config is None:
        return None
    from ..configs.experiment import read_experiment

    experiment = read_experiment(config)
    for line in experiment.notes:
        note(f"note: {line}")
    return experiment


def spec_from_experiment(experiment: Experiment, model: str | None) -> ModelSpec | None:
    """The network that a configuration names or describes; None if neither it nor --model does.

    Raises:
        UsageError: --model names another one.
        BadFile: what the file describes is no network, or it names one that there is not.
    """
    from ..models.registry import get_spec

    asked = None if model is None else get_spec(model)
    own: ModelSpec | None = None
    if experiment.names_network:
        from ..models.families import spec_from_config

        own = spec_from_config(experiment.network, experiment.path)
    elif "model" in experiment.options:
        try:
            own = get_spec(experiment.options["model"])
        except UsageError as error:
            raise BadFile(f"{experiment.path}: {error.command_line}") from error
    if asked is not None and own is not None and asked != own:
        raise UsageError(
            f"--model {model} is another network than {own.name} of {experiment.path}; leave "
            "--model or --config out"
        )
    return own if asked is None else asked


def weights_from_experiment(experiment: Experiment) -> Path | None:
    """The checkpoint that a configuration names; RESUME_CHECKPOINT only where it is there."""
    from ..models.shipped import find_shipped

    own: Path | None = experiment.options.get("weights")
    named = experiment.places.resume_checkpoint
    if own is not None or named is None:
        return own
    if find_shipped(named) is None and not named.exists():
        note(
            f"note: {experiment.path}: RESUME_CHECKPOINT {named} is not there, so it is left out; "
            "it is looked for from the present folder"
        )
        return None
    return named


def train_options(
    experiment: Experiment, given: dict[str, Any]
) -> tuple[dict[str, Any], Path | None]:
    """Options of ``train`` with the file's in the place of those not given, and the output."""
    from ..training.configuration import merged_options, options_from_experiment

    spec = spec_from_experiment(experiment, given.get("model"))
    # --weights on the command line takes the place of the file's; its RESUME_SCOPE stays
    weights = given.get("weights") or weights_from_experiment(experiment)
    from_file = options_from_experiment(experiment, weights)
    from_file.pop("model", None)
    options = merged_options(from_file, given)
    if spec is not None:
        options["model"] = spec.name
    output: Path | None = options.pop("output", None)
    return options, output
