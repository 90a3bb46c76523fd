"""``--config FILE.yml``: what a configuration file puts in the place of options not given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, UsageError
from .options import FILE, note

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..configs.experiment import Experiment
    from ..models.network import SsdNetwork
    from ..models.spec import ModelSpec

config_option = click.option(
    "--config",
    type=FILE,
    help="Configuration (YAML): a published experiment's, or the config.yml of a run. Options "
    "given here override it.",
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
    from ..models.registry import spec_from_experiment as described

    asked = None if model is None else get_spec(model)
    own = described(experiment)
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


def network_from_experiment(
    experiment: Experiment,
    model: str | None,
    weights: Path | None,
    num_classes: int | None,
    width: float | None,
    labels: Path | None,
    *,
    random_weights: bool = False,
) -> tuple[SsdNetwork, Description]:
    """The network of a configuration with its weights, and what it says of pixels and detections.

    Args:
        experiment: the configuration.
        model, weights, num_classes, width, labels: of the command line; None for the file's.
        random_weights: whether to go without weights.

    Raises:
        UsageError: --model is another network, or there are no weights.
    """
    from ..artefacts.experiment import network_from_experiment as network_from

    spec = spec_from_experiment(experiment, model)
    if weights is None and not random_weights:
        weights = weights_from_experiment(experiment)
        if weights is not None:
            # those that a run began with are not those that it ended with
            note(
                f"note: {experiment.path}: weights are {weights}, which its training starts from; "
                "--weights takes others"
            )
    if weights is None and spec is None:
        raise UsageError(f"no network: {experiment.path} describes none; pass --model NAME")
    if weights is None and not random_weights:
        assert spec is not None
        raise UsageError(f"{spec.name} of {experiment.path} needs weights: pass --weights FILE")
    return network_from(
        experiment, spec, weights, num_classes=num_classes, width=width, labels=labels
    )


Sets = tuple[tuple[str, str], ...]


def data_from_experiment(
    experiment: Experiment, annotations: Path | None, images: Path | None, sets: Sets | None
) -> tuple[Path | None, Path | None, Sets | None]:
    """Ground truth to evaluate on: annotations, images and sets, the command line's where given.

    A file's own ``val_`` options win over its DATASET_DIR with TEST_SETS. A folder on the command
    line is read by the sets of the file.
    """
    from ..datasets.sets import checked_sets

    own, data = experiment.options, experiment.dataset
    folder, pictures, of_file = data.dataset_dir, None, data.test_sets
    if "val_annotations" in own:
        folder, pictures, of_file = (
            own["val_annotations"],
            own.get("val_images"),
            own.get("val_sets", ()),
        )
    if annotations is not None:
        pictures = None
        of_file = of_file if annotations.is_dir() else ()
    images = images or (None if sets else pictures)
    if sets is None and images is None and of_file and folder is not None:
        try:
            sets = checked_sets(of_file)
        except UsageError as error:
            raise BadFile(f"{experiment.path}: {error}") from error
    return annotations or folder, images, sets


def check_engine(
    experiment: Experiment, engine: Path, description: Description, protocol: str | None
) -> None:
    """Refuse a configuration of another network than an engine, which knows its own.

    Where the file says other things of pixels or detections, that the engine's hold is a note;
    ``protocol`` (--protocol) replaces the latter.
    """
    from ..artefacts.described_spec import spec_from_description
    from ..artefacts.experiment import described_by_experiment

    spec = spec_from_experiment(experiment, None)
    if spec is not None and spec != spec_from_description(description):
        same = " with other levels, priors or input" if spec.name == description.model else ""
        raise UsageError(
            f"{engine} is a {description.model}, and {experiment.path} is of {spec.name}{same}; "
            "leave one of them out"
        )
    own = described_by_experiment(experiment, description)
    for what, holds in (
        ("post-processing", protocol is not None or own.postprocess == description.postprocess),
        ("subtraction of means", own.preprocessing == description.preprocessing),
    ):
        if not holds:
            note(f"note: {what} as {engine} has it, not as {experiment.path} does")


def train_options(
    experiment: Experiment, given: dict[str, Any]
) -> tuple[dict[str, Any], Path | None]:
    """Options of ``train`` with the file's in the place of those not given, and the output."""
    from ..artefacts.experiment import postprocess_from_experiment
    from ..postprocess import PostprocessParams
    from ..training.configuration import merged_options, options_from_experiment

    spec = spec_from_experiment(experiment, given.get("model"))
    # --weights on the command line takes the place of the file's; its RESUME_SCOPE stays
    weights = given.get("weights") or weights_from_experiment(experiment)
    from_file = options_from_experiment(experiment, weights)
    from_file.pop("model", None)
    options = merged_options(from_file, given)
    if postprocess_from_experiment(experiment) != PostprocessParams.coco():
        note(
            f"note: {experiment.path}: POST_PROCESS is not of training, which scores by published "
            "numbers; pass --config to eval, detect and export too"
        )
    if spec is not None and experiment.names_network:
        options["network"] = experiment.network
    elif spec is not None:
        options["model"] = spec.name
    output: Path | None = options.pop("output", None)
    return options, output
