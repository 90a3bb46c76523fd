"""Loading the tensors of a checkpoint that fit, to start a training run for other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadFile
from .checkpoint import load_checkpoint, read_checkpoint, recorded_model
from .classifier_backbones import backbone_from_classifier
from .containers import COUNTER, StateDict
from .fit import family_from_keys, misfit_hint, width_from_state
from .network import SsdNetwork
from .shipped import find_shipped
from .weight_values import check_types, weights_in_float32

#: limit on the tensors of another shape that an error lists: all tensors of the heads
_MOST_NAMED = 24


@dataclass(frozen=True)
class PartialLoad:
    """Which tensors of a checkpoint were loaded into a network, possibly a different one.

    Batch norms' counters are not counted; they go with their batch norm.

    Attributes:
        taken: number of tensors loaded.
        other_shape: keys of tensors that have another shape in the network.
        unknown: keys that the network does not have.
        absent: keys of the network that the checkpoint lacks.
        model: the network named by the checkpoint; None if it names none.
    """

    taken: int
    other_shape: tuple[str, ...]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]
    model: str | None = None

    def line(self, path: str | Path, model: str) -> str:
        """Summarise the result in one line."""
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
    """Load every tensor of a checkpoint that ``net`` has with the same key and shape.

    Raises:
        BadFile: the file cannot be read, or none of its tensors fits the backbone: it then belongs
            to another network or has another width.
    """
    everything, record = read_checkpoint(path)
    counters = {k: v for k, v in everything.items() if k.endswith(COUNTER)}
    state = {k: v for k, v in everything.items() if k not in counters}
    own = {k: v for k, v in net.state_dict().items() if not k.endswith(COUNTER)}
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    if not any(key.startswith("base.") for key in fitting):
        raise BadFile(_no_fit(net, state, path))
    check_types(own, fitting, path)
    fitting = weights_in_float32(own, fitting, path)
    counted = {
        key: value
        for key, value in counters.items()
        if key.removesuffix(COUNTER) + "running_mean" in fitting and value.ndim == 0
    }
    check_types(net.state_dict(), counted, path)
    counted = weights_in_float32(net.state_dict(), counted, path)
    net.load_state_dict(fitting | counted, strict=False)
    return PartialLoad(
        len(fitting),
        tuple(key for key in state if key in own and key not in fitting),
        tuple(key for key in state if key not in own),
        tuple(key for key in own if key not in state),
        _model_of(path, record),
    )


def _model_of(path: str | Path, record: Any) -> str | None:
    """Return the name of the network that a checkpoint says it belongs to."""
    shipped = find_shipped(path)
    return shipped.model if shipped else recorded_model(record)


def load_backbone(net: SsdNetwork, path: str | Path) -> PartialLoad | None:
    """Load a checkpoint's backbone: completely, or what fits of a torchvision classifier.

    Returns:
        What was loaded from a classifier; None for a detector's backbone, loaded completely.

    Raises:
        BadFile: the file cannot be read, or belongs to another backbone.
        UsageError: as :func:`.checkpoint.load_checkpoint`.
    """
    everything, _ = read_checkpoint(path)
    found = backbone_from_classifier(everything, net)
    if found is None:
        load_checkpoint(net, path, scope="base.", advice="pass --init-scope base")
        return None
    own = {k: v for k, v in net.state_dict().items() if k.startswith("base.")}
    # the first few layers could have the right shapes by chance
    counted = [key for key in own if not key.endswith(COUNTER)]
    if 2 * len(found) < len(counted):
        raise BadFile(
            f"checkpoint {path}: {len(found)} of the {len(counted)} tensors of the backbone of "
            f"{net.spec.name} are in this classifier; expected the classifier of that backbone"
        )
    check_types(own, found, path)
    net.load_state_dict(weights_in_float32(own, found, path), strict=False)
    return PartialLoad(
        len(found), (), (), tuple(key for key in counted if key not in found), "classifier"
    )


def load_matching(net: SsdNetwork, path: str | Path, substrings: Sequence[str]) -> PartialLoad:
    """Load every tensor of a checkpoint whose key contains one of ``substrings``.

    Works like RESUME_SCOPE in the published configurations: keys that ``net`` lacks are skipped,
    and those that the checkpoint lacks keep their values.

    Raises:
        BadFile: the file cannot be read, a tensor has another shape in ``net``, or there is nothing
            to load (with ``base`` among the substrings: nothing for the backbone).
    """

    def matches(key: str) -> bool:
        return any(part in key for part in substrings)

    own = net.state_dict()
    everything, record = read_checkpoint(path)
    state = {key: value for key, value in everything.items() if matches(key)}
    known = {key: value for key, value in state.items() if key in own}
    other = tuple(key for key, value in known.items() if value.shape != own[key].shape)
    if other:
        shapes = [
            f"{key} {list(known[key].shape)}, expected {list(own[key].shape)}"
            for key in other[:_MOST_NAMED]
        ]
        shapes += [f"and {len(other) - _MOST_NAMED} more"] if len(other) > _MOST_NAMED else []
        raise BadFile(
            f"checkpoint {path} has other shapes than {net.spec.name} with {net.num_classes} "
            f"classes and width {net.width:g}: {'; '.join(shapes)}; leave these keys out of the "
            f"--init-scope {','.join(substrings)}, or choose the network it was trained as"
        )
    wanted = "backbone" if "base" in substrings else ""
    start = "base." if wanted else ""
    if not any(key.startswith(start) and not key.endswith(COUNTER) for key in known):
        found = f"such as {next(iter(state))}" if state else "none"
        family = family_from_keys(everything)
        looks = f"it looks like one of {family}: " if family else ""
        raise BadFile(
            f"checkpoint {path} has nothing to take for the {wanted or 'network'} of "
            f"{net.spec.name} (keys with {' or '.join(substrings)}: {found}); {looks}take a "
            "checkpoint with the published keys, or another --init-scope"
        )
    check_types(own, known, path)
    net.load_state_dict(weights_in_float32(own, known, path), strict=False)
    counted = {key for key in (*state, *own) if key.endswith(COUNTER)}
    return PartialLoad(
        len(known.keys() - counted),
        (),
        tuple(key for key in state if key not in own and key not in counted),
        tuple(key for key in own if matches(key) and key not in state and key not in counted),
        _model_of(path, record),
    )


def _no_fit(net: SsdNetwork, state: StateDict, path: str | Path) -> str:
    width = width_from_state(state, net.spec)
    if width is not None and width_from_state(net.state_dict(), net.spec) != width:
        hint = f"it has width {width:g}: pass --width {width:g}, or none"
    else:
        hint = misfit_hint(net, state, "base.", "")
    found = f"such as {next(iter(state))}" if state else "none"
    return (
        f"nothing of checkpoint {path} fits the backbone of {net.spec.name} with width "
        f"{net.width:g} (tensors received: {found}; expected base.*); {hint}"
    )
