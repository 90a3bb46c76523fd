"""A network and its description: from a checkpoint, or with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadFile, UsageError, quoted
from ..files import sha256_of
from ..models.input_size import spec_for_input
from ..models.registry import get_spec, known_models
from ..models.shipped import ShippedCheckpoint, find_shipped
from ..models.spec import ModelSpec
from ..requirements import require
from .checkpoint import CheckpointRecord, check_against_spec
from .described_spec import spec_from_description
from .description import Description, description_from_spec
from .labels import check_labels, read_labels
from .object_size import ObjectSize

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.network import SsdNetwork

Labels = str | Path | Sequence[str]


@dataclass(frozen=True, eq=False)
class OpenedCheckpoint:
    """A checkpoint, and what is known of its network before that is built.

    Attributes:
        path: the file.
        state: tensors by key, on the CPU.
        record: the record inside the file; None if it has none.
        shipped: its entry in the package's index; None for a user's file.
    """

    path: Path
    state: dict[str, Tensor]
    record: CheckpointRecord | None
    shipped: ShippedCheckpoint | None

    @property
    def name(self) -> str:
        """Name to use in messages."""
        return self.shipped.name if self.shipped is not None else f"checkpoint {self.path}"

    @property
    def weights_hash(self) -> str:
        """``sha256:`` and the file's hash, from before an operating point was written into it."""
        own = None if self.record is None else self.record.origin
        return own or f"sha256:{sha256_of(self.path)}"

    @property
    def model(self) -> str | None:
        """Name of its network, if known."""
        if self.shipped is not None:
            return self.shipped.model
        return None if self.record is None else self.record.description.model

    @property
    def spec(self) -> ModelSpec | None:
        """Spec of its network, if known."""
        if self.shipped is not None:
            return get_spec(self.shipped.model)
        return None if self.record is None else spec_from_description(self.record.description)

    @property
    def width(self) -> float | None:
        """Channel multiplier, if known; otherwise it can be derived from the weights."""
        if self.shipped is not None:
            return self.shipped.width
        return None if self.record is None else self.record.description.width

    @property
    def object_size(self) -> ObjectSize | None:
        """Size of the objects in its training data, if known."""
        if self.shipped is not None:
            return ObjectSize(**self.shipped.object_size)
        return None if self.record is None else self.record.description.object_size


def open_checkpoint(weights: str | Path) -> OpenedCheckpoint:
    """Read a checkpoint: a file, or the name of a shipped one.

    Raises:
        BadFile: it cannot be read, belongs to a network that this version does not know, or its
            record describes another network than its tensors belong to.
        MissingRequirement: torch is not installed.
    """
    shipped = find_shipped(weights)
    path = Path(weights) if shipped is None else shipped.path
    require("torch", f"reading {path}")
    from ..models.checkpoint import read_checkpoint

    state, raw = read_checkpoint(path)
    record = None if raw is None else CheckpointRecord.from_dict(raw, path)
    if record is not None:
        _check_record(record.description, state, path)
    return OpenedCheckpoint(path, state, record, shipped)


def _check_record(own: Description, state: dict[str, Tensor], path: Path) -> None:
    """Refuse a record of an unknown network, or of another one than the tensors belong to."""
    if own.network is None and own.model not in known_models():
        raise BadFile(
            f"checkpoint {path} is of a network {quoted(own.model)}, which this version does not "
            "know; update ssd-small, or take an undamaged copy"
        )
    spec = spec_from_description(own)
    check_against_spec(own, spec, path)
    from ..models.fit import count_differences

    differing = count_differences(spec, own.num_classes, own.width, state)
    if differing:
        raise BadFile(
            f"the record of checkpoint {path} tells of {own.model} with {own.num_classes} classes "
            f"and width {own.width:g}, and {differing} of its tensors are not of that network; it "
            "is damaged: take an undamaged copy"
        )


