"""Transfer of arrays between processes, in unnamed memory that does not need /dev/shm.

Torch itself uses /dev/shm, which is limited to 64 MB in containers by default. The other usual way,
the pipe of a queue, is not only slow: it takes 64 kB at a time, so that a process that is killed
can leave half an array in it, and the reader waits for the other half forever.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from multiprocessing import reduction
from typing import Any

import numpy as np
import numpy.typing as npt

#: alignment of each array in bytes, enough for any type and vector instruction
_ALIGNMENT = 64


class SentArrays:
    """Arrays that the creating process passes to the process that this object is sent to.

    Only a small object is pickled: on arrival, the receiver is given the open file itself, which
    works once. A file that nobody received vanishes with the process that wrote it.

    Raises:
        OSError: there is not enough memory for the arrays.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        self._layout: list[tuple[int, tuple[int, ...], str]] = []
        self._arrays: list[npt.NDArray[Any]] | OSError | EOFError = [*arrays]
        end = 0
        file = _unnamed_file()
        try:
            for array in arrays:
                self._layout.append((end, array.shape, array.dtype.str))
                # if memory runs out, a write raises an error; a mapping would cause a signal
                _write(file, np.ascontiguousarray(array), end)
                end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
            os.ftruncate(file, max(end, 1))
            self._file = reduction.DupFd(file)
        finally:
            os.close(file)

    def __getstate__(self) -> tuple[Any, ...]:
        return self._file, self._layout

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._file, self._layout = state
        try:
            # received now, since the sender may have ended later
            self._arrays = self._received()
        except (OSError, EOFError) as error:
            # raised when the arrays are requested: raised here, it would be an error of the queue;
            # without traceback, whose frames would keep the queue alive
            self._arrays = error.with_traceback(None)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The arrays; those received are in memory of their own and may be modified.

        Raises:
            OSError, EOFError: the process that sent them had ended before they were received.
        """
        if isinstance(self._arrays, Exception):
            raise self._arrays
        return self._arrays

    def _received(self) -> list[npt.NDArray[Any]]:
        file = self._file.detach()
        try:
            memory = mmap.mmap(file, 0)
        finally:
            os.close(file)
        return [
            np.ndarray(shape, dtype, buffer=memory, offset=offset)
            for offset, shape, dtype in self._layout
        ]


def _unnamed_file() -> int:
    """Open memory as a file or, if the system does not support this, a deleted file."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ssd-small")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(file: int, array: npt.NDArray[Any], offset: int) -> None:
    rest = memoryview(array.reshape(-1).view(np.uint8).data)
    while rest.nbytes:
        done = os.pwrite(file, rest, offset)
        rest, offset = rest[done:], offset + done
