"""A strict stand-in for ``cuda.bindings.runtime``: memory, streams, graphs, events on the CPU.

Work on a stream waits until the stream is synchronised, so that a forgotten synchronisation
shows as stale data. In a capture nothing is executed, and a call that CUDA forbids there is an
error that spoils the capture; other threads are free to make it, as in CUDA's thread-local mode.
Pointers are real host addresses; every use is checked. Events read a clock that copies move on by a
nanosecond a byte, and other work as it likes.
"""

# ruff: noqa: N801, N802, N815 (the names are CUDA's)

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from enum import IntEnum
from threading import get_ident
from typing import Any


class cudaError_t(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorInvalidResourceHandle = 400
    cudaErrorNotReady = 600
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalAddress = 700
    cudaErrorDeviceUnavailable = 46
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


Work = Callable[[], None]
OK = cudaError_t.cudaSuccess


class Cuda:
    """``devices`` devices, one of which is used. ``calls`` lists the functions called, in order."""

    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaStreamNonBlocking = 1
    cudaEventRecordExternal = 1

    def __init__(self, memory: int = 1 << 40) -> None:
        self.calls: list[str] = []
        self.devices = 1
        #: the device of each thread that has chosen one
        self.current: dict[int, int] = {}
        self.memory = memory
        self.lost = False
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: dict[int, list[Work]] = {}
        self.captures: dict[int, list[Work] | None] = {}
        self.capturing_thread: dict[int, int] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        #: seconds on the GPU, and what a copied byte takes
        self.clock, self.per_byte = 0.0, 1e-9
        #: the clock when each was last recorded; None: not yet, or enqueued and not executed
        self.events: dict[int, float | None] = {}
        self._handles = itertools.count(0x1000, 8)

    def live(self) -> int:
        """Things that were made and not given back."""
        groups = (
            self.device,
            self.pinned,
            self.streams,
            self.graphs,
            self.executables,
            self.events,
        )
        return sum(map(len, groups))

    def holds(self, pointer: int, size: int, where: dict[int, Any]) -> bool:
        return any(b <= pointer and pointer + size <= b + len(m) for b, m in where.items())

    def enqueue(self, stream: int, work: Work) -> cudaError_t:
        """What every asynchronous call does: execute later, or record."""
        if stream in self.captures:
            recorded = self.captures[stream]
            if recorded is None:
                return cudaError_t.cudaErrorStreamCaptureInvalidated
            recorded.append(work)
            return OK
        self.streams[stream].append(work)
        return OK

    def _enter(self, name: str, *, in_capture: bool = False) -> cudaError_t:
        self.calls.append(name)
        if self.lost:
            return cudaError_t.cudaErrorDeviceUnavailable
        captured = [s for s, t in list(self.capturing_thread.items()) if t == get_ident()]
        if captured and not in_capture:
            self.captures.update(dict.fromkeys(captured))
            return cudaError_t.cudaErrorStreamCaptureUnsupported
        return OK

    def cudaGetDevice(self) -> tuple[Any, ...]:
        return OK, self.current.get(get_ident(), 0)

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        self.calls.append("cudaSetDevice")
        if not 0 <= device < self.devices:
            return (cudaError_t.cudaErrorInvalidValue,)
        self.current[get_ident()] = device
        return (OK,)

    def cudaGetErrorString(self, error: cudaError_t) -> tuple[Any, ...]:
        return (OK, cudaError_t(error).name.encode())

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMalloc", self.device, size)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMallocHost", self.pinned, size)

    def _allocate(self, name: str, where: dict[int, Any], size: int) -> tuple[Any, ...]:
        status = self._enter(name)
        if status != OK:
            return status, None
        if name == "cudaMalloc" and sum(map(len, self.device.values())) + size > self.memory:
            return cudaError_t.cudaErrorMemoryAllocation, None
        # as aligned as CUDA's
        whole = (ctypes.c_uint8 * (size + 256))()
        block = (ctypes.c_uint8 * size).from_buffer(whole, -ctypes.addressof(whole) % 256)
        ctypes.memset(block, 0xAB, size)
        where[ctypes.addressof(block)] = block
        return OK, ctypes.addressof(block)

    def cudaFree(self, pointer: int) -> tuple[Any, ...]:
        return self._give_back("cudaFree", self.device, pointer)

    def cudaFreeHost(self, pointer: int) -> tuple[Any, ...]:
        return self._give_back("cudaFreeHost", self.pinned, pointer)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._give_back("cudaStreamDestroy", self.streams, stream)

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        return self._give_back("cudaGraphDestroy", self.graphs, graph)

    def cudaGraphExecDestroy(self, graph: int) -> tuple[Any, ...]:
        return self._give_back("cudaGraphExecDestroy", self.executables, graph)

    def _give_back(self, name: str, where: dict[int, Any], handle: int) -> tuple[Any, ...]:
        status = self._enter(name)
        if status == OK and where.pop(handle, None) is None:
            status = cudaError_t.cudaErrorInvalidValue
        return (status,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        status = self._enter("cudaStreamCreateWithFlags")
        assert flags == self.cudaStreamNonBlocking
        handle = next(self._handles)
        self.streams[handle] = []
        return status, handle

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        status = self._enter("cudaStreamSynchronize")
        if status == OK:
            work, self.streams[stream] = self.streams[stream], []
            for one in work:
                one()
        return (status,)

    def cudaMemcpyAsync(
        self, dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: int
    ) -> tuple[Any, ...]:
        status = self._enter("cudaMemcpyAsync", in_capture=True)
        if status != OK:
            return (status,)
        up = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
        targets, sources = (self.device, self.pinned) if up else (self.pinned, self.device)
        if not (self.holds(dst, count, targets) and self.holds(src, count, sources)):
            return (cudaError_t.cudaErrorInvalidValue,)

        def copy() -> None:
            ctypes.memmove(dst, src, count)
            self.clock += count * self.per_byte

        return (self.enqueue(stream, copy),)

    def cudaEventCreate(self) -> tuple[Any, ...]:
        status = self._enter("cudaEventCreate")
        if status != OK:
            return status, None
        handle = next(self._handles)
        self.events[handle] = None
        return OK, handle

    def cudaEventDestroy(self, event: int) -> tuple[Any, ...]:
        status = self._enter("cudaEventDestroy")
        if status == OK and event not in self.events:
            status = cudaError_t.cudaErrorInvalidResourceHandle
        self.events.pop(event, None)
        return (status,)

    def cudaEventRecordWithFlags(self, event: int, stream: int, flags: int) -> tuple[Any, ...]:
        status = self._enter("cudaEventRecordWithFlags", in_capture=True)
        # without this a capture takes it for an order of streams, not for a time
        assert flags == self.cudaEventRecordExternal
        if status != OK or event not in self.events:
            return (status or cudaError_t.cudaErrorInvalidResourceHandle,)
        if stream not in self.captures:
            self.events[event] = None

        def record() -> None:
            self.events[event] = self.clock

        return (self.enqueue(stream, record),)

    def cudaEventElapsedTime(self, start: int, end: int) -> tuple[Any, ...]:
        status = self._enter("cudaEventElapsedTime")
        if status != OK or start not in self.events or end not in self.events:
            return status or cudaError_t.cudaErrorInvalidResourceHandle, None
        before, after = self.events[start], self.events[end]
        if before is None or after is None:
            return cudaError_t.cudaErrorNotReady, None
        return OK, 1e3 * (after - before)

    def cudaStreamBeginCapture(self, stream: int, mode: cudaStreamCaptureMode) -> tuple[Any, ...]:
        status = self._enter("cudaStreamBeginCapture")
        assert mode == cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        if self.streams[stream]:
            # not CUDA's rule, but this runner's: what is pending is not what was warmed up
            status = cudaError_t.cudaErrorInvalidValue
        self.captures[stream], self.capturing_thread[stream] = [], get_ident()
        return (status,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        status = self._enter("cudaStreamEndCapture", in_capture=True)
        assert self.capturing_thread.pop(stream) == get_ident(), "ended by another thread"
        recorded = self.captures.pop(stream)
        if recorded is None:
            return cudaError_t.cudaErrorStreamCaptureInvalidated, None
        handle = next(self._handles)
        self.graphs[handle] = recorded
        return status, handle

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        status = self._enter("cudaGraphInstantiate")
        assert flags == 0
        handle = next(self._handles)
        self.executables[handle] = list(self.graphs[graph])
        return status, handle

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Any, ...]:
        status = self._enter("cudaGraphLaunch", in_capture=True)
        if status != OK:
            return (status,)
        work = self.executables[graph]

        def replay() -> None:
            for one in work:
                one()

        return (self.enqueue(stream, replay),)
