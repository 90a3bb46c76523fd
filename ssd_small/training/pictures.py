"""Training batches from a data set on disk."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..errors import SsdSmallError
from ..models.network import SsdNetwork
from .augment import Augmentation, training_transform
from .dataset import DetectionDataset
from .distributed import Processes
from .loading import training_batches
from .matching import Targets
from .recipe import Recipe
from .sampling import EpochSampler, repeat_factors


@dataclass(eq=False)
class PictureBatches:
    """Augmented pictures of a data set, matched with a network's priors.

    Attributes:
        data: pictures with objects.
        net: gives preprocessing, priors and variances.
        recipe: gives batch size, seed, augmentation, matching and repetition.
        processes: the processes that share each batch.
        workers: processes that prepare pictures; 0 for the calling process.
        skips: how many pictures may be unreadable, see :func:`.loading.training_batches`.
        say: called with a line for each of them.
        augmentation: random changes to the pictures; default: those of the published recipe, with
            this recipe's probability of expansion.

    Raises:
        UsageError: the batch cannot be divided equally among the processes.
    """

    data: DetectionDataset
    net: SsdNetwork
    recipe: Recipe
    processes: Processes
    workers: int = 0
    skips: int = 0
    say: Callable[[str], None] = lambda line: None
    augmentation: Augmentation | None = None
    _factors: npt.NDArray[np.float64] = field(init=False)
    _plan: EpochSampler = field(init=False)

    def __post_init__(self) -> None:
        labels = (self.data.labels_of(i) for i in range(len(self.data)))
        self._factors = repeat_factors(labels, self.recipe.repeat_threshold)
        self._plan = self._sampler(0)

    @property
    def per_epoch(self) -> int:
        """Number of updates per epoch."""
        return int(self._plan.batches_per_epoch)

    def starting_at(self, iteration: int) -> Generator[tuple[Tensor, Targets], None, None]:
        """Yield this process' part of batch ``iteration`` and of all later ones, endlessly."""
        augmentation = self.augmentation or Augmentation(expand=self.recipe.expand)
        yield from training_batches(
            self.data,
            training_transform(self.net.spec.preprocessing, augmentation),
            self.net.priors,
            self._sampler(iteration),
            workers=self.workers,
            pin_memory=self.processes.device.type == "cuda",
            iou_threshold=self.recipe.match_iou,
            variances=self.net.spec.postprocess.variances,
            skips=self.skips,
            skipped=self._skipped,
        )

    def _skipped(self, index: int, error: SsdSmallError) -> None:
        self.say(f"note: left out, the next picture takes its place: {error.command_line}")

    def names(self, iteration: int) -> list[str]:
        """File names of the images in this process' part of a batch."""
        (keys,) = self._sampler(iteration, iteration + 1)
        return [self.data.paths[key.index].name for key in keys]

    def _sampler(self, start: int, end: int | None = None) -> EpochSampler:
        return EpochSampler(
            len(self.data),
            self.recipe.batch,
            self.recipe.seed,
            rank=self.processes.rank,
            world=self.processes.world,
            repeat_factors=self._factors,
            start_iteration=start,
            iterations=end,
        )
