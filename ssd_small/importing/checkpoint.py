"""Importing a checkpoint of another project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artefacts.checkpoint import OWN_WEIGHTS, CheckpointRecord
from ..artefacts.description import Description, description_from_spec
from ..errors import BadFile, UsageError
from ..files import sha256_of
from ..models.shapes import summarize
from ..models.spec import ModelSpec
from ..requirements import require
from .family import Asked, Family, Renames
from .imported import Imported
from .labels import names_from_count
from .recognition import family_of, shapes_of, without_prefix

if TYPE_CHECKING:
    from torch import Tensor


def imported_from_file(
    path: Path,
    *,
    project: str | None = None,
    model: str | None = None,
    priors: str | None = None,
    input_size: tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
) -> Imported:
    """Read a checkpoint of another project.

    Args:
        path: a state dict, wrapped in any way, or a safetensors file.
        project, model: where it comes from; None to find out.
        priors: ``"voc"`` or ``"coco"``, if weights do not decide this.
        input_size: height and width in pixels; None for the family's published size.
        labels: class names; None for those that follow from the number of classes.

    Raises:
        BadFile: it cannot be read, or belongs to no network that can be imported.
        UsageError: an option does not fit the network, or class names do not fit.
        MissingRequirement: torch, or safetensors for such a file, is not installed.
    """
    require("torch", f"reading {path}")
    from ..models.checkpoint import read_checkpoint

    found, own = read_checkpoint(path)
    if own is not None:
        raise UsageError(
            f"{path} is a checkpoint of ssd-small, which says which network it is of; use it as it "
            "is"
        )
    given = without_prefix(found)
    family = family_of(given, path, project, model)
    if priors is not None and not family.prior_tables:
        raise UsageError(
            f"--priors {priors}: {family.project}'s {family.model} has one table of prior boxes; "
            "leave it out"
        )
    num_classes = _num_classes(given, family, path)
    asked = Asked(shapes_of(given), num_classes, input_size, priors)
    try:
        spec = family.spec(asked)
        summarize(spec, num_classes)
    except ValueError as error:
        raise BadFile(
            f"{path}: its tensors make no whole {family.model} of {family.project} ({error}); "
            "expected all of them, as they are published"
        ) from error
    state = _fitting(given, family, spec, num_classes, path)
    known = names_from_count(family.project, num_classes)
    names = labels if labels is not None or known is None else known[1]
    description = description_from_spec(spec, num_classes, 1.0, labels=names, weights=OWN_WEIGHTS)
    # a family may comprise several networks, which its weights distinguish
    model = spec.name.removeprefix(f"{family.project}_")
    source = {"project": family.project, "model": model, "sha256": sha256_of(path)}
    record = CheckpointRecord(description, training={"imported": source})
    seen = _seen(path, f"{family.project}'s {model}", description, known, labels)
    lines = (seen, *_taken(asked, family, spec))
    return Imported(family.project, model, state, record, lines)


def _num_classes(state: Mapping[str, Tensor], family: Family, path: Path) -> int:
    """Number of classes of the first class head, including background."""
    from ..models.fit import MOST_CLASSES

    key = f"{family.head}weight"
    rows = int(state[key].shape[0]) if key in state and state[key].ndim == 4 else 0
    classes, rest = divmod(rows, family.anchors)
    if rest or not 2 <= classes <= MOST_CLASSES:
        received = f"{rows} channels" if rows else "no such tensor of four dimensions"
        raise BadFile(
            f"{path}: {key}: got {received}, expected {family.anchors} priors times 2 to "
            f"{MOST_CLASSES} classes, as {family.project}'s {family.model} has"
        )
    return classes


def _fitting(
    given: dict[str, Tensor], family: Family, spec: ModelSpec, num_classes: int, path: Path
) -> dict[str, Tensor]:
    """The weights under our keys, each of the right shape.

    Raises:
        BadFile: some are missing, unexpected, of another shape or not finite.
    """
    import torch

    from ..models.containers import COUNTER
    from ..models.fit import differences
    from ..models.network import SsdNetwork
    from ..models.weight_values import check_types, weights_in_float32

    theirs = family.renames(spec)
    names = {_renamed(key, theirs): key for key in given}
    with torch.device("meta"):
        net = SsdNetwork(spec, num_classes)
    own = net.state_dict()
    state = {ours: given[key] for ours, key in names.items()}
    missing_scale = own.keys() & {"norm.weight"}
    for key in missing_scale:  # one scale per channel, whatever its shape
        if key in state and state[key].numel() == own[key].numel():
            state[key] = state[key].reshape(own[key].shape)
    lines = differences(net, state)
    if lines:
        back = {ours: key for key, ours in theirs.items()}
        raise BadFile(
            f"{path} is not {family.project}'s {family.model} of {num_classes} classes as it is "
            f"published: {len(lines)} of its {len(own)} tensors differ",
            *(_in_their_words(line, names, back) for line in lines),
        )
    # by the keys of the file, since messages name those
    alike = {names[key]: value for key, value in own.items() if key in names}
    check_types(alike, given, path)
    taken = weights_in_float32(alike, given, path)
    weights = {ours: taken[key] for ours, key in names.items() if key in taken}
    if family.class_major:
        weights = {
            key: _anchor_major(value, 4 if key.startswith("loc.") else num_classes)
            if key.startswith(("loc.", "conf."))
            else value
            for key, value in weights.items()
        }
    counters = {key: torch.zeros((), dtype=torch.int64) for key in own if key.endswith(COUNTER)}
    return {key: (counters | weights)[key].contiguous() for key in own}


def _renamed(key: str, renames: Renames) -> str:
    """Our key, by the longest prefix that has a rename; a key without one stays as it is."""
    parts = key.split(".")
    for count in range(len(parts), 0, -1):
        begin = ".".join(parts[:count])
        if begin == key and begin in renames:
            return renames[begin]
        if f"{begin}." in renames and count < len(parts):
            return renames[f"{begin}."] + ".".join(parts[count:])
    return key


def _in_their_words(line: str, names: Mapping[str, str], back: Renames) -> str:
    """Rewrite a message about our keys with the key that the file has, or would have."""
    word = next(word for word in line.replace(": received", " : received").split() if "." in word)
    theirs = names.get(word) or _renamed(word, back)
    return line.replace(word, theirs, 1)


def _anchor_major(value: Tensor, numbers: int) -> Tensor:
    """Reorder a head's channels from ``number * anchors + anchor`` to the order used here."""
    anchors = value.shape[0] // numbers
    grid = value.reshape(numbers, anchors, *value.shape[1:])
    return grid.transpose(0, 1).reshape(value.shape)


def _seen(
    path: Path,
    network: str,
    description: Description,
    known: tuple[str, Any] | None,
    labels: Sequence[str] | None,
) -> str:
    names = "as --labels names them"
    if labels is None:
        names = f"named {known[0]}" if known else "without names: pass --labels"
    return (
        f"{path}: {network}, {description.num_classes} classes ({names}), "
        f"{len(description.priors)} prior boxes"
    )


def _taken(asked: Asked, family: Family, spec: ModelSpec) -> list[str]:
    """What was taken for granted, since weights do not decide it."""
    parts = list(family.notes)
    if asked.input_size is None:
        height, width = spec.input_size
        parts.insert(0, f"an input of {width}x{height} (else --input-size)")
    elif family.size_note is not None and spec != family.spec(replace(asked, input_size=None)):
        parts.append(family.size_note)
    if family.prior_tables and asked.priors is None:
        table = "voc" if asked.num_classes == 21 else "coco"
        parts.append(f"prior boxes of {table}, by the number of classes (else --priors)")
    return [f"taken for granted: {'; '.join(parts)}"] if parts else []