def network_from_checkpoint(
    weights: str | Path,
    model: str | ModelSpec | None = None,
    *,
    num_classes: int | None = None,
    width: float | None = None,
    labels: Labels | None = None,
    input_size: tuple[int, int] | None = None,
) -> tuple[SsdNetwork, Description]:
    """Build the network of a checkpoint, and its description.

    Args:
        weights: checkpoint file, or the name of a shipped one, whose model and labels are known.
        model: name of the network, or its spec; not needed for shipped checkpoints and those of
            ``ssd-small train``.
        num_classes, width: default: as recorded in the checkpoint, else derived from the weights.
        labels: class names, or a text file of them; default: as recorded in the checkpoint.
        input_size: height and width; default: as recorded in the checkpoint, else ``model``'s.

    Raises:
        UsageError: no model, an unknown one, labels that do not fit, or a model, width, input
            size or number of classes that contradicts the checkpoint.
        BadFile: the checkpoint or the labels cannot be read, or do not fit the model.
        MissingRequirement: torch is not installed.
    """
    opened = open_checkpoint(weights)
    path, record = opened.path, opened.record
    if opened.shipped is not None and labels is None:
        labels = opened.shipped.labels_path
    spec = spec_of(opened, model if input_size is None else _at_size(opened, model, input_size))
    if record is not None:
        num_classes, width = _size_of(opened.name, record.description, num_classes, width)
    from ..models.checkpoint import model_from_state

    net = model_from_state(spec, opened.state, path, num_classes, width)
    origin, names = opened.weights_hash, labels_from(labels)
    if record is None:
        return net, description_from_spec(
            *(net.spec, net.num_classes, net.width),
            labels=names,
            weights=origin,
            object_size=opened.object_size,
        )
    own = record.description
    if names is not None:
        check_labels(names, own.num_classes, own.postprocess.background_label)
    return net, replace(own, weights=origin, labels=own.labels if names is None else names)


def spec_of(opened: OpenedCheckpoint, asked: str | ModelSpec | None) -> ModelSpec:
    """The network to build for a checkpoint: its own, which must match the one asked for.

    Raises:
        UsageError: it is a different one (the message names both), or neither is known.
    """
    spec = get_spec(asked) if isinstance(asked, str) else asked
    own = opened.spec
    if spec is not None and own is not None and spec != own:
        same = "" if spec.name != own.name else " with other levels, priors or input"
        option = "that --model" if own.name in known_models() else "that --config"
        raise UsageError(
            f"{opened.name} is a {own.name}, not a {spec.name}{same}; pass {option}, or none"
        )
    known = spec or own
    if known is None:
        raise UsageError(
            f"{opened.path} does not say which network it is of: pass --model NAME (see "
            "'ssd-small models'), or --config FILE.yml"
        )
    return known


def _at_size(
    opened: OpenedCheckpoint, model: str | ModelSpec | None, size: tuple[int, int]
) -> ModelSpec | None:
    """The network asked for at an input size, which must match the checkpoint's if it has one."""
    own, (height, width) = opened.spec, size
    if own is not None and own.input_size != size:
        raise UsageError(
            f"{opened.name} was trained at an input of {own.input_size[1]}x{own.input_size[0]}, "
            f"not {width}x{height}; leave --input-size out, or train from it with --weights and "
            "--input-size"
        )
    asked = get_spec(model) if isinstance(model, str) else model
    return own if asked is None else spec_for_input(asked, size)


def _size_of(
    name: str, own: Description, num_classes: int | None, width: float | None
) -> tuple[int, float]:
    """Classes and width of a checkpoint; UsageError if other values were asked for."""
    for option, asked, said in (
        ("num-classes", num_classes, own.num_classes),
        ("width", width, own.width),
    ):
        if asked is not None and asked != said:
            raise UsageError(
                f"{name} says {option} {said:g}, not {asked:g}; pass that --{option}, or none"
            )
    return own.num_classes, own.width


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
    """Class names as given, or read from the text file given."""
    if labels is None:
        return None
    if isinstance(labels, (str, Path)):
        return read_labels(labels)
    return tuple(str(name) for name in labels)
