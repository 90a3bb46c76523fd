"""Arrays on their way between two processes, in memory that has no name and needs no /dev/shm.

Torch's own way is /dev/shm, of which containers have 64 MB unless told otherwise. The other usual
one, through the pipe of a queue, is worse than slow: the pipe takes 64 kB at a time, so a process
that is killed leaves half an array in it, and whoever reads waits for the other half without end.
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

#: bytes between two starts: what any type and vector instruction is content with
_ALIGNMENT = 64


class SentArrays:
    """Arrays that the process which made this hands to the one that it is sent to.

    It travels small: the other process is given the open file itself, as soon as this arrives
    there, once. A file that nobody received goes with the process that wrote it.

    Raises:
        OSError: there is no memory for them.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        self._layout: list[tuple[int, tuple[int, ...], str]] = []
        self._arrays: list[npt.NDArray[Any]] | OSError | EOFError = [*arrays]
        end = 0
        file = _unnamed_file()
        try:
            for array in arrays:
                self._layout.append((end, array.shape, array.dtype.str))
                # where memory ends a write is an error; the same through a mapping is a signal
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
            # not later: the sender may be gone by then
            self._arrays = self._received()
        except (OSError, EOFError) as error:
            # told to who asks for the arrays: raised here it would be the queue's error; and its
            # frames would keep the queue
            self._arrays = error.with_traceback(None)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The arrays; received ones lie in memory of their own, to be written to.

        Raises:
            OSError, EOFError: the process that sent them was gone.
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
    """Memory as a file; where the system has none such, a file that is removed already."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ssd-small")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(file: int, array: npt.NDArray[Any], offset: int) -> None:
    rest = memoryview(array.reshape(-1).view(np.uint8).data)
    while rest.nbytes:
        done = os.pwrite(file, rest, offset)
        rest, offset = rest[done:], offset + done
