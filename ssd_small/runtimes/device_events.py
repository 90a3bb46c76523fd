"""CUDA events on a stream and the GPU time between them (not executed here: needs a GPU)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol


@dataclass
class DeviceTimes:
    """Seconds on the GPU, summed over batches and measured with CUDA events.

    Attributes:
        upload: copying the input to the GPU.
        network: executing the engine.
        download: copying the outputs back.
    """

    upload: float = 0.0
    network: float = 0.0
    download: float = 0.0

    def add(self, upload: float, network: float, download: float) -> None:
        """Add the times of another batch."""
        self.upload += upload
        self.network += network
        self.download += download


class DeviceEvents(Protocol):
    """A series of events, indexed from 0."""

    def record(self, place: int, stream: int) -> None:
        """Enqueue an event; in a capture, each replay of the graph records it again."""

    def seconds(self) -> list[float]:
        """Return the seconds between consecutive events; call after waiting for the stream."""
        ...

    def close(self) -> None:
        """Destroy the events."""


class CudaPythonEvents:
    """:class:`DeviceEvents` through ``cuda.bindings.runtime``.

    Args:
        call: calls a function of the module by name, and raises its errors.
        external: ``cudaEventRecordExternal``, which in a capture makes a node of the graph.
        number: number of events.
    """

    def __init__(self, call: Callable[..., Any], external: int, number: int) -> None:
        self._call, self._external = call, external
        self._events: list[int] = []
        try:
            for _ in range(number):
                self._events.append(int(call("cudaEventCreate")))
        except BaseException:
            self.close()
            raise

    def record(self, place: int, stream: int) -> None:
        """See :class:`DeviceEvents`."""
        self._call("cudaEventRecordWithFlags", self._events[place], stream, self._external)

    def seconds(self) -> list[float]:
        """See :class:`DeviceEvents`."""
        elapsed = (self._call("cudaEventElapsedTime", a, b) for a, b in pairwise(self._events))
        return [float(milliseconds) / 1e3 for milliseconds in elapsed]

    def close(self) -> None:
        """See :class:`DeviceEvents`."""
        while self._events:
            self._call("cudaEventDestroy", self._events.pop())


class PyCudaEvents:
    """:class:`DeviceEvents` through ``pycuda.driver``, which has no graphs.

    Args:
        driver: the module.
        streams: its streams by handle.
        errors: makes a context that turns pycuda's errors into ours, for the named function.
        number: number of events.
    """

    def __init__(
        self,
        driver: Any,
        streams: Mapping[int, Any],
        errors: Callable[[str], AbstractContextManager[None]],
        number: int,
    ) -> None:
        self._streams, self._errors = streams, errors
        with errors("Event"):
            self._events = [driver.Event() for _ in range(number)]

    def record(self, place: int, stream: int) -> None:
        """See :class:`DeviceEvents`."""
        with self._errors("record"):
            self._events[place].record(self._streams[stream])

    def seconds(self) -> list[float]:
        """See :class:`DeviceEvents`."""
        with self._errors("time_till"):
            return [float(a.time_till(b)) / 1e3 for a, b in pairwise(self._events)]

    def close(self) -> None:
        """See :class:`DeviceEvents`."""
        self._events.clear()
