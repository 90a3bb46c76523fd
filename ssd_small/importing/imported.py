"""A network of another project, ready to be written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..artefacts.checkpoint import CheckpointRecord, write_checkpoint

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Imported:
    """A network imported from another project.

    Attributes:
        project, model: where it comes from.
        state: its weights, under our keys.
        record: the checkpoint's record.
        lines: what was found in the file, and what was taken for granted.
    """

    project: str
    model: str
    state: dict[str, Tensor]
    record: CheckpointRecord
    lines: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write it as a checkpoint that records which network it belongs to.

        Raises:
            OutputError: it cannot be written.
        """
        write_checkpoint(self.state, self.record, path)
