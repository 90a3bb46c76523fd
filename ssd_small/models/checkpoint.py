"""Checkpoints: read by safe unpickling, every mismatch named; written whole or not at all."""

from __future__ import annotations

import io
import math
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadFile, UsageError
from ..files import write_bytes
from .network import SsdNetwork, create_model
from .registry import get_spec
from .shipped import find_shipped
from .spec import ModelSpec

StateDict = dict[str, Tensor]

#: entry of a checkpoint beside ``state_dict`` that holds its record
RECORD_KEY = "ssd_small"
#: end of the keys of batch norms' counters, which published checkpoints lack
COUNTER = "num_batches_tracked"


def load_checkpoint(
    net: SsdNetwork, path: str | Path, *, scope: str = "", advice: str | None = None
) -> None:
    """Load a state dict with the published keys into ``net``.

    A ``module.`` prefix is stripped; ``num_batches_tracked`` may be absent. Siblings such as
    ``vgg16`` and ``vgg16_s1l2`` have the same keys and shapes: that the checkpoint belongs to
    the network asked for cannot be seen from the weights.

    Args:
        net: takes the weights.
        path: file written by ``torch.save(net.state_dict(), path)``, or the name of a shipped
            checkpoint.
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
        num_classes if num_classes is not None else _num_classes_of(state, spec) or 81,
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

    Raises:
        BadFile: the file cannot be read as a dictionary of tensors.
    """
    shipped = find_shipped(path)
    path = shipped.path if shipped else Path(path)
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise BadFile(f"checkpoint {path} {state}; expected a file written by torch.save")
    try:
        with warnings.catch_warnings():
            # torch's remarks about foreign pickles say nothing that the errors below do not
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported" in str(error).lower():
            # torch says the same of a pickle of another protocol and of a file that is none
            reason = "it is no checkpoint or holds more than tensors, which could run code"
        else:
            reason = "it is not a whole checkpoint"
        raise BadFile(_unreadable(path, reason)) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise BadFile(_unreadable(path, "it is truncated or no checkpoint")) from error
    record = None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        record = content.get(RECORD_KEY)
        if record is None and RECORD_KEY in content:
            raise BadFile(f"the record of checkpoint {path} is empty; take an undamaged copy")
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise BadFile(_unreadable(path, "it holds no dictionary of tensors"))
    return {str(key).removeprefix("module."): value for key, value in content.items()}, record


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


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"cannot load checkpoint {path}: {reason}; expected a state dict saved with "
        "torch.save(net.state_dict(), path)"
    )


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
    check_values(own, state, path)
    net.load_state_dict({**optional, **state}, strict=not scope)


def _check_fit(
    net: SsdNetwork,
    state: StateDict,
    path: str | Path,
    scope: str = "",
    advice: str | None = None,
) -> None:
    """Refuse tensors that are not those of a network, by name and shape."""
    lines = _differences(net, state, scope)
    if lines:
        raise BadFile(_misfit(net, state, path, lines, advice))


def _differences(net: SsdNetwork, state: StateDict, scope: str = "") -> list[str]:
    """Keys that are missing, unexpected or of another shape, a line each."""
    own = {key: value for key, value in net.state_dict().items() if key.startswith(scope)}
    lines = [f"  missing: {key}" for key in own if key not in state and not key.endswith(COUNTER)]
    lines += [f"  unexpected: {key}" for key in state if key not in own]
    lines += [
        f"  shape of {key}: received {list(state[key].shape)}, expected {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    return lines


def count_differences(spec: ModelSpec, num_classes: int, width: float, state: StateDict) -> int:
    """How many keys of a state dict are not those of a network; 0 if it is that network's."""
    # the network may be of more memory than there is
    with torch.device("meta"):
        return len(_differences(SsdNetwork(spec, num_classes, width), state))


def check_values(own: StateDict, state: StateDict, path: str | Path) -> None:
    """Refuse tensors that fit in shape but cannot be weights."""
    for key, value in state.items():
        if value.layout != torch.strided or value.is_meta or value.is_complex():
            raise BadFile(
                f"checkpoint {path}: {key} is a {'meta' if value.is_meta else value.layout} tensor "
                f"of {value.dtype}; expected dense real numbers"
            )
        if own[key].is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BadFile(
                f"checkpoint {path}: {key} holds NaN or infinite values; expected finite weights: "
                "take a checkpoint from before the training diverged"
            )


def _misfit(
    net: SsdNetwork, state: StateDict, path: str | Path, lines: list[str], advice: str | None
) -> str:
    hint = "choose the --model it was trained as"
    classes, width = _num_classes_of(state, net.spec), width_from_state(state, net.spec)
    if classes not in (None, net.num_classes):
        hint = f"it has {classes} classes: {advice or f'pass --num-classes {classes}'}"
    elif width is not None and width_from_state(net.state_dict(), net.spec) != width:
        hint = f"it has width {width:g}: pass --width {width:g}"
    return (
        f"checkpoint {path} does not fit {net.spec.name} with {net.num_classes} classes and "
        f"width {net.width:g} ({len(lines)} keys differ); {hint}\n" + "\n".join(lines)
    )


def _num_classes_of(state: StateDict, spec: ModelSpec) -> int | None:
    """Classes that the first head has filters for; None if it does not tell."""
    head = state.get("conf.0.weight")
    if head is None or head.ndim != 4:
        return None
    classes, rest = divmod(head.shape[0], spec.levels[0].num_anchors)
    return classes if classes >= 2 and rest == 0 else None


def width_from_state(state: StateDict, spec: ModelSpec) -> float | None:
    """The simplest channel multiplier that gives every layer the channels it has here.

    One layer alone does not tell: 0.1 and 0.105 give 1024 channels the same width, but not 512.
    None if no multiplier fits all layers.
    """
    with torch.device("meta"):
        full = SsdNetwork(spec, num_classes=2)
    low, high = 0.0, math.inf
    for name, module in full.named_modules():
        tensor = state.get(f"{name}.weight")
        # heads, and what follows from another layer's channels, are convolutions of other types
        if type(module) is nn.Conv2d and tensor is not None and tensor.ndim:
            # the inverse of layers.scaled_channels: rounding to 8, at least 8
            channels = tensor.shape[0]
            low = max(low, (channels - 4) / module.out_channels if channels > 8 else 0.0)
            high = min(high, (channels + 4) / module.out_channels)
    if high == math.inf:  # not a layer in common
        return None
    for parts in (1, 2, 4, 8, 10, 16, 20, 100, 1000, 10**4, 10**5, 10**6):
        width = max(math.ceil(low * parts), 1) / parts
        if width < high and width <= 4:
            return float(width)
    return None
