"""A training run in progress: learner, pictures, position and files."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ..artefacts.checkpoint import CheckpointRecord, write_checkpoint
from ..artefacts.description import description_from_spec
from ..artefacts.object_size import ObjectSize
from ..errors import Diverged, OutputError
from .history import History
from .matching import Targets
from .schedule import progress_of
from .state import Position, RunFolder, load_state, save_state
from .step import Learner, all_finite


class Batches(Protocol):
    """A source of batches; batch ``i`` is the same however often it is requested."""

    @property
    def per_epoch(self) -> int:
        """Number of updates that count as an epoch."""

    def starting_at(self, iteration: int) -> Generator[tuple[Tensor, Targets], None, None]:
        """Yield this process' part of batch ``iteration`` and of all later ones, endlessly."""

    def names(self, iteration: int) -> list[str]:
        """Names of the images in this process' part of a batch, for messages."""


@dataclass(frozen=True)
class Subject:
    """Description of what is learned, for the records of the checkpoints.

    Attributes:
        labels: class names, without background; None for numbered classes.
        data: JSON values that describe the pictures and the origin of the weights.
        object_size: size of the objects learned from; None if unknown.
    """

    labels: Sequence[str] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    object_size: ObjectSize | None = None


#: classes without names
NUMBERED = Subject()


@dataclass(eq=False)
class Run:
    """A training run in progress.

    Attributes:
        learner: the network and its optimiser.
        batches: pictures to learn from.
        about: JSON values that identify network and data; they must agree when a run is resumed.
        folder: names of the files that are written.
        history: losses and scores so far.
        subject: what is learned.
        position: how far the run has come.
        unknown: fields of the resume file that a newer minor format added.
    """

    learner: Learner
    batches: Batches
    about: dict[str, Any]
    folder: RunFolder
    history: History
    subject: Subject
    position: Position = field(default_factory=Position)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fresh(
        cls,
        learner: Learner,
        batches: Batches,
        about: dict[str, Any],
        path: Path,
        subject: Subject = NUMBERED,
    ) -> Run:
        """Begin a new run."""
        folder = RunFolder(path)
        return cls(learner, batches, about, folder, History(folder.history), subject)

    @classmethod
    def resumed(
        cls,
        learner: Learner,
        batches: Batches,
        about: dict[str, Any],
        path: Path,
        subject: Subject = NUMBERED,
    ) -> Run:
        """Continue a run from where it was stopped.

        Raises:
            BadFile: the resume file is missing or damaged.
            UsageError: it belongs to another run.
        """
        folder = RunFolder(path)
        position, unknown = load_state(learner, about, folder.resume)
        history = History(folder.history)
        if folder.history.exists():
            history = History.up_to(folder.history, position.iteration)
        return cls(learner, batches, about, folder, history, subject, position, unknown)

    @property
    def progress(self) -> float:
        """Spent fraction of the budget."""
        return progress_of(
            self.learner.recipe,
            self.position.iteration,
            self.batches.per_epoch,
            self.position.seconds,
        )

    @property
    def epochs(self) -> float:
        """Number of epochs done."""
        return self.position.iteration / self.batches.per_epoch

    def save(self) -> None:
        """Write the resume file, then the weights; only the writer does so, but all check them.

        Raises:
            Diverged: a weight is not finite; existing files are kept.
            OutputError: a file cannot be written; an existing one stays intact.
        """
        if not all_finite(self.learner.net):
            raise Diverged(
                f"weights are not finite after {self.position.iteration} updates, and were not "
                "saved; expected finite ones: lower --lr, or limit the gradient with --clip-norm"
            )
        if self.learner.processes.writer:
            try:
                save_state(
                    *(self.learner, self.position, self.about, self.folder.resume, self.unknown)
                )
            except OutputError:  # the weights may still fit, being the smaller file
                with suppress(OutputError):
                    self.save_checkpoint(self.folder.last)
                raise
            self.save_checkpoint(self.folder.last)

    def save_checkpoint(self, path: Path) -> None:
        """Write a checkpoint: the learner's resulting weights, with their record.

        Raises:
            OutputError: the file cannot be written; an existing one stays intact.
        """
        net, recipe = self.learner.result, self.learner.recipe
        done = self.position.iteration
        record = CheckpointRecord(
            description_from_spec(
                *(net.spec, net.num_classes, net.width),
                labels=self.subject.labels,
                object_size=self.subject.object_size,
            ),
            recipe.to_dict(),
            {
                **self.subject.data,
                "iterations": done,
                "images_seen": done * recipe.batch,
                "epochs": self.epochs,
            },
        )
        write_checkpoint(net.state_dict(), record, path)
