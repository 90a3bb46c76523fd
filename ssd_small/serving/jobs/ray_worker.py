"""One engine on a cluster: what runs in a process of Ray."""

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
    """An error of ours, which would come about again wherever it was tried.

    Attributes:
        kind: name of its class in :mod:`ssd_small.errors`.
        message: its line.
    """

    kind: str
    message: str


@dataclass(frozen=True)
class Ready:
    """A worker that has opened its engine.

    Attributes:
        classes: what its labels mean.
        process: its id, and the machine's name.
    """

    classes: Classes
    process: str


class RayWorker:
    """Computes shards, one at a time, with an engine of its own."""

    def __init__(self, folder: str, threads: int) -> None:
        """Made in the process that works; paths are relative to ``folder``, as for the driver."""
        self._folder, self._threads = folder, threads
        self._detector: Detector | None = None
        self._job: Job | None = None

    def open(self, job: Job) -> Ready | Refusal:
        """Open the engine; what is wrong with it is told and not raised."""
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
        """The result of a shard."""
        assert self._detector is not None
        assert self._job is not None
        try:
            return result_of_shard(self._detector, self._job, shard)
        except SsdSmallError as error:
            return Refusal(type(error).__name__, error.command_line)
