"""From pictures to training batches, in worker processes."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..errors import BadFile, MissingRequirement, SsdSmallError, UsageError
from ..pictures.remarks import mute_picture_libraries
from ..requirements import require
from ..system.processes import end_worker_with_parent
from ..system.temporary import temporary_folder
from .augment import Transform
from .dataset import Sample
from .matching import Targets, match
from .overlaps import GroupedPriors
from .sampling import EpochSampler, SampleKey
from .unnamed_memory import SentArrays

TrainingBatch = tuple[Tensor, Targets]
#: errors of pictures that cannot be read, by index in the data set
Unreadable = dict[int, SsdSmallError]
#: advice for messages where worker processes run out of memory
_ADVICE = "pass --workers 0, or give the container more of it (docker run --shm-size 1g)"


@dataclass(eq=False)
class _Example:
    """A picture's part of a batch, and the unreadable pictures that it replaces."""

    image: Tensor
    targets: Targets
    unreadable: Unreadable


@dataclass(eq=False)
class _Batch:
    """What the loader hands over: a batch, or its arrays as sent by a worker process."""

    content: TrainingBatch | SentArrays
    unreadable: Unreadable

    def tensors(self) -> TrainingBatch:
        """The batch as tensors, whether made here or in a worker process.

        Raises:
            MissingRequirement: the process that sent it has ended.
        """
        if not isinstance(self.content, SentArrays):
            return self.content
        try:
            images, loc, labels = map(torch.from_numpy, self.content.arrays())
        except (OSError, EOFError) as error:
            raise _ended("its batch went with it") from error
        return images, Targets(loc, labels)

    def pin_memory(self) -> _Batch | SsdSmallError:
        """A copy in page-locked memory; called by the loader in a thread that an error would end.

        Not executed yet: it needs a GPU.
        """
        try:
            images, targets = self.tensors()
        except MissingRequirement as error:
            return error
        pinned = Targets(targets.loc.pin_memory(), targets.labels.pin_memory())
        return _Batch((images.pin_memory(), pinned), self.unreadable)


class _Matched(Dataset[_Example | SsdSmallError]):
    """Augmented pictures with their targets, by :class:`SampleKey`.

    Faults in the data are returned, not raised: raised in a worker process, they would arrive as a
    traceback. Up to ``skips`` unreadable pictures are each replaced by the next one of the data
    set, with the same random numbers, so that the batch depends on the files alone.
    """

    def __init__(
        self,
        samples: Dataset[Sample],
        transform: Transform,
        priors_cxcywh: Tensor,
        iou_threshold: float,
        variances: tuple[float, float],
        skips: int = 0,
    ) -> None:
        self._samples, self._transform = samples, transform
        self._priors = GroupedPriors.of(priors_cxcywh)
        self._iou_threshold, self._variances = iou_threshold, variances
        self._skips = skips

    def __getitem__(self, key: SampleKey) -> _Example | SsdSmallError:
        unreadable: Unreadable = {}
        index = key.index
        while True:
            try:
                sample = self._samples[index]
                break
            except SsdSmallError as error:
                if len(unreadable) >= self._skips:
                    return error
                unreadable[index] = error
                count = len(self._samples)  # type: ignore[arg-type]
                index = (index + 1) % count
                if index == key.index:
                    return BadFile(
                        f"none of the {count} images can be read, the last: {error.command_line}"
                    )
        example = self._transform(sample, key.generator())
        targets = match(
            example.boxes_xyxy,
            example.labels,
            self._priors,
            iou_threshold=self._iou_threshold,
            variances=self._variances,
        )
        return _Example(example.image, targets, unreadable)


def _collate(examples: list[_Example | SsdSmallError]) -> _Batch | SsdSmallError:
    sound: list[_Example] = []
    for example in examples:
        if isinstance(example, SsdSmallError):
            return example
        sound.append(example)
    images = torch.stack([one.image for one in sound])
    targets = Targets.stack([one.targets for one in sound])
    unreadable = {k: error for one in sound for k, error in one.unreadable.items()}
    if get_worker_info() is None:
        return _Batch((images, targets), unreadable)
    try:
        sent = SentArrays([one.numpy() for one in (images, targets.loc, targets.labels)])
    except OSError as error:
        return MissingRequirement(
            f"no memory for a batch of {len(sound)} pictures in a data loading process "
            f"({error.strerror or error}); {_ADVICE}"
        )
    return _Batch(sent, unreadable)


