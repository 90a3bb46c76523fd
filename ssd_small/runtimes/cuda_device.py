"""The few CUDA calls that a runner needs, through cuda-python or pycuda.

Everything that crosses this interface is a plain integer: device pointers, host pointers, stream
and graph handles. Pointers and streams of torch or any other library can therefore be used.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import MissingRequirement, UsageError
from ..system.gpu import gpus
from .device_events import CudaPythonEvents, DeviceEvents, PyCudaEvents

#: environment variable that names the package to use: cuda-python or pycuda
ENVIRONMENT = "SSD_SMALL_CUDA"
_MODULES = {"cuda-python": "cuda.bindings.runtime", "pycuda": "pycuda.driver"}


class GpuError(MissingRequirement):
    """The GPU or its driver failed."""


class OutOfGpuMemory(GpuError):
    """The GPU does not have enough free memory."""


class CudaDevice(Protocol):
    """One GPU. Sizes are in bytes; all calls except copies and launches are synchronous."""

    #: package and GPU, for messages
    name: str
    #: whether work can be captured in graphs
    can_capture: bool

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the calling thread's current GPU for the duration of the block.

        Afterwards the thread's previous GPU is current again.

        Raises:
            GpuError: the GPU can no longer be used.
        """
        yield

    def allocate(self, size: int) -> int:
        """Allocate device memory and return its pointer."""
        ...

    def free(self, pointer: int) -> None:
        """Free device memory."""

    def allocate_pinned(self, size: int) -> int:
        """Allocate page-locked host memory, needed for asynchronous copies; return its pointer."""
        ...

    def free_pinned(self, pointer: int) -> None:
        """Free page-locked host memory."""

    def create_stream(self) -> int:
        """Create a stream that does not wait for the default stream."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""

    def synchronize(self, stream: int) -> None:
        """Wait for everything enqueued on a stream."""

    def upload(self, device: int, host: int, size: int, stream: int) -> None:
        """Enqueue a copy to the GPU."""

    def download(self, host: int, device: int, size: int, stream: int) -> None:
        """Enqueue a copy from the GPU."""

    def begin_capture(self, stream: int) -> None:
        """Start recording what is enqueued on the stream instead of executing it."""

    def end_capture(self, stream: int) -> int:
        """End the recording and return it as a graph that can be launched."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph."""

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""

    def events(self, number: int) -> DeviceEvents:
        """Create this number of events for timing."""
        ...


def open_device(index: int = 0, package: str | None = None) -> CudaDevice:
    """Open GPU ``index`` through ``package``, else SSD_SMALL_CUDA, else the first one installed.

    Raises:
        MissingRequirement: there is no driver or no such GPU, or the package is not installed.
        UsageError: the package is not known.
    """
    found = gpus()
    if index >= len(found.devices):
        reason = found.fault or f"there are {len(found.devices)} GPUs, numbered from 0"
        raise MissingRequirement(
            f"GPU {index} cannot be used: {reason}; run on a machine with an NVIDIA GPU and "
            "driver, or build an engine with --target onnxruntime, which runs on the CPU"
        )
    chosen = package or os.environ.get(ENVIRONMENT)
    if chosen is not None and chosen not in _MODULES:
        raise UsageError(f"{ENVIRONMENT}={chosen}: expected {' or '.join(_MODULES)}")
    for name in (chosen,) if chosen else _MODULES:
        try:
            module = importlib.import_module(_MODULES[name])
        except ImportError:
            continue
        return (_PythonCuda if name == "cuda-python" else _PyCuda)(module, index)
    raise MissingRequirement(
        f"running TensorRT engines needs {chosen or ' or '.join(_MODULES)}, which is not "
        f"installed; run: pip install {chosen or 'cuda-python'}"
    )


