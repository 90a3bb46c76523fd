"""Which CUDA package a runner takes, and pycuda's calls on a stand-in; no GPU, not executed here.

pycuda is not installed where these tests run: that its own functions are called so is read from
its sources (test_pycuda_sources.py), not executed.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
from cuda_double import Cuda

from ssd_small.errors import MissingRequirement, UsageError
from ssd_small.runtimes import cuda_device
from ssd_small.runtimes.cuda_device import (
    GpuError,
    OutOfGpuMemory,
    _PyCuda,
    _PythonCuda,
    open_device,
)
from ssd_small.system.gpu import Gpu, Gpus


class _Context:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def push(self) -> None:
        self._called("push", "cuCtxPushCurrent")

    def pop(self) -> None:
        self._called("pop", "cuCtxPopCurrent")

    def _called(self, name: str, function: str) -> None:
        self._driver.calls.append(name)
        if self._driver.lost:
            raise self._driver.Error(f"{function} failed: device lost")


class _Memory:
    """Device memory, or the owner of a page-locked array."""

    def __init__(self, driver: Driver, address: int) -> None:
        self._driver, self._address = driver, address
        driver.live.add(address)

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._driver.live.remove(self._address)


class _Pinned(np.ndarray):
    owner: _Memory

    @property
    def base(self) -> Any:  # type: ignore[override]
        return self.owner


class _Event:
    """Has a time in milliseconds once it was recorded."""

    def __init__(self, driver: Driver) -> None:
        self._driver, self._at = driver, float("nan")

    def record(self, stream: Any) -> None:
        self._driver.calls.append(f"record {stream.handle:#x}")
        self._driver.clock += 500
        self._at = self._driver.clock

    def time_till(self, other: _Event) -> float:
        if self._driver.lost:
            raise self._driver.Error("cuEventElapsedTime failed: device lost")
        return other._at - self._at


class Driver(types.SimpleNamespace):
    """What of ``pycuda.driver`` is used; another name is an AttributeError."""

    class Error(Exception):
        pass

    class MemoryError(Error):
        pass

    def __init__(self) -> None:
        super().__init__(calls=[], live=set(), full=False, lost=False, clock=0.0)

    def init(self) -> None:
        self.calls.append("init")

    def Device(self, index: int) -> Any:  # noqa: N802
        assert index == 0
        return types.SimpleNamespace(retain_primary_context=lambda: _Context(self))

    def Stream(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1  # CU_STREAM_NON_BLOCKING
        return types.SimpleNamespace(handle=0x500, synchronize=self._synchronize)

    def _synchronize(self) -> None:
        self.calls.append("synchronize")
        if self.lost:
            raise self.Error("cuStreamSynchronize failed: device lost")

    def Event(self) -> _Event:  # noqa: N802
        return _Event(self)

    def mem_alloc(self, size: int) -> _Memory:
        if self.full:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        return _Memory(self, 0x9000)

    def pagelocked_empty(self, shape: int, dtype: Any) -> np.ndarray:
        array = np.empty(shape, dtype).view(_Pinned)
        array.owner = _Memory(self, array.ctypes.data)
        return array

    def memcpy_htod_async(self, dest: int, src: np.ndarray, stream: Any) -> None:
        self.calls.append(f"up {dest:#x} {src.tobytes()!r} {stream.handle:#x}")

    def memcpy_dtoh_async(self, dest: np.ndarray, src: int, stream: Any) -> None:
        self.calls.append(f"down {src:#x} {stream.handle:#x}")
        dest[:] = 7


def test_pycuda_copies_between_the_pointers_it_gave_and_frees_them() -> None:
    driver = Driver()
    device = _PyCuda(driver)
    with device.active():
        stream, memory, host = (
            device.create_stream(),
            device.allocate(3),
            device.allocate_pinned(3),
        )
        array = cuda_device.host_array(host, 3)
        array[:] = [1, 2, 3]
        device.upload(memory, host, 3, stream)
        device.download(host, memory, 3, stream)
        device.synchronize(stream)
        assert array.tolist() == [7, 7, 7]
        assert driver.live == {memory, host}
        device.free(memory)
        device.free_pinned(host)
        device.destroy_stream(stream)
    assert not driver.live
    assert driver.calls == [
        *("init", "push"),
        *("up 0x9000 b'\\x01\\x02\\x03' 0x500", "down 0x9000 0x500", "synchronize", "pop"),
    ]


def test_pycuda_s_events_time_a_stream() -> None:
    driver = Driver()
    device = _PyCuda(driver)
    stream, events = device.create_stream(), device.events(3)
    for place in range(3):
        events.record(place, stream)
    assert events.seconds() == [0.5, 0.5]
    assert driver.calls[-3:] == ["record 0x500"] * 3
    driver.lost = True
    with pytest.raises(GpuError, match="time_till failed: cuEventElapsedTime failed: device lost"):
        events.seconds()
    events.close()
    assert events.seconds() == []


def test_pycuda_s_errors_are_ours() -> None:
    driver = Driver()
    device = _PyCuda(driver)
    driver.full = driver.lost = True
    with pytest.raises(OutOfGpuMemory, match=r"out of GPU memory \(mem_alloc\)"):
        device.allocate(1)
    stream = device.create_stream()
    with pytest.raises(GpuError, match="synchronize failed: cuStreamSynchronize failed"):
        device.synchronize(stream)
    assert not device.can_capture
    for call in (device.begin_capture, device.end_capture, device.destroy_graph):
        with pytest.raises(GpuError, match="pip install cuda-python"):
            call(stream)


def test_pycuda_s_context_of_a_lost_gpu_is_our_error_too() -> None:
    driver = Driver()
    device = _PyCuda(driver)
    with device.active():
        driver.lost = True  # what is underway says so itself, and not the end of the block
    with pytest.raises(GpuError, match="push failed: cuCtxPushCurrent failed"), device.active():
        pytest.fail("not to be reached")


def test_the_device_of_the_calling_thread_is_put_back() -> None:
    cuda = Cuda()
    cuda.devices = 3
    cuda.cudaSetDevice(2)
    device = _PythonCuda(cuda, 1)
    assert cuda.cudaGetDevice()[1] == 2
    with device.active():
        assert cuda.cudaGetDevice()[1] == 1
    assert cuda.cudaGetDevice()[1] == 2
    with pytest.raises(GpuError), device.active():
        device.free(1)
    assert cuda.cudaGetDevice()[1] == 2


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Function: which of the two packages are installed, on a machine with one GPU."""
    monkeypatch.setattr(cuda_device, "gpus", lambda: Gpus((Gpu(0, "A10", "8.6", 1),), "13.0"))
    monkeypatch.delenv(cuda_device.ENVIRONMENT, raising=False)

    def install(*names: str) -> None:
        for name, module in cuda_device._MODULES.items():
            for part in (module.partition(".")[0], module.rpartition(".")[0]):
                monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
            monkeypatch.setitem(sys.modules, module, Driver() if name in names else None)
        runtime = sys.modules["cuda.bindings.runtime"]
        if runtime is not None:
            runtime.cudaError_t = types.SimpleNamespace(cudaSuccess=0)  # type: ignore[attr-defined]
            runtime.cudaGetDevice = lambda: (0, 0)  # type: ignore[attr-defined]
            runtime.cudaSetDevice = lambda index: (0,)  # type: ignore[attr-defined]

    return install


def test_cuda_python_comes_first_and_pycuda_where_it_is_alone_or_chosen(
    packages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages("cuda-python", "pycuda")
    assert open_device().name == "cuda-python, GPU 0"
    assert open_device(package="pycuda").name == "pycuda, GPU 0"
    monkeypatch.setenv(cuda_device.ENVIRONMENT, "pycuda")
    assert open_device().name == "pycuda, GPU 0"
    monkeypatch.delenv(cuda_device.ENVIRONMENT)
    packages("pycuda")
    assert open_device().name == "pycuda, GPU 0"
    with pytest.raises(MissingRequirement, match="needs cuda-python, which is not installed; run"):
        open_device(package="cuda-python")
    packages()
    with pytest.raises(MissingRequirement, match="needs cuda-python or pycuda, which is not"):
        open_device()
    monkeypatch.setenv(cuda_device.ENVIRONMENT, "cupy")
    with pytest.raises(UsageError, match="SSD_SMALL_CUDA=cupy: expected cuda-python or pycuda"):
        open_device()
