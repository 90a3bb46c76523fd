"""A network together with its description: from a checkpoint, or with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..files import sha256_of
from ..models.registry import get_spec
from ..models.shipped import find_shipped
from ..requirements import require
from .description import Description, description_from_spec
from .labels import read_labels

if TYPE_CHECKING:
    from ..models.network import SsdNetwork

Labels = str | Path | Sequence[str]


def network_from_checkpoint(
    weights: str | Path,
    model: str | None = None,
    *,
    num_classes: int | None = None,
    width: float | None = None,
    labels: Labels | None = None,
) -> tuple[SsdNetwork, Description]:
    """The network of a checkpoint, and its description.

    Args:
        weights: checkpoint file, or the name of a shipped one, which knows its model and labels.
        model: name of the network; shipped checkpoints know theirs.
        num_classes, width: default: read off the weights.
        labels: class names, or the text file that holds them.

    Raises:
        UsageError: no model, an unknown one, or labels that do not fit.
        BadFile: the checkpoint or the labels cannot be read, or do not fit the model.
        MissingRequirement: torch is not installed.
    """
    weights = Path(weights)
    shipped = find_shipped(weights)
    if shipped is not None:
        weights = shipped.path
        labels = shipped.labels_path if labels is None else labels
        model = model or shipped.model
        if get_spec(model).name != shipped.model:
            raise UsageError(
                f"{shipped.name} is a {shipped.model}, not a {model}; pass that --model"
            )
    if model is None:
        raise UsageError(
            f"no network for the weights {weights}: pass --model NAME (see 'ssd-small models')"
        )
    spec = get_spec(model)
    require("torch", model)
    from ..models.checkpoint import model_from_checkpoint

    net = model_from_checkpoint(model, weights, num_classes, width)
    origin = f"sha256:{sha256_of(weights)}"
    return net, description_from_spec(
        spec, net.num_classes, net.width, labels=labels_from(labels), weights=origin
    )


def random_network(
    model: str,
    *,
    num_classes: int | None = None,
    width: float | None = None,
    labels: Labels | None = None,
) -> tuple[SsdNetwork, Description]:
    """A network with random weights, the same each time; for timing.

    Raises:
        UsageError: an unknown model, or labels that do not fit.
        MissingRequirement: torch is not installed.
    """
    spec = get_spec(model)
    torch = require("torch", model)
    from ..models.network import create_model

    names = labels_from(labels)
    torch.manual_seed(0)
    net = create_model(spec, num_classes or 81, 1.0 if width is None else width)
    return net, description_from_spec(spec, net.num_classes, net.width, labels=names)


def labels_from(labels: Labels | None) -> tuple[str, ...] | None:
    """Class names as given, or read from the text file that is named."""
    if labels is None:
        return None
    if isinstance(labels, (str, Path)):
        return read_labels(labels)
    return tuple(str(name) for name in labels)
