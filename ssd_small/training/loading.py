"""From pictures to training batches, in worker processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import MissingRequirement, SsdSmallError, UsageError
from ..requirements import require
from .augment import Transform
from .dataset import Sample
from .matching import Targets, match
from .overlaps import GroupedPriors
from .sampling import EpochSampler, SampleKey

TrainingBatch = tuple[Tensor, Targets]


class _Matched(Dataset[tuple[Tensor, Targets] | SsdSmallError]):
    """Augmented pictures with their targets, by :class:`SampleKey`.

    A fault of the data is handed over instead of raised: raised in a worker process it would
    arrive as a traceback.
    """

    def __init__(
        self,
        samples: Dataset[Sample],
        transform: Transform,
        priors_cxcywh: Tensor,
        iou_threshold: float,
        variances: tuple[float, float],
    ) -> None:
        self._samples, self._transform = samples, transform
        self._priors = GroupedPriors.of(priors_cxcywh)
        self._iou_threshold, self._variances = iou_threshold, variances

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Targets] | SsdSmallError:
        try:
            sample = self._samples[key.index]
        except SsdSmallError as error:
            return error
        example = self._transform(sample, key.generator())
        targets = match(
            example.boxes_xyxy,
            example.labels,
            self._priors,
            iou_threshold=self._iou_threshold,
            variances=self._variances,
        )
        return example.image, targets


def _collate(
    examples: list[tuple[Tensor, Targets] | SsdSmallError],
) -> TrainingBatch | SsdSmallError:
    for example in examples:
        if isinstance(example, SsdSmallError):
            return example
    sound = cast("list[tuple[Tensor, Targets]]", examples)
    return torch.stack([image for image, _ in sound]), Targets.stack([t for _, t in sound])


def _start_worker(number: int) -> None:
    """One thread per worker, since the processes are the parallelism; signals are the trainer's.

    Terminals, torchrun and batch systems signal the whole group, and the trainer needs its workers
    to come to the end of an update.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _obey_the_next)
    require("cv2", "augmenting pictures").setNumThreads(0)


def _obey_the_next(number: int, frame: FrameType | None) -> None:
    """The first SIGTERM may have been the group's; the loader repeats its own."""
    signal.signal(number, signal.SIG_DFL)


def training_batches(
    dataset: Dataset[Sample],
    transform: Transform,
    priors_cxcywh: Tensor,
    sampler: EpochSampler,
    *,
    workers: int = 0,
    pin_memory: bool = False,
    iou_threshold: float = 0.5,
    variances: tuple[float, float] = (0.1, 0.2),
) -> Iterator[TrainingBatch]:
    """The batches of ``sampler``, one after the other, across epochs.

    Batch ``k`` is the same for any number of workers. They live until the iterator is closed or
    collected, so pictures they keep are kept over epochs. Torch's global generator is left alone.

    Args:
        dataset: pictures with objects, by index.
        transform: of :func:`.augment.training_transform`.
        priors_cxcywh: ``[P, 4]`` float32, unit square.
        sampler: which pictures, in which order; where a resumed run begins.
        workers: processes that decode, augment and match; 0: this one does.
        pin_memory: put the images into page-locked memory, for the way to a GPU.
        iou_threshold, variances: see :func:`.matching.match`.

    Yields:
        ``images [N, 3, H, W]`` float32 and :class:`.matching.Targets`.

    Raises:
        BadFile: a picture cannot be read; named.
        UsageError: a negative number of workers.
        MissingRequirement: a worker process was ended, for want of memory above all.
    """
    if workers < 0:
        raise UsageError(f"workers {workers}: expected 0 or more")
    return _batches(
        DataLoader(
            _Matched(dataset, transform, priors_cxcywh.cpu(), iou_threshold, variances),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_collate,
            worker_init_fn=_start_worker,
            pin_memory=pin_memory,
            # the loader seeds its workers from it; by default from the global one
            generator=torch.Generator().manual_seed(sampler.seed),
        )
    )


def _batches(loader: DataLoader[tuple[Tensor, Targets] | SsdSmallError]) -> Iterator[TrainingBatch]:
    try:
        for batch in _received(loader):
            if isinstance(batch, SsdSmallError):
                raise batch
            yield batch
    except RuntimeError as error:
        # torch names a worker that is gone in no other way
        if "DataLoader worker" not in str(error):
            raise
        raise MissingRequirement(
            f"a data loading process was ended ({str(error).splitlines()[0]}); it ran out of "
            "memory or of shared memory: use fewer workers or a smaller batch"
        ) from error


def _received(
    loader: DataLoader[tuple[Tensor, Targets] | SsdSmallError],
) -> Iterator[TrainingBatch | SsdSmallError]:
    """What the loader gives, without its signal handler.

    The handler would raise for a dead worker in the middle of whatever this process computes,
    where nobody expects it; without it the loader finds out while it waits for a batch.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD)
    received = iter(loader)
    if loader.num_workers and in_main_thread:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return received
