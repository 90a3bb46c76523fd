"""A network together with its description: from a checkpoint, or with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadFile, UsageError
from ..files import sha256_of
from ..models.registry import get_spec, known_models
from ..models.shipped import find_shipped
from ..models.spec import ModelSpec
from ..requirements import require
from .checkpoint import CheckpointRecord, check_against_spec
from .description import Description, check_labels, description_from_spec
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
        model: name of the network; checkpoints of ``ssd-small train`` and shipped ones know it.
        num_classes, width: default: what the checkpoint says, else read off the weights.
        labels: class names, or the text file that holds them; default: what the checkpoint says.

    Raises:
        UsageError: no model, an unknown one, another than the checkpoint's, or labels that do not
            fit.
        BadFile: the checkpoint or the labels cannot be read, or do not fit the model.
        MissingRequirement: torch is not installed.
    """
    path, shipped = Path(weights), find_shipped(weights)
    if shipped is not None:
        path = shipped.path
        labels = shipped.labels_path if labels is None else labels
        model = _agreed(model, shipped.model, shipped.name)
    require("torch", model or f"reading {path}")
    from ..models.checkpoint import model_from_state, read_checkpoint

    state, raw = read_checkpoint(path)
    record = None if raw is None else CheckpointRecord.from_dict(raw, path)
    if record is not None:
        own = record.description
        if own.model not in known_models():
            raise BadFile(
                f"checkpoint {path} is of a network {own.model!r}, which this version does not "
                "know; update ssd-small, or take an undamaged copy"
            )
        model = _agreed(model, own.model, f"checkpoint {path}")
        num_classes, width = num_classes or own.num_classes, width or own.width
    if model is None:
        raise UsageError(
            f"{path} does not say which network it is of: pass --model NAME (see 'ssd-small "
            "models')"
        )
    net = model_from_state(model, state, path, num_classes, width)
    origin, names = f"sha256:{sha256_of(path)}", labels_from(labels)
    if record is None:
        return net, description_from_spec(
            net.spec, net.num_classes, net.width, labels=names, weights=origin
        )
    check_against_spec(own, net.spec, path)
    if names is not None:
        check_labels(names, own.num_classes, own.postprocess.background_label)
    return net, replace(own, weights=origin, labels=own.labels if names is None else names)


def _agreed(asked: str | None, recorded: str, what: str) -> str:
    """The recorded model, unless another one is asked for."""
    if asked is not None and get_spec(asked).name != recorded:
        raise UsageError(f"{what} is a {recorded}, not a {asked}; pass that --model, or none")
    return recorded


def random_network(
    model: str | ModelSpec,
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
    spec = get_spec(model) if isinstance(model, str) else model
    torch = require("torch", spec.name)
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
