"""Checkpoints: read by safe unpickling, every mismatch named; written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadFile, UsageError, quoted
from ..files import write_bytes
from .checkpoint_file import content_from_file
from .containers import COUNTER, RECORD_KEY, StateDict, weights_from_content
from .fit import differences, misfit_hint, num_classes_from_state, width_from_state
from .network import SsdNetwork, create_model
from .registry import get_spec
from .shipped import find_shipped
from .spec import ModelSpec
from .weight_values import check_types, weights_in_float32

__all__ = [
    "COUNTER",
    "RECORD_KEY",
    "StateDict",
    "cpu_state",
    "load_checkpoint",
    "model_from_checkpoint",
    "model_from_state",
    "read_checkpoint",
    "read_state_dict",
    "recorded_model",
    "save_tensors",
]


def load_checkpoint(
    net: SsdNetwork, path: str | Path, *, scope: str = "", advice: str | None = None
) -> None:
    """Load a state dict with the published keys into ``net``.

    ``num_batches_tracked`` may be absent; what wrappers and trainers put around the weights is
    taken off (:mod:`ssd_small.models.containers`). Siblings such as ``vgg16`` and ``vgg16_s1l2``
    have the same keys and shapes: that the checkpoint belongs to the network asked for cannot be
    seen from the weights.

    Args:
        net: takes the weights.
        path: file written by ``torch.save(net.state_dict(), path)``, the same in a trainer's
            dictionary, a safetensors file, or the name of a shipped checkpoint.
        scope: begin of the keys that are loaded, such as ``"base."`` for the backbone; the others
            are neither read nor compared, and stay as they are in ``net``.
        advice: what to do about a checkpoint with other classes, where ``--num-classes`` is no
            option.

    Raises:
        BadFile: the file is absent, truncated, holds more than tensors, or does not fit; every
            missing, unexpected or mis-shaped key is listed, one a line.
    """
    state, record = read_checkpoint(path)
    shipped = find_shipped(path)
    recorded = shipped.model if shipped else recorded_model(record)
    if not scope and recorded not in (None, net.spec.name):
        raise UsageError(
            f"checkpoint {path} is of a {recorded}, not of a {net.spec.name}: build the network "
            f"that it was trained as (--model {recorded})"
        )
    _load_state_dict(net, state, path, scope, advice)


def recorded_model(record: Any) -> str | None:
    """The network that a record names; None if it names none."""
    description = record.get("description") if isinstance(record, dict) else None
    model = description.get("model") if isinstance(description, dict) else None
    return model if isinstance(model, str) else None


def model_from_checkpoint(
    model: str | ModelSpec,
    path: str | Path,
    num_classes: int | None = None,
    width: float | None = None,
) -> SsdNetwork:
    """Build the network a checkpoint was made for and load it; see :func:`model_from_state`."""
    return model_from_state(model, read_state_dict(path), path, num_classes, width)


def model_from_state(
    model: str | ModelSpec,
    state: StateDict,
    path: str | Path,
    num_classes: int | None = None,
    width: float | None = None,
) -> SsdNetwork:
    """Build the network that a state dict belongs to and load it.

    ``num_classes`` and ``width`` are read off the weights' shapes unless given.

    Raises:
        BadFile: as :func:`load_checkpoint`.
    """
    spec = get_spec(model) if isinstance(model, str) else model
    size = (
        num_classes if num_classes is not None else num_classes_from_state(state, spec) or 81,
        width if width is not None else width_from_state(state, spec) or 1.0,
    )
    # a size that the weights do not have may be of more memory than there is
    with torch.device("meta"):
        _check_fit(SsdNetwork(spec, *size), state, path)
    net = create_model(spec, *size)
    _load_state_dict(net, state, path)
    return net


def read_state_dict(path: str | Path) -> StateDict:
    """The tensors of :func:`read_checkpoint` alone."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[StateDict, Any]:
    """The tensors of a checkpoint by key, on the CPU, without running code from the file.

    ``path`` may be the name of a shipped checkpoint. The second value is what the file says of
    itself (see :mod:`ssd_small.artefacts.checkpoint`), not checked; None if it says nothing.

    Warns:
        Note: the file holds several state dicts; says which was taken.

    Raises:
        BadFile: the file cannot be read as a dictionary of tensors.
        MissingRequirement: it is a safetensors file, and that package is not installed.
    """
    shipped = find_shipped(path)
    path = shipped.path if shipped else Path(path)
    state, record = weights_from_content(content_from_file(path), path)
    # which network it is of is read off shapes, and these have none
    for key, value in state.items():
        if value.is_nested:
            raise BadFile(
                f"checkpoint {path}: {quoted(key)} is a nested tensor; expected a plain tensor"
            )
    return state, record


def cpu_state(state: Mapping[str, Tensor]) -> StateDict:
    """Tensors as they are written, wherever they lie and however they are laid out."""
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def save_tensors(content: object, path: Path) -> None:
    """``torch.save``, whole or not at all.

    Raises:
        OutputError: it cannot be written; an older file stays whole.
    """
    # by way of memory: a full disk is then an OSError, not torch's RuntimeError
    stream = io.BytesIO()
    torch.save(content, stream)
    write_bytes(path, stream.getvalue())


def _load_state_dict(
    net: SsdNetwork,
    state: StateDict,
    path: str | Path,
    scope: str = "",
    advice: str | None = None,
) -> None:
    own = {key: value for key, value in net.state_dict().items() if key.startswith(scope)}
    state = {key: value for key, value in state.items() if key.startswith(scope)}
    _check_fit(net, state, path, scope, advice)
    optional = {key: value for key, value in own.items() if key.endswith(COUNTER)}
    weights = weights_in_float32(own, state, path)
    net.load_state_dict({**optional, **weights}, strict=not scope)


def _check_fit(
    net: SsdNetwork,
    state: StateDict,
    path: str | Path,
    scope: str = "",
    advice: str | None = None,
) -> None:
    """Refuse tensors that are not those of a network, by name, type and shape."""
    check_types(net.state_dict(), state, path)
    lines = differences(net, state, scope)
    if lines:
        raise BadFile(
            f"checkpoint {path} does not fit {net.spec.name} with {net.num_classes} classes and "
            f"width {net.width:g} ({len(lines)} keys differ); "
            f"{misfit_hint(net, state, scope, advice)}",
            *lines,
        )
