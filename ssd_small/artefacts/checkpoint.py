"""The record that a checkpoint holds beside its tensors.

A checkpoint of this package is a dictionary that ``torch.load(..., weights_only=True)`` reads:
``state_dict`` with the published keys, and ``ssd_small`` with the record. Checkpoints without a
record, such as the published ones, load if the model is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..errors import BadFile, quoted
from ..models.priors import priors_from_spec
from ..models.shapes import levels_from_spec
from ..models.spec import ModelSpec
from ..requirements import require
from .description import Description
from .record import Fields, check_record, unknown_fields, with_unknown_fields

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_FORMAT = 1
#: ``Description.weights`` inside a checkpoint, since a file cannot hold its own hash
OWN_WEIGHTS = "of this file"
_HASH = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class CheckpointRecord:
    """The record that travels with the weights.

    Attributes:
        description: the network, its labels, preprocessing and post-processing.
        recipe: hyper-parameters it was trained with, JSON values; empty if it was not trained here.
        training: what it was trained on and how far, JSON values.
        origin: hash of the file (``sha256:...``) before an operating point was written into it,
            which files built from it refer to; None if no point was written.
        tool_version: version of this package that wrote it.
        unknown: fields of a newer minor format, kept for later readers of the file.
    """

    description: Description
    recipe: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    origin: str | None = None
    tool_version: str = __version__
    unknown: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, including unknown fields that were read."""
        own: dict[str, Any] = {
            "format": CHECKPOINT_FORMAT,
            "tool_version": self.tool_version,
            "description": replace(self.description, weights=OWN_WEIGHTS).to_dict(),
            "recipe": dict(self.recipe),
            "training": dict(self.training),
        }
        if self.origin is not None:
            own["origin"] = self.origin
        return with_unknown_fields(own, self.unknown)

    @classmethod
    def from_dict(cls, values: object, source: str | Path) -> CheckpointRecord:
        """Rebuild from :meth:`to_dict`.

        Raises:
            BadFile: written in a newer format, or a field is missing or wrong.
        """
        advice = "take an undamaged copy, or train the network again"
        known = check_record(values, "checkpoint record", CHECKPOINT_FORMAT, source, advice)
        try:
            fields = Fields(known)
            record = cls(
                description=Description.from_dict(fields.mapping("description"), source),
                recipe=fields.mapping("recipe"),
                training=fields.mapping("training"),
                origin=fields.text("origin") if "origin" in fields else None,
                tool_version=fields.text("tool_version"),
            )
            if record.description.has_decode_nms:
                raise ValueError("has_decode_nms: got True, expected False for weights alone")
            if record.origin is not None and not _HASH.fullmatch(record.origin):
                raise ValueError(f"origin: got {quoted(record.origin)}, expected sha256:...")
            if record.description.num_classes < 2:
                raise ValueError("num_classes: got 1, expected background and at least one more")
        except ValueError as error:
            raise BadFile(f"{source} holds a damaged record ({error}); {advice}") from error
        return replace(record, unknown=unknown_fields(known, record.to_dict()))


def check_against_spec(description: Description, spec: ModelSpec, path: Path) -> None:
    """Refuse a record whose prior boxes or input differ from those of its network.

    Raises:
        BadFile: they differ.
    """
    size = (description.preprocessing.height, description.preprocessing.width)
    if description.stored_priors is None:
        others = (description.levels, description.clip) != (levels_from_spec(spec), spec.clip)
    else:
        others = not np.array_equal(description.priors, priors_from_spec(spec))
    faults = {
        "an input of another size": size != spec.input_size,
        "other prior boxes": others,
    }
    for fault, is_so in faults.items():
        if is_so:
            raise BadFile(
                f"the record of checkpoint {path} tells of {fault} than {spec.name} has; it is "
                "damaged: take an undamaged copy"
            )


def write_checkpoint(
    state_dict: Mapping[str, Tensor], record: CheckpointRecord, path: Path
) -> None:
    """Write tensors and record, atomically.

    Raises:
        OutputError: it cannot be written; an older file stays intact.
    """
    require("torch", "writing a checkpoint")
    from ..models.checkpoint import RECORD_KEY, cpu_state, save_tensors

    content = {"state_dict": cpu_state(state_dict), RECORD_KEY: record.to_dict()}
    save_tensors(content, path)
