"""The files of a run: checkpoints for use, and the state from which the run can be resumed.

``resume.pth`` holds everything that determines how the run continues: weights, momenta, averaged
weights, loss scale, position and clock. The order and augmentation of the images are functions of
seed and position, so that the state of a random generator is not needed.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ..artefacts.record import check_record, unknown_fields, with_unknown_fields
from ..errors import BadFile, UsageError, quoted
from ..files import read_bytes
from ..models.checkpoint import save_tensors
from ..models.declared_sizes import MOST_BYTES, check_checkpoint
from ..models.weight_values import check_types
from .initialise import substrings_from_scope
from .optimizers import load_optimizer_state
from .recipe import recipe_differences
from .step import Learner

#: newest version of the resume file; 2 is written if the recipe or the network needs it
RESUME_FORMAT = 2
_TENSORS = ("net", "optimizer", "scaler", "ema")
_ADVICE = "start from last.pth beside it with --weights --init-scope all, or anew"


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files that a run writes into its ``--output`` folder."""

    path: Path

    @property
    def best(self) -> Path:
        """Checkpoint with the highest AP so far."""
        return self.path / "best.pth"

    @property
    def last(self) -> Path:
        """Checkpoint written by the last save."""
        return self.path / "last.pth"

    @property
    def resume(self) -> Path:
        """The state from which the run can be resumed."""
        return self.path / "resume.pth"

    @property
    def record(self) -> Path:
        """Description of the run: :mod:`ssd_small.training.run_record`."""
        return self.path / "run.json"

    @property
    def config(self) -> Path:
        """The requested settings, as a file for ``train --config``."""
        return self.path / "config.yml"

    @property
    def history(self) -> Path:
        """Losses and scores as CSV."""
        return self.path / "history.csv"

    @property
    def curves(self) -> Path:
        """The same as a plot."""
        return self.path / "curves.png"

    @property
    def log(self) -> Path:
        """The log of what was printed."""
        return self.path / "train.log"

    @property
    def labels(self) -> Path:
        """Class names, one per line; the checkpoints contain them too."""
        return self.path / "labels.txt"

    @property
    def lock(self) -> Path:
        """Lock file, present while a process trains: :mod:`ssd_small.system.locks`."""
        return self.path / ".ssd-small-train.lock"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that a run leaves."""
        checkpoints = (self.best, self.last, self.resume)
        told = (self.record, self.config, self.history, self.curves, self.log, self.labels)
        return checkpoints + told


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        iteration: number of updates done.
        seconds: wall time of training, including evaluations, over all sessions.
        best: highest AP so far; None before the first evaluation.
        window: sums since the last line of the log: loc, conf, positives, updates.
    """

    iteration: int = 0
    seconds: float = 0.0
    best: float | None = None
    window: list[float] = field(default_factory=lambda: [0.0] * 4)


def save_state(
    learner: Learner,
    position: Position,
    about: Mapping[str, Any],
    path: Path,
    unknown: Mapping[str, Any] | None = None,
) -> None:
    """Write a resume file, completely or not at all.

    Args:
        learner: gives weights, momenta, loss scale and averaged weights.
        position: how far the run has come.
        about: JSON values that must be the same in a later :func:`load_state`.
        path: path of the resume file.
        unknown: fields that :func:`load_state` found but this version does not know.

    Raises:
        OutputError: the file cannot be written; an existing one stays intact.
    """
    tensors = {
        "net": learner.net.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "ema": learner.ema.state_dict() if learner.ema is not None else None,
    }
    save_tensors(
        with_unknown_fields(_head(learner, position, about) | tensors, unknown or {}), path
    )


def _head(learner: Learner, position: Position, about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a resume file without its tensors."""
    newer = learner.recipe.needs_format_2 or about.get("network") is not None
    return {
        "format": RESUME_FORMAT if newer else 1,
        "about": {**about, "recipe": learner.recipe.to_dict()},
        "position": dict(vars(position)),
    }


def load_state(
    learner: Learner, about: Mapping[str, Any], path: Path
) -> tuple[Position, dict[str, Any]]:
    """Restore a learner to its state when :func:`save_state` was called.

    Returns:
        How far the run had come, and fields added by a newer minor format, to be written again.

    Raises:
        BadFile: the file is missing, damaged, or of a newer format.
        UsageError: it belongs to another network, other data or another recipe; each difference is
            named.
    """
    content = _read(path)
    try:
        theirs = content["about"]
        differences = [
            f"{name} is {quoted(value)}, was {quoted(theirs.get(name))}"
            for name, value in about.items()
            if value != theirs.get(name)
        ]
        differences += recipe_differences(learner.recipe, theirs["recipe"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BadFile(_damaged(path)) from error
    if differences:
        raise UsageError(
            f"cannot go on from {path}: {'; '.join(differences)}; with --resume give the "
            "same data and nothing that differs, or choose another --output"
        )
    try:
        # torch would cast values of other types, with a warning on standard error
        check_types(learner.net.state_dict(), content["net"], path)
        learner.net.load_state_dict(content["net"])
        load_optimizer_state(learner.optimizer, learner.recipe, content["optimizer"])
        learner.scaler.load_state_dict(content["scaler"])
        if learner.ema is not None:
            check_types(learner.ema.state_dict(), content["ema"], path)
            learner.ema.load_state_dict(content["ema"])
        position = Position(**{one.name: content["position"][one.name] for one in fields(Position)})
        _check_position(position)
    except Exception as error:  # tensors of other kinds fail in torch in many ways
        raise BadFile(_damaged(path)) from error
    return position, unknown_fields(_without_tensors(content), _head(learner, position, about))


def scope_from_state(path: Path) -> str:
    """The ``init_scope`` of a stopped run whose folder lacks ``run.json``.

    Raises:
        BadFile: as :func:`load_state`.
    """
    about = _read(path).get("about")
    scope = about.get("init_scope") if isinstance(about, dict) else None
    try:
        known = isinstance(scope, str) and scope != "-" and substrings_from_scope(scope)
    except UsageError:
        known = False
    # older versions took the backbone unless told otherwise
    return str(scope) if known else "base"


def _check_position(position: Position) -> None:
    numbers = (position.iteration, position.seconds, *position.window)
    if not all(0 <= value < math.inf for value in numbers) or len(position.window) != 4:
        raise ValueError("a position before the begin or without end")
    if type(position.iteration) is not int or not isinstance(position.best, float | None):
        raise TypeError("position")


def _read(path: Path) -> dict[str, Any]:
    encoded = read_bytes(path, "the resume file of a run that was stopped", MOST_BYTES)
    try:
        check_checkpoint(io.BytesIO(encoded), len(encoded))
        with warnings.catch_warnings():
            # torch warns about odd tensors, which are refused later
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        raise BadFile(_damaged(path)) from error
    check_record(_without_tensors(content), "resume file", RESUME_FORMAT, path, _ADVICE)
    known: dict[str, Any] = content
    return known


def _without_tensors(content: Any) -> Any:
    """The part of a resume file that is not tensors, but JSON; other values are unchanged."""
    if not isinstance(content, dict):
        return content
    return {name: value for name, value in content.items() if name not in _TENSORS}


def _damaged(path: Path) -> str:
    return f"cannot go on from {path}: it is damaged or no resume file; {_ADVICE}"
