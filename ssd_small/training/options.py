"""Build a job from options of ``ssd-small train`` and, with ``--resume``, from ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..artefacts.network import open_checkpoint, spec_of
from ..configs.network import NetworkConfig
from ..errors import BadFile, UsageError
from ..models.fit import width_from_state
from ..models.from_config import spec_from_network
from ..models.input_size import name_at_published_size, spec_for_input
from ..models.registry import get_spec, known_models
from ..models.shipped import find_shipped
from ..models.spec import ModelSpec
from .job import TrainingJob
from .recipe import Recipe, published_recipe, recipe_names
from .run_record import read_run_record
from .state import RunFolder, scope_from_state
from .trainer import LoopOptions

_RECIPE = recipe_names()
_LOOP = tuple(one.name for one in fields(LoopOptions))


def job_from_options(
    output: str | Path, options: Mapping[str, Any], *, resume: bool = False
) -> TrainingJob:
    """Build a job from the options that were given explicitly.

    Without ``resume``, the other options have the defaults of :class:`TrainingJob` and of the
    network's published recipe; network and width may come from the checkpoint ``weights``. With
    ``resume``, they are those of the run in ``output``; whether the given options agree with that
    run is checked when its state is read.

    Args:
        output: folder of the run.
        options: values by field name of :class:`TrainingJob`, :class:`Recipe` and
            :class:`LoopOptions`; ``network`` replaces ``model``, and may describe a network that
            has a name; ``input_size`` (height, width) changes the input size of a network.
        resume: whether to continue the run in ``output``.

    Raises:
        UsageError: a required option is missing, or options contradict each other.
        BadFile: there is no run to continue, or the run's record or the checkpoint cannot be read.
    """
    output, options = Path(output), _with_network(options)
    folder = RunFolder(output)
    if resume and not folder.resume.exists():
        raise BadFile(
            f"no run to go on with: {folder.resume}: No such file or directory; pass the --output "
            "of a run that was stopped, or leave --resume out"
        )
    begun = read_run_record(folder.record) if resume else None
    options = _at_size(options, None if begun is None else begun.job)
    if begun is None:
        job = _new_job(output, options, resume=resume)
    else:
        job = _with_options(replace(begun.job, output=output, resume=True), options)
    if job.weights is None and "init_scope" in options:
        raise UsageError(
            f"--init-scope {options['init_scope']} needs --weights FILE; pass it, or leave both out"
        )
    return job


def _new_job(output: Path, options: Mapping[str, Any], *, resume: bool) -> TrainingJob:
    """Build a job whose folder has no ``run.json``."""
    needed = ("annotations",) if options.get("sets") else ("annotations", "images")
    missing = [f"--{name}" for name in needed if name not in options]
    if missing and resume:
        raise UsageError(
            f"{output} has no run.json (older versions wrote none): repeat the whole "
            f"command with --resume (missing: {', '.join(missing)})"
        )
    if missing:
        raise UsageError(f"nothing to learn from: pass {' and '.join(missing)} (see --help)")
    found: dict[str, Any] = {}
    if "weights" in options:
        own = scope_from_state(RunFolder(output).resume) if resume else TrainingJob.init_scope
        scope = options.get("init_scope", own)
        found = {"init_scope": scope, **_from_checkpoint(options, scope)}
    model = found.get("model") or options.get("model")
    if model is None:
        raise UsageError(
            "no network: pass --model NAME (see 'ssd-small models'), or --weights of a checkpoint "
            "that knows its own"
        )
    known = {**options, **found}
    job = TrainingJob(
        model,
        _recipe(model, known.get("network")),
        known["annotations"],
        known.get("images"),
        output,
        sets=known.get("sets", ()),
        resume=resume,
    )
    return _with_options(job, known)


def _recipe(model: str, network: NetworkConfig | ModelSpec | None) -> Recipe:
    """The network's published recipe, also at another input size; else the default one."""
    if isinstance(network, ModelSpec):
        return Recipe()
    name = model if network is None else name_at_published_size(network)
    return Recipe() if name is None else published_recipe(name)


def _at_size(options: Mapping[str, Any], begun: TrainingJob | None) -> dict[str, Any]:
    """Replace ``input_size`` by the network (of options, run or checkpoint) at that size."""
    own = dict(options)
    size = own.pop("input_size", None)
    if size is None:
        return own
    spec: ModelSpec | None
    if own.get("network") is not None:
        spec = spec_from_network(own["network"])
    elif "model" in own:
        spec = get_spec(own["model"])
    elif begun is not None:
        spec = begun.spec
    else:
        spec = open_checkpoint(own["weights"]).spec if "weights" in own else None
    return own if spec is None else {**own, **_fields_from_spec(spec_for_input(spec, size))}


def _from_checkpoint(options: Mapping[str, Any], scope: str) -> dict[str, Any]:
    """Path of the checkpoint to start from, and network and width, from it unless given."""
    opened = open_checkpoint(options["weights"])
    spec = None
    if options.get("network") is not None:
        spec = spec_from_network(options["network"])
    elif options.get("model") is not None:
        spec = get_spec(options["model"])
    # part of a checkpoint may go into another network
    if spec is None or scope == "all":
        spec = spec_of(opened, spec)
    width = options.get("width") or opened.width
    if width is None:
        width = width_from_state(opened.state, spec) or TrainingJob.width
    return {"weights": opened.path, "width": width, **_fields_from_spec(spec)}


def _fields_from_spec(spec: ModelSpec) -> dict[str, Any]:
    """The fields of a job that say which network it trains."""
    own = spec if spec.written else spec.config
    return {"model": spec.name, "network": None if spec.name in known_models() else own}


def _with_network(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in which ``model`` and ``network``, if given, describe the same network."""
    network = options.get("network")
    if network is None:
        return {**options, "network": None} if "model" in options else dict(options)
    return {**options, **_fields_from_spec(spec_from_network(network))}


def _with_options(job: TrainingJob, options: Mapping[str, Any]) -> TrainingJob:
    """A copy of a job in which the given options replace its own."""
    own = {name: value for name, value in options.items() if name not in (*_RECIPE, *_LOOP)}
    shipped = find_shipped(own.get("weights"))
    if shipped is not None:
        own["weights"] = shipped.path
    loop = {name: options[name] for name in _LOOP if name in options}
    recipe = {name: options[name] for name in _RECIPE if name in options}
    return replace(
        job,
        recipe=job.recipe.with_changes(**recipe),
        options=replace(job.options, **loop),
        **own,
    )
