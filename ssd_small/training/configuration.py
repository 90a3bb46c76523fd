"""Conversion between configuration files and training jobs, in both directions.

A file's published sections become options of ``ssd-small train``; options under our own names in
the file override these, and options on the command line override both. The settings of a run are
written as such a file again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..configs.experiment import Experiment
from ..configs.network import network_config_to_dict
from ..configs.options import OPTIONS
from ..datasets.sets import checked_sets
from ..errors import BadFile, UsageError
from ..models.spec import ModelSpec
from .initialise import NAMED_SCOPES, substrings_from_scope
from .job import TrainingJob
from .options import job_from_options
from .recipe import BUDGETS, Recipe, recipe_names

Options = dict[str, Any]
_SCHEDULES = {"SGDR": "sgdr"}
#: all modules of a published network: every key contains one of these
_MODULES = ("base", "norm", "extras", "transforms", "pyramids", "loc", "conf")
#: keys of a configuration that training accepts with one value only, with that value
_FIXED = {"DATASET.PIXEL_MEANS": (103.94, 116.78, 123.68), "MATCHER.VARIANCE": (0.1, 0.2)}


def recipe_from_experiment(experiment: Experiment) -> Recipe:
    """Read the hyper-parameters of a configuration, including published defaults.

    Raises:
        BadFile: the values do not form a valid recipe.
    """
    given = {**_recipe_of_train(experiment), **_recipe_of_matcher(experiment)}
    own = {name: value for name, value in experiment.options.items() if name in recipe_names()}
    try:
        return Recipe().with_changes(**merged_options(given, own))
    except UsageError as error:
        raise BadFile(f"{experiment.path}: {error}") from error


def options_from_experiment(experiment: Experiment, weights: Path | None) -> Options:
    """Translate a configuration to options of ``train``, without the network it describes.

    Args:
        experiment: the configuration.
        weights: checkpoint to start from, the configuration's or another one; None for random
            weights.

    Raises:
        BadFile: training does not support a value, or a combination of values.
    """
    _check_fixed(experiment)
    recipe_from_experiment(experiment)
    published: Options = {}
    if experiment.has("TRAIN"):
        published |= _recipe_of_train(experiment)
    published |= {
        name: value
        for name, (key, value) in _matcher_fields(experiment).items()
        if experiment.has(key)
    }
    places, data = experiment.places, experiment.dataset
    if weights is not None and experiment.has("TRAIN"):
        published["init_scope"] = _scope_from_words(experiment.train.resume_scope or _MODULES)
    if places.exp_dir is not None:
        published["output"] = places.exp_dir
    if data.dataset_dir is not None:
        folder = data.dataset_dir
        published |= {"annotations": folder, "sets": data.train_sets}
        published |= {"val_annotations": folder, "val_sets": data.test_sets}
    if experiment.has("DATASET.NUM_WORKERS"):
        published["workers"] = data.num_workers
    _check_words(experiment)
    options = merged_options(published, experiment.options)
    if weights is None:
        # init_scope has no meaning without a checkpoint
        options.pop("init_scope", None)
        return options
    return {**options, "weights": weights}


def merged_options(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Options:
    """Merge two sets of options; ``upper`` wins, and options that conflict with it are dropped.

    A budget replaces any other budget, and a folder of images replaces sets and vice versa. Where
    ``lower`` evaluates on the folder it trains on, a data set in ``upper`` replaces both.
    """
    kept = dict(lower)
    if any(name in upper for name in BUDGETS):
        kept = {name: value for name, value in kept.items() if name not in BUDGETS}
    same_folder = "annotations" in kept and kept["annotations"] == kept.get("val_annotations")
    if same_folder and "annotations" in upper and "images" in upper:
        kept = {name: value for name, value in kept.items() if not name.startswith("val_")}
    elif same_folder and "annotations" in upper:
        kept["val_annotations"] = upper["annotations"]
    for prefix in ("", "val_"):
        for one, other in (("images", "sets"), ("sets", "images")):
            if upper.get(f"{prefix}{one}") is not None:
                kept.pop(f"{prefix}{other}", None)
    return {**kept, **upper}


def configuration_from_options(options: Mapping[str, Any]) -> Options:
    """The effective configuration, with every key, of options that may be too few for a run.

    Raises:
        UsageError, BadFile: as :func:`~.options.job_from_options`.
    """
    places = ("annotations",) if options.get("sets") else ("annotations", "images")
    absent = [name for name in places if name not in options]
    filled = {**dict.fromkeys(absent, Path()), **options}
    output = filled.pop("output", None)
    values = configuration_from_job(job_from_options(output or Path(), filled))
    if output is not None:
        values["output"] = str(output)
    return {name: value for name, value in values.items() if name not in absent}


def configuration_from_job(job: TrainingJob, num_classes: int | None = None) -> Options:
    """Write a job as a configuration that reproduces it, without ``output`` and ``resume``.

    Args:
        job: the job.
        num_classes: classes of its data, including background; written where the configuration
            describes the network.
    """
    values: Options = {**asdict(job.recipe), **vars(job.options), **vars(job)}
    if job.weights is None:
        values["init_scope"] = None
    own = {
        name: _plain(values[name])
        for name in OPTIONS
        if name != "output" and values.get(name) not in (None, ())
    }
    if job.network is None:
        return own
    del own["model"]
    if isinstance(job.network, ModelSpec):
        return own  # the network is read from its checkpoint
    section = network_config_to_dict(job.network)
    if num_classes is not None:
        section["NUM_CLASSES"] = num_classes
    return {"MODEL": section, **own}


def _plain(value: Any) -> Any:
    """Convert a value to one that YAML can hold."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _recipe_of_train(experiment: Experiment) -> Options:
    train = experiment.train
    optimizer, scheduler = train.optimizer, train.lr_scheduler
    return {
        "epochs": train.max_epochs,
        "batch": train.batch_size,
        "optimizer": optimizer.optimizer,
        "lr": optimizer.learning_rate,
        "momentum": optimizer.momentum,
        "momentum_2": optimizer.momentum_2,
        "eps": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
        "schedule": _SCHEDULES.get(scheduler.scheduler, scheduler.scheduler),
        "schedule_steps": scheduler.steps,
        "gamma": scheduler.gamma,
        # a warm-up longer than the run keeps the rate constant until its end
        "warm_up": min(1.0, scheduler.warm_up_epochs / train.max_epochs),
        "trainable_scope": train.trainable_scope,
    }


