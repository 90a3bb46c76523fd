"""What a training run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .initialise import substrings_from_scope
from .recipe import Recipe
from .trainer import LoopOptions


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on what, and where to write.

    Attributes:
        model: name of the network.
        recipe: hyper-parameters.
        annotations, images: COCO-format JSON and the folder of its image files.
        output: folder for checkpoints, history and log.
        width: channel multiplier.
        val_annotations, val_images: the same of pictures to evaluate on; None for none.
        weights: checkpoint to start from; None for random weights.
        init_scope: what is taken from it; see :func:`~.initialise.initial_network`.
        resume: go on with the run in ``output``.
        device: "auto", "cpu" or "cuda".
        workers: processes that read and augment pictures, per training process.
        threads: CPU threads; 0 for PyTorch's choice.
        options: how often to log, evaluate and save.
    """

    model: str
    recipe: Recipe
    annotations: Path
    images: Path
    output: Path
    width: float = 1.0
    val_annotations: Path | None = None
    val_images: Path | None = None
    weights: Path | None = None
    init_scope: str = "fitting"
    resume: bool = False
    device: str = "auto"
    workers: int = 2
    threads: int = 0
    options: LoopOptions = field(default_factory=LoopOptions)

    def __post_init__(self) -> None:
        for name in ("annotations", "images", "output", "val_annotations", "val_images", "weights"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else Path(given))
        substrings_from_scope(self.init_scope)
