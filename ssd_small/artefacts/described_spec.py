"""Conversion between the network in a description and the spec from which it is built."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..configs.network import NetworkConfig
from ..errors import UsageError, quoted
from ..models.from_config import spec_from_config
from ..models.registry import get_spec, known_models
from ..models.spec import ModelSpec, NetworkLayers
from .written_layers import spec_from_layers

if TYPE_CHECKING:
    from .description import Description


def spec_from_description(description: Description) -> ModelSpec:
    """The network of a description: by its name, or as it is described.

    Raises:
        UsageError: there is no network of that name, or no PyTorch form of it.
        BadFile: what is described is not a network.
    """
    if description.network is None:
        if description.stored_priors is not None and description.model not in known_models():
            raise UsageError(
                f"{quoted(description.model)} was adopted from an ONNX file, so there is no "
                "PyTorch network of it; take the ONNX file in its place"
            )
        return get_spec(description.model)
    if isinstance(description.network, NetworkLayers):
        height, width = description.network_size
        return spec_from_layers(
            *(description.network, description.model),
            tuple(level for level, _ in description.levels),
            description.clip,
            replace(description.preprocessing, height=height, width=width),
            description.postprocess,
        )
    return spec_from_config(description.network, "network")


def network_of_spec(spec: ModelSpec) -> NetworkConfig | NetworkLayers | None:
    """Configuration or layers that produce a spec without a name; None if the spec has neither."""
    if spec.written:
        return spec.layers
    if spec.name in known_models() or spec.config is None:
        return None
    # a spec that was changed by hand no longer matches its configuration
    return spec.config if spec_from_config(spec.config) == spec else None
