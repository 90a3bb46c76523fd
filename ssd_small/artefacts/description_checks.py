"""Checks that the parts of a description are consistent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..configs.class_names import name_fault
from ..errors import BadFile, UsageError, quoted
from ..models.shapes import levels_from_spec
from ..models.spec import ModelSpec
from ..pictures.tile_grid import TileGrid
from ..postprocess.params import MAX_PRIORS
from .described_spec import spec_from_description

if TYPE_CHECKING:
    from .description import Description


def check_description(description: Description) -> None:
    """Refuse a description that contradicts itself, with ValueError."""
    if not description.width:
        raise ValueError("width: got 0, expected more")
    _check_classes(description)
    _check_input(description)
    if description.stored_priors is not None and (description.levels or description.clip != "none"):
        raise ValueError("levels or clip beside prior boxes as data, expected none")
    if description.tiles is not None:
        _check_tiles(description, description.tiles)
    if not np.isfinite(description.priors).all():
        raise ValueError("prior boxes are not finite")
    if description.network is not None:
        try:
            spec = spec_from_description(description)
        except (BadFile, UsageError) as error:
            raise ValueError(str(error)) from error
        _check_network(description, spec)


def _check_classes(description: Description) -> None:
    """Refuse class names that are invalid, or not one for each class."""
    background, classes = description.postprocess.background_label, description.num_classes
    if background >= classes:
        raise ValueError(f"background_label {background} of {classes} classes")
    if len(description.labels) != classes - (background >= 0):
        raise ValueError(f"{len(description.labels)} labels for {classes} classes")
    for name in description.labels:
        if fault := name_fault(name):
            raise ValueError(f"labels: {quoted(name)} {fault}")


def _check_input(description: Description) -> None:
    """Refuse preprocessing that is described as inside the network but not supported there."""
    if description.pictures is None:
        return
    told = description.preprocessing
    if told.interpolation != "linear":
        raise ValueError(
            f"interpolation: got {told.interpolation}, expected linear, which is how pictures are "
            "resized inside"
        )
    if resizing := told.resizing:
        name, value = next(iter(resizing.items()))
        raise ValueError(f"{name}: got {value}, which is not done to pictures inside")


def _check_tiles(description: Description, tiles: TileGrid) -> None:
    """Refuse tiles that do not cover the input, or are too many."""
    size = (description.preprocessing.height, description.preprocessing.width)
    if tiles.size != size:
        raise ValueError(f"tiles: of {tiles.size} pixels, the input has {size}")
    boxes = tiles.count * sum(description.level_sizes)
    if boxes > MAX_PRIORS:
        raise ValueError(f"tiles: got {boxes} prior boxes, expected at most {MAX_PRIORS}")


def _check_network(description: Description, spec: ModelSpec) -> None:
    """Refuse a network that contradicts the rest of the description."""
    model, size = description.model, description.network_size
    faults = {
        f"model: got {quoted(model)}, expected {spec.name!r}": model != spec.name,
        f"an input of {size}, the network's is {spec.input_size}": size != spec.input_size,
        "other prior boxes than those of network": (description.levels, description.clip)
        != (levels_from_spec(spec), spec.clip),
    }
    for fault, is_so in faults.items():
        if is_so:
            raise ValueError(fault)