def host_array(pointer: int, size: int) -> npt.NDArray[np.uint8]:
    """View host memory at an address as an array of bytes; the array does not own the memory."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))


class _PythonCuda:
    """:class:`CudaDevice` through ``cuda.bindings.runtime`` of cuda-python."""

    can_capture = True

    def __init__(self, runtime: Any, index: int = 0) -> None:
        self._cuda, self._index = runtime, index
        self.name = f"cuda-python, GPU {index}"
        # once here, so that opening fails if the GPU cannot be used
        with self.active():
            pass

    @contextmanager
    def active(self) -> Iterator[None]:
        callers = int(self._call("cudaGetDevice"))
        self._call("cudaSetDevice", self._index)
        try:
            yield
        finally:
            if callers != self._index:
                # a GPU lost in the meantime has already been reported
                with suppress(GpuError):
                    self._call("cudaSetDevice", callers)

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def allocate_pinned(self, size: int) -> int:
        return int(self._call("cudaMallocHost", size))

    def free_pinned(self, pointer: int) -> None:
        self._call("cudaFreeHost", pointer)

    def create_stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def upload(self, device: int, host: int, size: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, size, kind, stream)

    def download(self, host: int, device: int, size: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, size, kind, stream)

    def begin_capture(self, stream: int) -> None:
        # thread-local: allocations in other threads must not affect this capture
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def events(self, number: int) -> DeviceEvents:
        return CudaPythonEvents(self._call, self._cuda.cudaEventRecordExternal, number)

    def _call(self, function: str, *arguments: Any) -> Any:
        status, *values = getattr(self._cuda, function)(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            text = self._cuda.cudaGetErrorString(status)[1].decode()
            out_of_memory = status == self._cuda.cudaError_t.cudaErrorMemoryAllocation
            raise _error(function, f"{text} (CUDA error {int(status)})", out_of_memory)
        return values[0] if values else None


class _PyCuda:
    """:class:`CudaDevice` through ``pycuda.driver``, which has no graphs (2026.1)."""

    can_capture = False

    def __init__(self, driver: Any, index: int = 0) -> None:
        self._cuda = driver
        self.name = f"pycuda, GPU {index}"
        with self._errors("init"):
            driver.init()
            # the context that TensorRT, torch and the CUDA runtime share
            self._context = driver.Device(index).retain_primary_context()
        self._owned: dict[int, Any] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        with self._errors("push"):
            self._context.push()
        try:
            yield
        finally:
            # a GPU lost in the meantime has already been reported
            with suppress(self._cuda.Error):
                self._context.pop()

    def allocate(self, size: int) -> int:
        with self._errors("mem_alloc"):
            return self._own(memory := self._cuda.mem_alloc(size), int(memory))

    def free(self, pointer: int) -> None:
        with self._errors("free"):
            self._owned.pop(pointer).free()

    def allocate_pinned(self, size: int) -> int:
        with self._errors("pagelocked_empty"):
            array = self._cuda.pagelocked_empty(size, np.uint8)
        return self._own(array, array.ctypes.data)

    def free_pinned(self, pointer: int) -> None:
        with self._errors("free"):
            self._owned.pop(pointer).base.free()

    def create_stream(self) -> int:
        with self._errors("Stream"):
            return self._own(stream := self._cuda.Stream(1), int(stream.handle))

    def destroy_stream(self, stream: int) -> None:
        self._owned.pop(stream)

    def synchronize(self, stream: int) -> None:
        with self._errors("synchronize"):
            self._owned[stream].synchronize()

    def upload(self, device: int, host: int, size: int, stream: int) -> None:
        with self._errors("memcpy_htod_async"):
            self._cuda.memcpy_htod_async(device, host_array(host, size), self._owned[stream])

    def download(self, host: int, device: int, size: int, stream: int) -> None:
        with self._errors("memcpy_dtoh_async"):
            self._cuda.memcpy_dtoh_async(host_array(host, size), device, self._owned[stream])

    def begin_capture(self, stream: int) -> None:
        raise GpuError("pycuda cannot capture graphs; run: pip install cuda-python")

    def end_capture(self, stream: int) -> int:
        raise GpuError("pycuda cannot capture graphs; run: pip install cuda-python")

    def launch(self, graph: int, stream: int) -> None:
        raise GpuError("pycuda cannot launch graphs; run: pip install cuda-python")

    def destroy_graph(self, graph: int) -> None:
        raise GpuError("pycuda has no graphs; run: pip install cuda-python")

    def events(self, number: int) -> DeviceEvents:
        return PyCudaEvents(self._cuda, self._owned, self._errors, number)

    def _own(self, thing: Any, handle: int) -> int:
        self._owned[handle] = thing
        return handle

    @contextmanager
    def _errors(self, function: str) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise _error(function, str(error), isinstance(error, self._cuda.MemoryError)) from error


def _error(function: str, reason: str, out_of_memory: bool) -> GpuError:
    if out_of_memory:
        return OutOfGpuMemory(
            f"out of GPU memory ({function}); free some, or build the engine with a smaller "
            "--max-batch"
        )
    return GpuError(
        f"{function} failed: {reason}; if it happens again, see 'nvidia-smi' for the state of "
        "the GPU"
    )
