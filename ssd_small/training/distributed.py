"""One training run in several processes, started by torchrun.

Each process works on its slice of every batch. The losses are divided by the positives of the
whole batch, so that the gradient is the same as with a single process. Batch norm is the
exception: on the CPU each process normalises over its own slice, on GPUs ``SyncBatchNorm``
normalises over the whole batch. The running means and variances that are saved are those of the
first process, which DistributedDataParallel passes on to the others. The first process writes all
files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from ..errors import MissingRequirement, UsageError
from ..models.network import SsdNetwork

#: timeout: the other processes wait while the first one evaluates and writes
_PATIENCE = timedelta(hours=6)
#: in messages of gloo and NCCL when another process has ended
_PARTNER_GONE = re.compile(r"peer|gloo|NCCL|Broken pipe|Socket", re.I)


@dataclass(frozen=True)
class Processes:
    """The processes that take part in a run, as seen by one of them.

    Attributes:
        device: device on which this process computes.
        rank: number of this process; process 0 writes the files.
        world: number of processes.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def writer(self) -> bool:
        """Whether this process evaluates, reports and writes."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        if self.world == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        with self._partners():
            torch.distributed.all_reduce(summed)
        return [float(value) for value in summed.tolist()]

    def gathered(self, value: Any) -> list[Any]:
        """The value of each process, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        with self._partners():
            torch.distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def _partners(self) -> Iterator[None]:
        """Turn the failure of another process into a one-line error; its own message says why.

        Raises:
            MissingRequirement: another process ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self.world == 1 or not _PARTNER_GONE.search(str(error)):
                raise
            raise MissingRequirement(
                f"process {self.rank} of {self.world} stopped, because another one ended; see its "
                "message"
            ) from error

    def parallel(self, net: SsdNetwork) -> nn.Module:
        """The module to call in place of ``net``, which averages gradients over the processes.

        ``net`` keeps its parameters and keys. On GPUs its batch norms are replaced by synchronised
        ones, so create the optimiser afterwards.
        """
        if self.world == 1:
            return net
        if self.device.type == "cuda":  # not executed here
            nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
            return DistributedDataParallel(net, device_ids=[self.device.index])
        return DistributedDataParallel(net)


def is_first_process() -> bool:
    """Whether this process will be the writer; known before the processes are joined."""
    return not _has_partners() or os.environ["RANK"] == "0"


def _has_partners() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started, or run as the only one.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU if there is one.

    Raises:
        MissingRequirement: "cuda" was requested without a GPU, or another process ended.
        UsageError: the environment variables of torchrun are incomplete or invalid.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingRequirement("--device cuda needs an NVIDIA GPU; pass --device cpu")
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not _has_partners():
        yield Processes(torch.device("cuda", 0) if cuda else torch.device("cpu"))
        return
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank))) if cuda else None
        if own is not None:
            torch.cuda.set_device(own)
        init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    except ValueError as error:
        raise UsageError(
            f"the environment has RANK and WORLD_SIZE, but {error}; start with torchrun, or unset "
            "them for one process"
        ) from error
    processes = Processes(own or torch.device("cpu"), rank, world)
    try:
        # DistributedDataParallel notices the end of another process in the backward pass
        with processes._partners():
            yield processes
    finally:
        destroy_process_group()
