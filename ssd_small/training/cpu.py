"""Settings of the process that make training on a CPU faster."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..requirements import require

#: parameters of glibc's mallopt (malloc.h)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


@contextmanager
def training_cpu(threads: int = 0) -> Iterator[None]:
    """:func:`prepare_cpu` for a while: the thread's arithmetic and torch's threads are put back.

    What flushes subnormal numbers to 0 is not what decode + NMS promise to compute.
    """
    before = torch.get_num_threads()
    flushed = float(torch.tensor(1e-40) * 1.0) == 0.0
    prepare_cpu(threads)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(before)


def prepare_cpu(threads: int = 0) -> None:
    """Set up this process for training, for good: subnormal numbers become 0, memory stays.

    Args:
        threads: CPU threads of PyTorch and OpenCV; 0 for their own choice.
    """
    if threads:
        torch.set_num_threads(threads)
        require("cv2", "training").setNumThreads(threads)
    # numbers that decay towards 0 would otherwise slow down the end of a run
    torch.set_flush_denormal(True)
    _keep_memory()


def _keep_memory() -> None:
    """Let freed tensors stay with the process, where the C library can do that (glibc).

    It gives each large block back to the system, which hands it out again page by page, cleared:
    some four per cent of a step of VGG16. Every step needs the same blocks again.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_TOP_PAD, 64 << 20)