def _scope_from_words(words: Sequence[str]) -> str:
    """RESUME_SCOPE as an option: parts of keys, never one of :data:`NAMED_SCOPES`.

    The named scope ``base`` refuses a checkpoint that lacks a tensor of the backbone, where the
    published reader leaves that tensor unchanged; ``base.`` matches the same keys without this.
    """
    scope = ",".join(words)
    return f"{scope}." if scope in NAMED_SCOPES else scope


def _matcher_fields(experiment: Experiment) -> dict[str, tuple[str, float]]:
    """Key and value of the recipe fields that are in sections other than TRAIN."""
    matcher = experiment.matcher
    return {
        "match_iou": ("MATCHER.MATCHED_THRESHOLD", matcher.matched_threshold),
        "negative_ratio": ("MATCHER.NEGPOS_RATIO", matcher.negpos_ratio),
        "expand": ("DATASET.PROB", experiment.dataset.prob),
    }


def _recipe_of_matcher(experiment: Experiment) -> Options:
    return {name: value for name, (_, value) in _matcher_fields(experiment).items()}


def _check_fixed(experiment: Experiment) -> None:
    """Refuse values that training would otherwise silently ignore."""
    given = {
        "DATASET.PIXEL_MEANS": experiment.dataset.pixel_means,
        "MATCHER.VARIANCE": experiment.matcher.variance,
    }
    for key, value in given.items():
        if value != _FIXED[key]:
            raise BadFile(
                f"{experiment.path}: {key}: got {list(value)}, expected {list(_FIXED[key])}, which "
                "training has; other ones can be evaluated, detected with and exported"
            )


def _check_words(experiment: Experiment) -> None:
    """Report malformed sets and scopes as faults of the file."""
    options, data = experiment.options, experiment.dataset
    try:
        for sets in (
            *((data.train_sets, data.test_sets) if data.dataset_dir is not None else ()),
            *(options[name] for name in ("sets", "val_sets") if name in options),
        ):
            checked_sets(sets)
        if "init_scope" in options:
            substrings_from_scope(options["init_scope"])
    except UsageError as error:
        raise BadFile(f"{experiment.path}: {error}") from error
