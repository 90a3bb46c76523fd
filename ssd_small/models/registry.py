"""The networks by name."""

from __future__ import annotations

from ..errors import UsageError
from .families import spec_from_config
from .published import NAMED
from .spec import ModelSpec

_BY_NAME = {named.name: spec_from_config(named.config) for named in NAMED}


def list_models() -> list[str]:
    """Names of the published networks, in the order of the published table."""
    return [named.name for named in NAMED if named.published is not None]


def known_models() -> list[str]:
    """Names of all networks, those that are not in the published table too."""
    return list(_BY_NAME)


def get_spec(name: str) -> ModelSpec:
    """The spec of a network.

    Raises:
        UsageError: there is no network of that name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UsageError(f"unknown model {name!r}; known: {', '.join(list_models())}") from None
