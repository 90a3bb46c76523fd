"""Computing the shards of a job in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from .job import Job, Shard
from .shard import Classes, ShardResult, classes_of, open_for_job, result_of_shard

#: called with the number of further pictures that are done
Seen = Callable[[int], None]


class Workers(Protocol):
    """One or more workers that compute shards.

    Attributes:
        classes: the meaning of the engine's labels.
    """

    classes: Classes

    def results(self, shards: Iterable[Shard], seen: Seen) -> Iterator[ShardResult]:
        """Yield the results of shards, in any order; ``seen`` is called as pictures are done."""


class _InProcess:
    def __init__(self, job: Job, threads: int) -> None:
        self._job = job
        self._detector = open_for_job(job, threads)
        self.classes = classes_of(self._detector)

    def results(self, shards: Iterable[Shard], seen: Seen) -> Iterator[ShardResult]:
        for shard in shards:
            yield result_of_shard(self._detector, self._job, shard, lambda: seen(1))

    def close(self) -> None:
        self._detector.close()


@contextmanager
def in_process(job: Job, threads: int) -> Iterator[Workers]:
    """Compute a job in this process, with this many CPU threads (0: one per core).

    Raises:
        SsdSmallError: the engine cannot be opened.
    """
    worker = _InProcess(job, threads)
    try:
        yield worker
    finally:
        worker.close()
