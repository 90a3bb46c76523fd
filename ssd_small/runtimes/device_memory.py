"""Memory on a GPU and page-locked host memory, freed together."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .cuda_device import CudaDevice, GpuError, host_array


@dataclass(frozen=True, eq=False)
class Tensor:
    """Memory for one input or output, for the largest batch.

    Attributes:
        row: bytes per image.
        device, host: addresses; host memory is page-locked.
        array: the host memory, ``[max_batch, ...]``.
    """

    row: int
    device: int
    host: int
    array: npt.NDArray[Any]

    def first(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """View the beginning of the host memory as an array of another shape."""
        return self.array.reshape(-1)[: math.prod(shape)].reshape(shape)


class DeviceMemory:
    """Keeps track of allocations and frees them all at once. Sizes are in bytes."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._given: list[tuple[Callable[[int], None], int]] = []

    def block(self, size: int) -> int:
        """Allocate device memory and return its pointer."""
        pointer = self._device.allocate(size)
        self._given.append((self._device.free, pointer))
        return pointer

    def tensor(self, max_batch: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Tensor:
        """Allocate device and host memory for ``[max_batch, *shape]``."""
        kind = np.dtype(dtype)
        row = math.prod(shape) * kind.itemsize
        size = row * max_batch
        device = self.block(size)
        host = self._device.allocate_pinned(size)
        self._given.append((self._device.free_pinned, host))
        array = host_array(host, size).view(kind).reshape(max_batch, *shape)
        return Tensor(row, device, host, array)

    def free(self) -> None:
        """Free everything; errors are ignored, as a lost GPU takes its memory with it."""
        while self._given:
            function, pointer = self._given.pop()
            with suppress(GpuError):
                function(pointer)
