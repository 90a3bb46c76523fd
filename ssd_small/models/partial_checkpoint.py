"""Taking from a checkpoint what fits: the start of a training run for other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadFile
from .checkpoint import (
    COUNTER,
    StateDict,
    check_values,
    read_checkpoint,
    recorded_model,
    width_from_state,
)
from .network import SsdNetwork
from .shipped import find_shipped


@dataclass(frozen=True)
class PartialLoad:
    """What of a checkpoint went into a network that need not be its own.

    The counters of batch norms are not counted: they go with their batch norm.

    Attributes:
        taken: number of tensors that fitted.
        other_shape: keys of tensors that have another shape in the network.
        unknown: keys that the network does not have.
        absent: keys of the network that the checkpoint lacks.
        model: the network that the checkpoint says it is of; None if it does not say.
    """

    taken: int
    other_shape: tuple[str, ...]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]
    model: str | None = None

    def line(self, path: str | Path, model: str) -> str:
        """All of it in one line."""
        left = [
            f"{_first_of(keys)} ({why})"
            for keys, why in (
                (self.other_shape, "other shape"),
                (self.unknown, f"not in {model}"),
            )
            if keys
        ]
        total = self.taken + len(self.other_shape) + len(self.unknown)
        other = f", which is of a {self.model}" if self.model not in (None, model) else ""
        parts = [f"took {self.taken} of {total} tensors of {path}{other}"]
        parts += [f"not taken: {', '.join(left)}"] if left else []
        parts += [f"not in it, so random: {_first_of(self.absent)}"] if self.absent else []
        return "; ".join(parts)


def _first_of(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"


def load_fitting(net: SsdNetwork, path: str | Path) -> PartialLoad:
    """Load every tensor of a checkpoint that has a place of its shape in ``net``.

    Raises:
        BadFile: the file cannot be read, or none of its tensors fits the backbone: it is then of
            another network, or of another width.
    """
    everything, record = read_checkpoint(path)
    counters = {k: v for k, v in everything.items() if k.endswith(COUNTER)}
    state = {k: v for k, v in everything.items() if k not in counters}
    own = {k: v for k, v in net.state_dict().items() if not k.endswith(COUNTER)}
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    if not any(key.startswith("base.") for key in fitting):
        raise BadFile(_no_fit(net, state, path))
    check_values(own, fitting, path)
    counted = {
        key: value
        for key, value in counters.items()
        if key.removesuffix(COUNTER) + "running_mean" in fitting and value.ndim == 0
    }
    net.load_state_dict(fitting | counted, strict=False)
    return PartialLoad(
        len(fitting),
        tuple(key for key in state if key in own and key not in fitting),
        tuple(key for key in state if key not in own),
        tuple(key for key in own if key not in state),
        shipped.model if (shipped := find_shipped(path)) else recorded_model(record),
    )


def _no_fit(net: SsdNetwork, state: StateDict, path: str | Path) -> str:
    width = width_from_state(state, net.spec)
    if width is not None and width_from_state(net.state_dict(), net.spec) != width:
        hint = f"it has width {width:g}: pass --width {width:g}, or none"
    else:
        hint = "choose the --model it was trained as"
    found = f"such as {next(iter(state))}" if state else "none"
    return (
        f"nothing of checkpoint {path} fits the backbone of {net.spec.name} with width "
        f"{net.width:g} (tensors received: {found}; expected base.*); {hint}"
    )
