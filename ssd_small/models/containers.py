"""The state dict of a network in whatever a trainer wrote around it.

Trainers save the state dict itself, or a dictionary that holds it beside the optimizer's; DDP,
``torch.compile``, averaging and Lightning begin its keys with words of their own. What is found is
one state dict with the published keys; where there are several, the one that trainers evaluate.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadFile, Note, quoted
from .checkpoint_file import StandIn, refusal

StateDict = dict[str, Tensor]

#: entry of a checkpoint beside ``state_dict`` that holds its record
RECORD_KEY = "ssd_small"
#: end of the keys of batch norms' counters, which published checkpoints lack
COUNTER = "num_batches_tracked"
#: first parts of the keys of a network
ROOTS = frozenset(("base", "norm", "extras", "loc", "conf", "transforms", "pyramids"))
#: parts of keys that wrappers put in: DDP, torch.compile, FSDP, activation checkpointing
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
#: counters of what averages: torch.optim.swa_utils, MMEngine, ema_pytorch
_AVERAGED = frozenset(("n_averaged", "steps", "step", "initted"))
#: names of averaged weights, and of dictionaries of tensors that are no weights
_AVERAGE = re.compile(r"(?<![a-z])(ema|swa|avg|averaged?|shadow)(?![a-z])", re.IGNORECASE)
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|momentum|grad|criterion|loss", re.IGNORECASE)
#: dictionaries in dictionaries that are looked into
_DEEPEST = 4
#: state dicts of one file that are told apart
_MOST_STATES = 64
#: bytes of a tensor that may be a view of fewer
_SMALL = 1 << 20
#: characters of a key that are kept
_LONGEST = 200
#: entries of the file that a stopped training run goes on from
_RESUME = frozenset(("format", "position", "net", "optimizer"))


def weights_from_content(content: object, path: Path) -> tuple[StateDict, Any]:
    """The state dict in what a checkpoint's file holds, and the record beside it.

    Keys are the published ones where the network is one of ours, whatever words they began with;
    of other networks, they are as in the file but for the wrappers' words.

    Warns:
        Note: there were several state dicts; says which was taken.

    Raises:
        BadFile: there is none, or several of which none is known to be the one to take.
    """
    if not isinstance(content, Mapping):
        kind = content.name if isinstance(content, StandIn) else type(content).__name__
        raise refusal(path, f"it holds a {kind}, no dictionary of tensors")
    if content.keys() >= _RESUME:
        raise refusal(
            path,
            "it is the resume file of a training run, which goes on from it",
            "take last.pth or best.pth beside it",
        )
    record = None
    if RECORD_KEY in content and isinstance(content.get("state_dict"), dict):
        record = content[RECORD_KEY]
        if record is None:
            raise BadFile(f"the record of checkpoint {path} is empty; take an undamaged copy")
        weights: Mapping[Any, Any] = content["state_dict"]
    else:
        weights = _without_current(content)
    found = {name: _state_from(value, path, name) for name, value in _candidates(weights).items()}
    if len(found) > _MOST_STATES:
        raise refusal(
            path,
            f"it holds {len(found)} state dicts",
            "save the one to use: torch.save(state_dict, path)",
        )
    if not found:
        raise refusal(path, f"it holds no dictionary of tensors ({_told(weights)})")
    name = _chosen(found, path)
    states = _networks(found[name], path)
    return states[_chosen(states, path)], record


def _without_current(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A checkpoint without the weights of the last step, where its ``state_dict`` is their average.

    Lightning's WeightAveraging and MMEngine's EMAHook exchange the two when they save.
    """
    meta = content.get("meta")
    if "averaging_state" in content:
        current = "current_model_state"
    elif isinstance(meta, Mapping) and "mmengine_version" in meta:
        current = "ema_state_dict"
    else:
        return content
    return {key: value for key, value in content.items() if key != current}


def _candidates(
    content: Mapping[Any, Any], depth: int = 0, seen: set[tuple[int, int]] | None = None
) -> dict[str, Mapping[Any, Any]]:
    """The dictionaries that look like state dicts, by the names that lead to them.

    One that stands in several places of a depth is looked into once (``seen``): a small pickle can
    name one any number of times, and in each of those again.
    """
    seen = set() if seen is None else seen
    own = any(_is_array(value) and "." in str(key) for key, value in content.items())
    found: dict[str, Mapping[Any, Any]] = {"": content} if own else {}
    if depth < _DEEPEST:
        for key, value in content.items():
            place = (id(value), depth)
            if not isinstance(value, Mapping) or place in seen:
                continue
            if not _NO_WEIGHTS.search(str(key)):
                seen.add(place)
                for name, inner in _candidates(value, depth + 1, seen).items():
                    found[f"{_printable(key)}.{name}" if name else _printable(key)] = inner
    if not found and depth == 0 and content:
        # tensors under names that no network has: told as a misfit, key by key
        return {"": content} if all(isinstance(v, Tensor) for v in content.values()) else {}
    return found


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, StandIn) and value.name.endswith("multiarray._reconstruct")
    )


