"""Checkpoints: safely unpickled, with every mismatch listed; written atomically."""

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

    ``num_batches_tracked`` may be absent; whatever wrappers and trainers put around the weights
    is removed (:mod:`ssd_small.models.containers`). Siblings such as ``vgg16`` and ``vgg16_s1l2``
    have the same keys and shapes, so the weights alone do not show whether the checkpoint belongs
    to the requested network; the checkpoint's record does, where it names one.

    Args:
        net: network that receives the weights.
        path: file written by ``torch.save(net.state_dict(), path)``, a trainer's dictionary that
            holds such a state dict, a safetensors file, or the name of a shipped checkpoint.
        scope: prefix of the keys to load, such as ``"base."`` for the backbone; other keys are
            neither loaded nor compared, and keep their values in ``net``.
        advice: what the error suggests for a checkpoint with other classes, for commands that
            have no ``--num-classes``.

    Raises:
        BadFile: the file is absent, truncated, holds more than tensors, or does not fit; every
            missing, unexpected or mis-shaped key is listed, one per line.
        UsageError: the checkpoint's record names another network.
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
    """Return the name of the network that a record gives; None if it gives none."""
    description = record.get("description") if isinstance(record, dict) else None
    model = description.get("model") if isinstance(description, dict) else None
    return model if isinstance(model, str) else None


def model_from_checkpoint(
    model: str | ModelSpec,
    path: str | Path,
    num_classes: int | None = None,
    width: float | None = None,
) -> SsdNetwork:
    """Build the network a checkpoint belongs to and load it; see :func:`model_from_state`."""
    return model_from_state(model, read_state_dict(path), path, num_classes, width)


def model_from_state(
    model: str | ModelSpec,
    state: StateDict,
    path: str | Path,
    num_classes: int | None = None,
    width: float | None = None,
) -> SsdNetwork:
    """Build the network a state dict belongs to and load it.

    ``num_classes`` and ``width`` are inferred from the shapes of the weights unless given.

    Raises:
        BadFile: as :func:`load_checkpoint`.
    """
    spec = get_spec(model) if isinstance(model, str) else model
    size = (
        num_classes if num_classes is not None else num_classes_from_state(state, spec) or 81,
        width if width is not None else width_from_state(state, spec) or 1.0,
    )
    # a network of a size other than the weights' might need more memory than there is
    with torch.device("meta"):
        _check_fit(SsdNetwork(spec, *size), state, path)
    net = create_model(spec, *size)
    _load_state_dict(net, state, path)
    return net


def read_state_dict(path: str | Path) -> StateDict:
    """Return only the tensors of :func:`read_checkpoint`."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[StateDict, Any]:
    """Read a checkpoint's tensors by key, on the CPU, without running code from the file.

    ``path`` may be the name of a shipped checkpoint. The second value is the file's record (see
    :mod:`ssd_small.artefacts.checkpoint`), unchecked; None if it has none.

    Warns:
        Note: the file holds several state dicts; the message says which was used.

    Raises:
        BadFile: the file cannot be read as a dictionary of tensors.
        MissingRequirement: it is a safetensors file and the safetensors package is not installed.
    """
    shipped = find_shipped(path)
    path = shipped.path if shipped else Path(path)
    state, record = weights_from_content(content_from_file(path), path)
    # shapes identify the network, and nested tensors have none
    for key, value in state.items():
        if value.is_nested:
            raise BadFile(
                f"checkpoint {path}: {quoted(key)} is a nested tensor; expected a plain tensor"
            )
    return state, record


def cpu_state(state: Mapping[str, Tensor]) -> StateDict:
    """Return the tensors as they are saved: detached, contiguous and on the CPU."""
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def save_tensors(content: object, path: Path) -> None:
    """Save atomically with ``torch.save``.

    Raises:
        OutputError: the file cannot be written; an older file stays intact.
    """
    # serialised in memory first: a full disk is then an OSError, not torch's RuntimeError
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
    """Refuse tensors whose names, types or shapes are not those of the network."""
    check_types(net.state_dict(), state, path)
    lines = differences(net, state, scope)
    if lines:
        raise BadFile(
            f"checkpoint {path} does not fit {net.spec.name} with {net.num_classes} classes and "
            f"width {net.width:g} ({len(lines)} keys differ); "
            f"{misfit_hint(net, state, scope, advice)}",
            *lines,
        )