def _start_worker(folder: Path, number: int) -> None:
    """Set up a worker: one thread, since there are many processes; signals are for the trainer.

    Terminals, torchrun and batch systems signal the whole process group, but the trainer needs its
    workers to finish an update. ``folder`` holds the sockets over which memory is passed on; a
    folder created by the worker itself would be left behind if the worker were killed.
    """
    process: Any = multiprocessing.current_process()
    process._config["tempdir"] = str(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _obey_the_next)
    end_worker_with_parent()
    require("cv2", "augmenting pictures").setNumThreads(0)
    # a process that is not forked does not inherit this from its trainer
    mute_picture_libraries()


def _obey_the_next(number: int, frame: FrameType | None) -> None:
    """Ignore one SIGTERM, which may have been sent to the group; the loader repeats its own."""
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
    skips: int = 0,
    skipped: Callable[[int, SsdSmallError], None] = lambda index, error: None,
) -> Iterator[TrainingBatch]:
    """Yield the batches of ``sampler`` in order, across epochs.

    Batch ``k`` is the same for any number of workers. The workers live until the iterator is closed
    or garbage-collected, so the pictures they cache are kept over epochs. Torch's global generator
    is not used.

    Args:
        dataset: pictures with objects, by index.
        transform: a transform from :func:`.augment.training_transform`.
        priors_cxcywh: ``[P, 4]`` float32, unit square.
        sampler: which pictures, in which order; where a resumed run begins.
        workers: processes that decode, augment and match; 0 does this in the calling process.
        pin_memory: whether to put the images into page-locked memory, for transfer to a GPU.
        iou_threshold, variances: see :func:`.matching.match`.
        skips: how many pictures may be unreadable; each is replaced by the next of the data set.
        skipped: called once for each of them, with its index and the error.

    Yields:
        ``images [N, 3, H, W]`` float32 and :class:`.matching.Targets`.

    Raises:
        BadFile: more pictures than ``skips`` cannot be read; the last is named.
        UsageError: the number of workers is negative.
        MissingRequirement: a worker process was ended, usually for lack of memory.
    """
    if workers < 0:
        raise UsageError(f"workers {workers}: expected 0 or more")
    return _batches(
        DataLoader(
            _Matched(dataset, transform, priors_cxcywh.cpu(), iou_threshold, variances, skips),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            # seeds the workers; by default the loader draws their seed from the global generator
            generator=torch.Generator().manual_seed(sampler.seed),
        ),
        skips,
        skipped,
    )


def _batches(
    loader: DataLoader[_Example | SsdSmallError],
    skips: int,
    skipped: Callable[[int, SsdSmallError], None],
) -> Iterator[TrainingBatch]:
    seen: set[int] = set()
    try:
        with ExitStack() as stack:
            if loader.num_workers:
                folder = stack.enter_context(temporary_folder())
                loader.worker_init_fn = partial(_start_worker, folder)
            for batch in _received(loader):
                if isinstance(batch, SsdSmallError):
                    raise batch
                for index, error in batch.unreadable.items():
                    if index not in seen:
                        seen.add(index)
                        if len(seen) > skips:
                            raise error
                        skipped(index, error)
                yield batch.tensors()
        return
    except RuntimeError as fault:
        # the message is the only sign by which torch reports a dead worker
        reason = str(fault).partition("\n")[0]
        if "DataLoader worker" not in reason:
            raise
    # not chained to the RuntimeError, whose frames would keep the other processes alive
    raise _ended(reason)


def _ended(reason: str) -> MissingRequirement:
    return MissingRequirement(
        f"a data loading process was ended ({reason}); it ran out of memory or of shared memory: "
        f"{_ADVICE}"
    )


def _received(
    loader: DataLoader[_Example | SsdSmallError],
) -> Iterator[_Batch | SsdSmallError]:
    """Iterate over the loader without its signal handler.

    On a worker's death the handler would raise at an arbitrary place in this process, where nobody
    expects it; without it the loader notices while it waits for a batch.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD)
    _check_semaphores(loader.num_workers)
    received = iter(loader)
    if loader.num_workers and in_main_thread:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return received


def _check_semaphores(workers: int) -> None:
    """Check that shared memory has room for the locks of this many processes.

    The loader itself would fail half constructed, and again while being destroyed.
    """
    try:
        held: list[object] = [multiprocessing.Queue() for _ in range(workers + 2 if workers else 0)]
        held.clear()
    except OSError as error:
        raise MissingRequirement(
            f"no shared memory for {workers} data loading processes ({error.strerror or error}); "
            f"{_ADVICE}"
        ) from error
