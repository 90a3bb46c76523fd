"""Composition of batches: the same for any number of processes, and resumable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from ..errors import UsageError

#: streams of random numbers drawn from one seed
_ORDER, _AUGMENTATION = 0, 1


@dataclass(frozen=True)
class SampleKey:
    """One use of one picture; the key alone determines the augmentation.

    Attributes:
        seed: seed of the run.
        epoch: number of the epoch, counted from 0.
        index: index of the picture in its data set.
        repeat: how often the picture was used earlier in this epoch.
    """

    seed: int
    epoch: int
    index: int
    repeat: int

    def generator(self) -> np.random.Generator:
        """A random generator for this use."""
        return np.random.default_rng(
            [self.seed, _AUGMENTATION, self.epoch, self.index, self.repeat]
        )


class EpochSampler(Sampler[list[SampleKey]]):
    """Endless batches, from a new order of the pictures in every epoch.

    An epoch uses every picture at least once and consists of full batches: the last one is filled
    up with pictures from a further random order. Iteration ``i`` has the same batch whether the
    run started at 0 or at ``i``, and process ``rank`` of ``world`` gets its part of it: the parts
    of all processes, in order, are the batch of a single process.

    Attributes:
        seed: seed of the run.
        batches_per_epoch: number of iterations per epoch.
    """

    def __init__(
        self,
        length: int,
        batch: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        repeat_factors: Sequence[float] | npt.NDArray[np.float64] | None = None,
        start_iteration: int = 0,
        iterations: int | None = None,
    ) -> None:
        """Plan the batches.

        Args:
            length: number of pictures in the data set.
            batch: pictures per iteration, over all processes together.
            seed: seed of the order and the augmentation, at least 0.
            rank: number of this process.
            world: number of processes; must divide ``batch``.
            repeat_factors: how often each picture is used in an epoch, at least 1 each; see
                :func:`repeat_factors`.
            start_iteration: iteration of the first batch that is yielded.
            iterations: iteration before which the batches end; default: no end.

        Raises:
            UsageError: a number is out of its range.
        """
        if length < 1 or batch < 1 or min(seed, start_iteration) < 0:
            raise UsageError(
                f"length {length}, batch {batch}, seed {seed}, start_iteration {start_iteration}: "
                "expected a length and a batch of at least 1, the others at least 0"
            )
        if not 0 <= rank < world or batch % world:
            raise UsageError(
                f"batch {batch}, rank {rank}, world {world}: expected a batch that the number of "
                "processes divides and a rank below it; choose another --batch"
            )
        factors = np.ones(length) if repeat_factors is None else np.asarray(repeat_factors, float)
        if factors.shape != (length,) or not (np.isfinite(factors) & (factors >= 1)).all():
            raise UsageError(
                f"repeat_factors of shape {factors.shape}: expected {length} finite numbers of at "
                "least 1"
            )
        self.seed, self._batch, self._rank, self._world = seed, batch, rank, world
        self._start, self._end = start_iteration, iterations
        self._uses = math.ceil(factors.sum())
        # scaled up to an integer number of uses, so that all epochs have the same length
        self._cumulated = np.cumsum(factors * (self._uses / factors.sum()))
        self.batches_per_epoch = -(-self._uses // batch)
        self._epoch = lru_cache(maxsize=2)(self._plan_epoch)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """Yield this process' part of each batch, from ``start_iteration`` on."""
        iteration = self._start
        part = self._batch // self._world
        while self._end is None or iteration < self._end:
            yield self.batch(iteration)[self._rank * part : (self._rank + 1) * part]
            iteration += 1

    def batch(self, iteration: int) -> list[SampleKey]:
        """The whole batch of an iteration, over all processes."""
        epoch, number = divmod(iteration, self.batches_per_epoch)
        return self._epoch(epoch)[number * self._batch : (number + 1) * self._batch]

    def _plan_epoch(self, epoch: int) -> list[SampleKey]:
        """The uses of pictures in an epoch, in order."""
        rng = np.random.default_rng([self.seed, _ORDER, epoch])
        # equidistant points on the cumulative factors: a picture with factor 2.3 is hit two or
        # three times, 2.3 times on average
        points = np.arange(self._uses) + rng.random()
        used = np.minimum(
            np.searchsorted(self._cumulated, points, side="right"), len(self._cumulated) - 1
        )
        order = rng.permutation(used)
        wanted = self.batches_per_epoch * self._batch
        while len(order) < wanted:
            order = np.concatenate([order, rng.permutation(used)])
        seen: dict[int, int] = {}
        keys = []
        for index in order[:wanted].tolist():
            repeat = seen.get(index, 0)
            keys.append(SampleKey(self.seed, epoch, index, repeat))
            seen[index] = repeat + 1
        return keys


def repeat_factors(
    labels_of_images: Iterable[npt.NDArray[np.int64]], threshold: float
) -> npt.NDArray[np.float64]:
    """How often to use each picture so that rare classes are seen (Gupta et al. 2019, LVIS).

    A class that occurs in the fraction ``f`` of the pictures has the factor
    ``max(1, sqrt(threshold / f))``; a picture has the largest factor of its classes.

    Args:
        labels_of_images: labels of the objects of each picture.
        threshold: classes in a smaller fraction of the pictures are repeated; 0 repeats none.

    Returns:
        ``[I]`` factors, 1 and up.

    Raises:
        UsageError: the threshold is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"repeat threshold {threshold}: expected a fraction from 0 to 1")
    present = [np.unique(labels) for labels in labels_of_images]
    factors = np.ones(len(present))
    if not any(len(labels) for labels in present):
        return factors
    frequency = np.bincount(np.concatenate(present)) / len(present)
    with np.errstate(divide="ignore", invalid="ignore"):  # labels without pictures
        of_label = np.maximum(1, np.sqrt(threshold / frequency))
    for i, labels in enumerate(present):
        if len(labels):
            factors[i] = of_label[labels].max()
    return factors
