"""Reading checkpoints: safe unpickling, published key names, every mismatch named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadFile
from .network import SsdNetwork, create_model
from .registry import get_spec
from .shapes import summarize
from .spec import ModelSpec, scaled

StateDict = dict[str, Tensor]


def load_checkpoint(net: SsdNetwork, path: str | Path) -> None:
    """Load a state dict with the published keys into ``net``.

    A ``module.`` prefix is stripped; ``num_batches_tracked`` may be absent. Siblings such as
    ``vgg16`` and ``vgg16_s1l2`` have the same keys and shapes: that the checkpoint belongs to
    the network asked for cannot be seen from the weights.

    Raises:
        BadFile: the file is absent, truncated, holds more than tensors, or does not fit; every
            missing, unexpected or mis-shaped key is listed, one a line.
    """
    _load_state_dict(net, read_state_dict(path), path)


def model_from_checkpoint(
    name: str, path: str | Path, num_classes: int | None = None, width: float | None = None
) -> SsdNetwork:
    """Build the network a checkpoint was made for and load it.

    ``num_classes`` and ``width`` are read off the weights' shapes unless given.

    Raises:
        BadFile: as :func:`load_checkpoint`.
    """
    spec = get_spec(name)
    state = read_state_dict(path)
    net = create_model(
        spec,
        num_classes if num_classes is not None else _num_classes_of(state, spec) or 81,
        width if width is not None else _width_of(state, spec) or 1.0,
    )
    _load_state_dict(net, state, path)
    return net


def read_state_dict(path: str | Path) -> StateDict:
    """The tensors of a checkpoint by key, on the CPU, without running code from the file.

    Raises:
        BadFile: the file cannot be read as a dictionary of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"checkpoint {path} does not exist; expected a file written by torch.save")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and "Unsupported" in str(error):
            reason = "it holds objects other than tensors, which could run code"
        else:
            reason = "it is not a whole checkpoint"
        raise BadFile(_unreadable(path, reason)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise BadFile(_unreadable(path, "it is truncated or no checkpoint")) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise BadFile(_unreadable(path, "it holds no dictionary of tensors"))
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"cannot load checkpoint {path}: {reason}; expected a state dict saved with "
        "torch.save(net.state_dict(), path)"
    )


def _load_state_dict(net: SsdNetwork, state: StateDict, path: str | Path) -> None:
    own = net.state_dict()
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    lines = [f"  missing: {key}" for key in own if key not in state and key not in optional]
    lines += [f"  unexpected: {key}" for key in state if key not in own]
    lines += [
        f"  shape of {key}: received {list(state[key].shape)}, expected {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if lines:
        raise BadFile(_misfit(net, state, path, lines))
    net.load_state_dict({**{key: own[key] for key in optional}, **state})


def _misfit(net: SsdNetwork, state: StateDict, path: str | Path, lines: list[str]) -> str:
    hint = "choose the --model it was trained as"
    classes, width = _num_classes_of(state, net.spec), _width_of(state, net.spec)
    if classes not in (None, net.num_classes):
        hint = f"it has {classes} classes: pass --num-classes {classes}"
    elif width is not None and _width_of(net.state_dict(), net.spec) != width:
        hint = f"it has width {width:g}: pass --width {width:g}"
    return (
        f"checkpoint {path} does not fit {net.spec.name} with {net.num_classes} classes and "
        f"width {net.width:g} ({len(lines)} keys differ); {hint}\n" + "\n".join(lines)
    )


def _num_classes_of(state: StateDict, spec: ModelSpec) -> int | None:
    head: Any = state.get("conf.0.weight")
    anchors = spec.levels[0].num_anchors
    return None if head is None or head.shape[0] % anchors else int(head.shape[0]) // anchors


def _width_of(state: StateDict, spec: ModelSpec) -> float | None:
    """The simplest multiplier that explains the channels of every feature level."""
    full = [level.channels for level in summarize(spec).levels]
    heads: list[Any] = [state.get(f"conf.{k}.weight") for k in range(len(full))]
    if any(head is None or head.ndim != 4 for head in heads):
        return None
    received = [int(head.shape[1]) for head in heads]
    # channels are rounded to multiples of 8, so several widths give the same network
    candidates = (n / parts for parts in (1, 2, 4, 8, 10, 16, 20, 100) for n in range(1, 4 * parts))
    return next(
        (w for w in candidates if [scaled(channels, w) for channels in full] == received), None
    )
