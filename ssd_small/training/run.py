"""A training run under way: learner, pictures, position and files."""

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
    """Where pictures come from; batch ``i`` is the same however often it is asked for."""

    @property
    def per_epoch(self) -> int:
        """Updates that count as an epoch."""

    def starting_at(self, iteration: int) -> Generator[tuple[Tensor, Targets], None, None]:
        """This process' part of batch ``iteration`` and of those after it, without end."""

    def names(self, iteration: int) -> list[str]:
        """What this process' images of a batch are called, for messages."""


@dataclass(frozen=True)
class Subject:
    """What is learned, for the records of the checkpoints.

    Attributes:
        labels: class names, background left out; None for numbered ones.
        data: JSON values on the pictures and where the weights come from.
        object_size: of what is learned; None if unknown.
    """

    labels: Sequence[str] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    object_size: ObjectSize | None = None


#: classes that nobody named
NUMBERED = Subject()


@dataclass(eq=False)
class Run:
    """A training run under way.

    Attributes:
        learner: the network and its optimiser.
        batches: pictures to learn from.
        about: JSON values that identify network and data; a resumed run must agree.
        folder: where files are written.
        history: losses and scores so far.
        subject: what is learned.
        position: how far it has come.
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
        """A run from the begin."""
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
        """A run from where it was stopped.

        Raises:
            BadFile: there is nothing to go on from, or it is damaged.
            UsageError: that was another run.
        """
        folder = RunFolder(path)
        position, unknown = load_state(learner, about, folder.resume)
        history = History(folder.history)
        if folder.history.exists():
            history = History.up_to(folder.history, position.iteration)
        return cls(learner, batches, about, folder, history, subject, position, unknown)

    @property
    def progress(self) -> float:
        """Spent part of the budget."""
        return progress_of(
            self.learner.recipe,
            self.position.iteration,
            self.batches.per_epoch,
            self.position.seconds,
        )

    @property
    def epochs(self) -> float:
        """Epochs done."""
        return self.position.iteration / self.batches.per_epoch

    def save(self) -> None:
        """Write the resume file, then the weights; the writer does so, the others only look.

        Raises:
            Diverged: a weight is not finite; the older files stay.
            OutputError: a file cannot be written; an older one stays whole.
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
            except OutputError:  # of the two files, the weights are the smaller one
                with suppress(OutputError):
                    self.save_checkpoint(self.folder.last)
                raise
            self.save_checkpoint(self.folder.last)

    def save_checkpoint(self, path: Path) -> None:
        """Write the weights to evaluate and to keep, with their record.

        Raises:
            OutputError: it cannot be written; an older file stays whole.
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
