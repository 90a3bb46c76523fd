"""Finding a network's state dict inside whatever a trainer saved.

Trainers save the state dict itself, or a dictionary that holds it beside the optimizer's; DDP,
``torch.compile``, averaging and Lightning add prefixes to its keys. The result is one state dict
with the published keys; if the file holds several, the one that the trainer evaluates.
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

#: key, beside ``state_dict``, under which a checkpoint holds its record
RECORD_KEY = "ssd_small"
#: suffix of the keys of batch norms' counters, which published checkpoints lack
COUNTER = "num_batches_tracked"
#: first parts of a network's keys
ROOTS = frozenset(("base", "norm", "extras", "loc", "conf", "transforms", "pyramids"))
#: parts of keys that wrappers insert: DDP, torch.compile, FSDP, activation checkpointing
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
#: counters of weight averaging: torch.optim.swa_utils, MMEngine, ema_pytorch
_AVERAGED = frozenset(("n_averaged", "steps", "step", "initted"))
#: patterns for the names of averaged weights, and of dictionaries of tensors other than weights
_AVERAGE = re.compile(r"(?<![a-z])(ema|swa|avg|averaged?|shadow)(?![a-z])", re.IGNORECASE)
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|momentum|grad|criterion|loss", re.IGNORECASE)
#: depth to which nested dictionaries are searched
_DEEPEST = 4
#: limit on the state dicts in one file
_MOST_STATES = 64
#: size in bytes up to which a tensor may be a view of less storage
_SMALL = 1 << 20
#: length in characters to which keys are cut
_LONGEST = 200
#: keys of the file from which a stopped training run resumes
_RESUME = frozenset(("format", "position", "net", "optimizer"))


def weights_from_content(content: object, path: Path) -> tuple[StateDict, Any]:
    """Find the state dict in a checkpoint's content, and the record beside it.

    If the network is one of ours, the keys are the published ones, without any prefix; otherwise
    they are as in the file, minus the parts that wrappers insert.

    Warns:
        Note: the file holds several state dicts; the message says which was used.

    Raises:
        BadFile: the file holds no state dict, or several without a way to tell which one to use.
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
    """Drop the weights of the last step from a checkpoint whose ``state_dict`` is their average.

    Lightning's WeightAveraging and MMEngine's EMAHook swap the two when they save.
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
    """Return the dictionaries that look like state dicts, by the path of keys that leads to them.

    A dictionary that occurs several times at one depth is searched once (``seen``): a small pickle
    can reference one any number of times, and that at every depth.
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
        # tensors under names that no network has: reported later as a misfit, key by key
        return {"": content} if all(isinstance(v, Tensor) for v in content.values()) else {}
    return found


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, StandIn) and value.name.endswith("multiarray._reconstruct")
    )


def _state_from(content: Mapping[Any, Any], path: Path, name: str) -> StateDict:
    """Return a dictionary's tensors; no other entry may look like one."""
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
    """Refuse a tensor larger than its storage: with strides of 0, a view can have any size."""
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
    """Make a key fit to show in messages; keys of networks are unchanged."""
    text = str(key)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _networks(state: StateDict, path: Path) -> dict[str, StateDict]:
    """Return state dicts with the published keys, by the prefix of their keys in the file.

    If the tensors belong to no network of ours, return a single one with all of them.
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
    """Split a key into prefix and published key; the prefix is None where there is no such key."""
    parts = [part for part in key.split(".") if part not in _WRAPPERS]
    for index, part in enumerate(parts[:-1]):
        # a wrapper may hold the network under one of our names, as in base.base.0.weight
        if part in ROOTS and parts[index + 1] not in ROOTS:
            return ".".join(parts[:index]), ".".join(parts[index:])
    return None, ".".join(parts) or key


def _chosen(found: dict[str, StateDict], path: Path) -> str:
    """Choose one of several state dicts; a note says which."""
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
    """Describe the first entries of a dictionary for a message."""
    if not content:
        return "it is empty"
    return ", ".join(
        f"{quoted(key)}: {value.name if isinstance(value, StandIn) else type(value).__name__}"
        for key, value in list(content.items())[:4]
    )
