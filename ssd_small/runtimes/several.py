"""Several instances of one engine behind the interface of one, for several batches at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any

from ..errors import UsageError
from ..postprocess.detections import Detections
from .base import BatchingRuntime, HeadOutputs, Images, Runtime
from .device_events import DeviceTimes


class SeveralRuntimes(BatchingRuntime):
    """Runs each batch on an instance that is free; as many threads may call as there are.

    Attributes:
        path: of the file that was opened, if it has one.
    """

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        """Take instances that are alike, and are closed with this."""
        first = runtimes[0]
        self._runtimes = tuple(runtimes)
        self._free: SimpleQueue[Runtime] = SimpleQueue()
        for runtime in runtimes:
            self._free.put(runtime)
        self.instances = len(self._runtimes)
        self.path: Any = getattr(first, "path", None)
        self.name, self.description = first.name, first.description
        self.precision, self.device = first.precision, first.device
        self.max_batch = first.max_batch

    def infer(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`~.base.Runtime`; waits for an instance where none is free."""
        self._check_open()
        runtime = self._free.get()
        try:
            return runtime.infer(images)
        finally:
            self._free.put(runtime)

    def check_picture(self, height: int, width: int) -> None:
        """See :class:`~.base.Runtime`."""
        self._runtimes[0].check_picture(height, width)

    def watched(self) -> AbstractContextManager[DeviceTimes | None]:
        """See :class:`~.base.Runtime`; of the first instance."""
        return self._runtimes[0].watched()

    def close(self) -> None:
        """Free the instances, each once it has done what it is at; calling twice is harmless."""
        if self._closed:
            return
        super().close()
        held = [self._free.get() for _ in self._runtimes]
        for runtime in held:
            runtime.close()
            # who still comes is told that it is closed
            self._free.put(runtime)


def open_instances(open_one: Callable[..., Runtime], threads: int, instances: int) -> Runtime:
    """An engine, or several instances of it behind the interface of one.

    Args:
        open_one: opens one; called with ``threads`` by name.
        threads: CPU threads of each; 0 for one per core, shared by the instances.
        instances: how many.

    Raises:
        UsageError: no number of instances, or several of a network in PyTorch.
        SsdSmallError: what ``open_one`` raises.
    """
    each = threads_of_each(threads, instances)
    opened: list[Runtime] = []
    try:
        while len(opened) < instances:
            opened.append(open_one(threads=each))
            if instances > 1 and opened[0].name.startswith("torch"):
                raise UsageError(
                    f"{instances} instances of a network in PyTorch, whose threads are the whole "
                    "process's: pass an engine or ONNX file of it ('ssd-small export', "
                    "'build-engine')"
                )
    except BaseException:
        for runtime in opened:
            runtime.close()
        raise
    return opened[0] if instances == 1 else SeveralRuntimes(opened)


def threads_of_each(threads: int, instances: int) -> int:
    """CPU threads of each of several instances that share the cores.

    Args:
        threads: as asked for; 0 shares the cores out, at least one to each.
        instances: of the engine.

    Raises:
        UsageError: no number of instances.
    """
    if type(instances) is not int or instances < 1:
        raise UsageError(f"instances {instances!r}: expected a whole number of at least 1")
    if threads or instances == 1:
        return threads
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // instances)
