"""Between configuration files and training jobs, both ways.

A file's published sections become options of ``ssd-small train``; its own options, and then those
of the command line, take their place. What a run was asked for is written as such a file again.
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
#: every module that a published network has: keys that contain one of these are all keys
_MODULES = ("base", "norm", "extras", "transforms", "pyramids", "loc", "conf")
#: what training does not take from a configuration, with what it has in its place
_FIXED = {"DATASET.PIXEL_MEANS": (103.94, 116.78, 123.68), "MATCHER.VARIANCE": (0.1, 0.2)}


def recipe_from_experiment(experiment: Experiment) -> Recipe:
    """The hyper-parameters of a configuration, published defaults among them.

    Raises:
        BadFile: they do not make a recipe.
    """
    given = {**_recipe_of_train(experiment), **_recipe_of_matcher(experiment)}
    own = {name: value for name, value in experiment.options.items() if name in recipe_names()}
    try:
        return Recipe().with_changes(**merged_options(given, own))
    except UsageError as error:
        raise BadFile(f"{experiment.path}: {error}") from error


def options_from_experiment(experiment: Experiment, weights: Path | None) -> Options:
    """The options of ``train`` that a configuration gives, a described network left out.

    Args:
        experiment: the configuration.
        weights: checkpoint to start from, its own or another one; None for random weights.

    Raises:
        BadFile: values that training cannot do, alone or together.
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
        # what would be taken of a checkpoint means nothing without one
        options.pop("init_scope", None)
        return options
    return {**options, "weights": weights}


def merged_options(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Options:
    """Both, where ``upper`` wins; what cannot stand beside its values goes.

    A budget takes the place of another, a folder of images that of sets and the other way round,
    and a data set named in ``upper`` that of pictures to evaluate on in the same folder.
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
    """The effective configuration of options that need not be enough for a run: every key.

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
    """A job as a configuration that gives it again; ``output`` and ``resume`` are left out.

    Args:
        job: the job.
        num_classes: of its data, background among them; written where the network is described.
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
        return own  # its checkpoint tells
    section = network_config_to_dict(job.network)
    if num_classes is not None:
        section["NUM_CLASSES"] = num_classes
    return {"MODEL": section, **own}


def _plain(value: Any) -> Any:
    """As YAML holds it."""
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
        # a warm-up longer than the run holds the rate to its end
        "warm_up": min(1.0, scheduler.warm_up_epochs / train.max_epochs),
        "trainable_scope": train.trainable_scope,
    }


def _scope_from_words(words: Sequence[str]) -> str:
    """RESUME_SCOPE as an option: parts of keys, never a scope that has a name here.

    ``base`` alone is such a name, and refuses a checkpoint that lacks a tensor of the backbone,
    which the published reader leaves as it is; ``base.`` is in the same keys.
    """
    scope = ",".join(words)
    return f"{scope}." if scope in NAMED_SCOPES else scope


def _matcher_fields(experiment: Experiment) -> dict[str, tuple[str, float]]:
    """Fields of a recipe that stand in other sections: key and value."""
    matcher = experiment.matcher
    return {
        "match_iou": ("MATCHER.MATCHED_THRESHOLD", matcher.matched_threshold),
        "negative_ratio": ("MATCHER.NEGPOS_RATIO", matcher.negpos_ratio),
        "expand": ("DATASET.PROB", experiment.dataset.prob),
    }


def _recipe_of_matcher(experiment: Experiment) -> Options:
    return {name: value for name, (_, value) in _matcher_fields(experiment).items()}


def _check_fixed(experiment: Experiment) -> None:
    """Refuse what training would silently do otherwise."""
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
    """Refuse sets and scopes that are no words, as faults of the file."""
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
