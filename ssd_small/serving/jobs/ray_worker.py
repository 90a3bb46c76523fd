"""One engine on a cluster: the code that runs in a process of Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import BadFile, SsdSmallError
from .job import Job, Shard
from .shard import Classes, ShardResult, classes_of, open_for_job, result_of_shard

if TYPE_CHECKING:
    from ...detection.detector import Detector


@dataclass(frozen=True)
class Refusal:
    """An error of this package, which would recur on any worker.

    Attributes:
        kind: name of its class in :mod:`ssd_small.errors`.
        message: its message, one line.
    """

    kind: str
    message: str


@dataclass(frozen=True)
class Ready:
    """A worker that has opened its engine.

    Attributes:
        classes: the meaning of its labels.
        process: process id and name of the machine.
    """

    classes: Classes
    process: str


class RayWorker:
    """Computes shards, one at a time, with an engine of its own."""

    def __init__(self, folder: str, threads: int) -> None:
        """Create a worker in its own process; paths are relative to the driver's ``folder``."""
        self._folder, self._threads = folder, threads
        self._detector: Detector | None = None
        self._job: Job | None = None

    def open(self, job: Job) -> Ready | Refusal:
        """Open the engine; errors of this package are returned, not raised."""
        try:
            try:
                os.chdir(self._folder)
            except OSError as error:
                raise BadFile(
                    f"a worker on {os.uname().nodename} has no folder {self._folder} "
                    f"({error.strerror}); share it with all machines of the cluster"
                ) from error
            self._detector = open_for_job(job, self._threads, workers=1)
            self._job = job
        except SsdSmallError as error:
            return Refusal(type(error).__name__, error.command_line)
        return Ready(classes_of(self._detector), f"{os.getpid()} of {os.uname().nodename}")

    def run(self, shard: Shard) -> ShardResult | Refusal:
        """Compute the result of a shard; errors are returned, as by :meth:`open`."""
        assert self._detector is not None
        assert self._job is not None
        try:
            return result_of_shard(self._detector, self._job, shard)
        except SsdSmallError as error:
            return Refusal(type(error).__name__, error.command_line)
