"""Importing a published checkpoint of the six networks or a sibling, with a record added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..artefacts.checkpoint import OWN_WEIGHTS, CheckpointRecord
from ..artefacts.network import network_from_checkpoint, open_checkpoint
from ..errors import UsageError
from ..models.registry import get_spec
from .imported import Imported


def imported_from_published(
    path: Path,
    *,
    model: str | None = None,
    priors: str | None = None,
    input_size: tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
) -> Imported:
    """Read a checkpoint with the published keys; siblings share them, so it must be named.

    Raises:
        UsageError: no model, an unknown one, an unsupported size, or an option that published
            networks do not take.
        BadFile: the checkpoint cannot be read or belongs to another network.
    """
    if priors is not None:
        raise UsageError("--priors is for other projects; leave it out with --from published")
    if open_checkpoint(path).record is not None:
        raise UsageError(
            f"{path} is a checkpoint of ssd-small, which says which network it is of; use it as it "
            "is"
        )
    net, description = network_from_checkpoint(path, model, labels=labels, input_size=input_size)
    record = CheckpointRecord(replace(description, weights=OWN_WEIGHTS))
    height, width = description.network_size
    seen = (
        f"{path}: {description.model}, {description.num_classes} classes, "
        f"{len(description.priors)} prior boxes"
    )
    lines = [seen]
    assert model is not None  # a file without a record needs it
    if input_size is None:
        lines.append(f"taken for granted: an input of {width}x{height} (else --input-size)")
    elif input_size != (published := get_spec(model).input_size):
        lines.append(
            f"an input of {width}x{height}: published figures are of {published[1]}x{published[0]}"
        )
    return Imported("published", description.model, dict(net.state_dict()), record, tuple(lines))
