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
    """Apply :func:`prepare_cpu` temporarily, then restore subnormals and torch's thread count.

    With subnormal numbers flushed to 0, decode + NMS would not compute what they promise.
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
    """Set up this process for training: flush subnormal numbers to 0 and keep freed memory.

    Args:
        threads: CPU threads of PyTorch and OpenCV; 0 leaves the choice to them.
    """
    if threads:
        torch.set_num_threads(threads)
        require("cv2", "training").setNumThreads(threads)
    # values that decay towards 0 become subnormal, which would slow down the end of a run
    torch.set_flush_denormal(True)
    _keep_memory()


def _keep_memory() -> None:
    """Keep the memory of freed tensors in the process, where the C library can (glibc).

    By default glibc returns each large block to the system, which has to clear it page by page when
    the next step needs it again: this takes about four per cent of a step of VGG16.
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