def _state_from(content: Mapping[Any, Any], path: Path, name: str) -> StateDict:
    """The tensors of a dictionary; what stands beside them must not look like one."""
    state: StateDict = {}
    for given, value in content.items():
        key = _printable(given)
        if isinstance(value, Tensor):
            _check_stored(key, value, path)
            state[key] = value
        elif "." in key and not isinstance(value, Mapping):
            kind = value.name if isinstance(value, StandIn) else type(value).__name__
            kind = "numpy.ndarray" if _is_array(value) else kind
            quantised = "_packed_params" in key or isinstance(value, torch.dtype)
            raise BadFile(
                f"checkpoint {path}: {f'{name}: ' if name else ''}{key} is a {kind}; expected a "
                "tensor of floating point"
                + (": take the weights from before the quantisation" if quantised else "")
            )
    return state


def _check_stored(key: str, value: Tensor, path: Path) -> None:
    """Refuse a tensor of more numbers than are there: with strides of 0, a view has any size."""
    if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided:
        return
    if value.is_meta or value.is_nested or value.is_quantized:
        return
    stored, declared = value.untyped_storage().nbytes(), value.numel() * value.element_size()
    if declared > max(stored, _SMALL):
        raise BadFile(
            f"checkpoint {path}: {key} declares {list(value.shape)} numbers and {stored} bytes are "
            "there; expected whole tensors: save .contiguous() ones"
        )


def _printable(key: object) -> str:
    """A key as messages may show it; those of networks stay as they are."""
    text = str(key)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _networks(state: StateDict, path: Path) -> dict[str, StateDict]:
    """State dicts with the published keys, by what their keys began with in the file.

    One with all tensors as they are, if they are of no network of ours.
    """
    groups: dict[str, StateDict] = {}
    others: StateDict = {}
    for key, value in state.items():
        prefix, rest = _split(key)
        place = others if prefix is None else groups.setdefault(prefix, {})
        if rest in place and not _same(place[rest], value):
            raise BadFile(
                f"checkpoint {path} holds {rest} twice, with other values: once as {key}; save "
                "the state dict of one network"
            )
        place[rest] = value
    networks = {
        prefix: group
        for prefix, group in groups.items()
        if any(key.startswith(("base.", "conf.")) for key in group)
    }
    for prefix, group in groups.items():
        if prefix not in networks:
            others |= {f"{prefix}.{key}" if prefix else key: v for key, v in group.items()}
    others = {key: v for key, v in others.items() if key.rpartition(".")[2] not in _AVERAGED}
    if not networks:
        return {"": others}
    return {prefix: group | others for prefix, group in networks.items()}


def _split(key: str) -> tuple[str | None, str]:
    """What a key begins with, and the published key; None where it has no part of one."""
    parts = [part for part in key.split(".") if part not in _WRAPPERS]
    for index, part in enumerate(parts[:-1]):
        # a wrapper may keep the network under a name of ours, as in base.base.0.weight
        if part in ROOTS and parts[index + 1] not in ROOTS:
            return ".".join(parts[:index]), ".".join(parts[index:])
    return None, ".".join(parts) or key


def _chosen(found: dict[str, StateDict], path: Path) -> str:
    """The one to take of several state dicts, which is said."""
    names = list(found)
    ours = [name for name in names if any(_split(key)[0] is not None for key in found[name])]
    names = ours or names
    first = found[names[0]]
    names = [names[0], *(name for name in names[1:] if not _equal(found[name], first))]
    if len(names) == 1:
        return names[0]
    averages = [name for name in names if _AVERAGE.search(name)]
    others = [name for name in names if name not in averages]
    if len(averages) != 1 or len(others) != 1:
        listed = ", ".join(quoted(name) for name in names[:6])
        raise refusal(
            path,
            f"it holds several state dicts ({listed})",
            "save the one to use: torch.save(state_dict, path)",
        )
    average, other = averages[0], others[0]
    absent = (
        {_split(key)[1] for key in found[other] if not key.endswith(COUNTER)}
        - {_split(key)[1] for key in found[average]}
        - _AVERAGED
    )
    if absent:
        taken, reason = other, f"{_named(average)} lacks {len(absent)} of its tensors"
    else:
        taken, reason = average, f"averaged weights, rather than {_named(other)}"
    warnings.warn(f"checkpoint {path}: took {_named(taken)} ({reason})", Note, stacklevel=2)
    return taken


def _named(name: str) -> str:
    return repr(name) if name else "the tensors without a prefix"


def _equal(one: StateDict, other: StateDict) -> bool:
    return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape or one.layout != torch.strided:
        return False
    return one.is_meta == other.is_meta is False and bool(torch.equal(one, other))


def _told(content: Mapping[Any, Any]) -> str:
    """The entries of a dictionary, as a message shows them."""
    if not content:
        return "it is empty"
    return ", ".join(
        f"{quoted(key)}: {value.name if isinstance(value, StandIn) else type(value).__name__}"
        for key, value in list(content.items())[:4]
    )
