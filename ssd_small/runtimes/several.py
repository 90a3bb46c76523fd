"""Several instances of an engine behind one runtime, to execute several batches at once."""

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
    """Runs each call on a free instance; as many threads as instances may call at once.

    Attributes:
        path: path of the opened file, if any.
    """

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        """Take ownership of identical instances, which are closed together with this one."""
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
        """See :class:`~.base.Runtime`; waits until an instance is free."""
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
        """See :class:`~.base.Runtime`; times only the first instance."""
        return self._runtimes[0].watched()

    def close(self) -> None:
        """Free the instances once all have finished their work; a second call has no effect."""
        if self._closed:
            return
        super().close()
        held = [self._free.get() for _ in self._runtimes]
        for runtime in held:
            runtime.close()
            # a late caller gets the error that it is closed
            self._free.put(runtime)


def open_instances(open_one: Callable[..., Runtime], threads: int, instances: int) -> Runtime:
    """Open an engine, or several instances of it behind one runtime.

    Args:
        open_one: opens one instance; called with ``threads`` by name.
        threads: CPU threads of each instance; 0 to share the cores among the instances.
        instances: number of instances.

    Raises:
        UsageError: the number of instances is invalid, or above 1 for a network in PyTorch.
        SsdSmallError: raised by ``open_one``.
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
    """Return the CPU threads of each of several instances that share the cores.

    One instance with ``threads`` 0 keeps that 0.

    Args:
        threads: requested threads per instance; 0 to share the cores, at least one to each.
        instances: number of instances of the engine.

    Raises:
        UsageError: the number of instances is not a whole number of at least 1.
    """
    if type(instances) is not int or instances < 1:
        raise UsageError(f"instances {instances!r}: expected a whole number of at least 1")
    if threads or instances == 1:
        return threads
    affinity = getattr(os, "sched_getaffinity", None)  # only on Linux
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // instances)
