"""The NVIDIA driver and its GPUs, queried without any package: ``libcuda`` through ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        index: position in CUDA's numbering.
        name: e.g. ``"NVIDIA A10"``.
        capability: compute capability, e.g. ``"8.6"``.
        memory: bytes.
    """

    index: int
    name: str
    capability: str
    memory: int


@dataclass(frozen=True)
class Gpus:
    """What the driver reports.

    Attributes:
        devices: the GPUs it offers.
        driver: newest CUDA it supports, e.g. ``"13.0"``; None without a driver.
        fault: why there is no device; empty if there is one.
    """

    devices: tuple[Gpu, ...] = ()
    driver: str | None = None
    fault: str = ""


def gpus() -> Gpus:
    """Query the driver; never raises and never creates a CUDA context."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpus(fault="no NVIDIA driver (libcuda.so.1 cannot be loaded)")
    version = ctypes.c_int()
    driver = None
    if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
        driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    status = cuda.cuInit(0)
    if status:
        return Gpus(driver=driver, fault=f"the NVIDIA driver does not start (CUDA error {status})")
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    devices = tuple(_gpu(cuda, index) for index in range(count.value))
    return Gpus(devices, driver, "" if devices else "the NVIDIA driver offers no GPU")


def _gpu(cuda: Any, index: int) -> Gpu:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    memory = ctypes.c_size_t()
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    numbers = []
    for attribute in (_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(str(value.value))
    return Gpu(index, name.value.decode(), ".".join(numbers), memory.value)
