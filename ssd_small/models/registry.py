"""The networks by name."""

from __future__ import annotations

from ..configs.experiment import Experiment
from ..errors import BadFile, UsageError
from .from_config import spec_from_config
from .published import NAMED
from .spec import ModelSpec

_BY_NAME = {named.name: spec_from_config(named.config) for named in NAMED}


def list_models() -> list[str]:
    """List the names of the published networks, in the order of the published table."""
    return [named.name for named in NAMED if named.published is not None]


def known_models() -> list[str]:
    """List the names of all networks, including those not in the published table."""
    return list(_BY_NAME)


def get_spec(name: str) -> ModelSpec:
    """Return the spec of a network.

    Raises:
        UsageError: there is no network with that name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UsageError(f"unknown model {name!r}; known: {', '.join(list_models())}") from None


def spec_from_experiment(experiment: Experiment) -> ModelSpec | None:
    """Return the network that a configuration describes or names; None if it does neither.

    Raises:
        BadFile: the configuration describes an invalid network, or names an unknown one.
    """
    if experiment.names_network:
        return spec_from_config(experiment.network, experiment.path)
    if "model" not in experiment.options:
        return None
    try:
        return get_spec(experiment.options["model"])
    except UsageError as error:
        raise BadFile(f"{experiment.path}: {error.command_line}") from error
