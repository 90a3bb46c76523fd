"""Keeps what C libraries print while they decode a picture off standard error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes


class _CStandardError:
    """C's ``stderr``, to which libraries print that decode pictures.

    The variable of the C library is changed, not file descriptor 2, since our own messages, those
    of child processes and threads, and those with which the C and C++ runtimes end a process go to
    the descriptor and must not be lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._own: int | None = None
        self._null: int | None = None
        self.may_be_muted = False

    def mute(self) -> None:
        """Mute the stream until :meth:`unmute` has been called as often."""
        with self._lock:
            self._users += 1
            variable = self._variable() if self._users == 1 else None
            if variable is not None and self._null:
                self._own, variable.value = variable.value, self._null

    def unmute(self) -> None:
        """Undo one call of :meth:`mute`."""
        with self._lock:
            self._users -= 1
            variable = self._variable() if self._users == 0 and self._own else None
            if variable is not None:
                self._own, variable.value = None, self._own

    def _variable(self) -> ctypes.c_void_p | None:
        """The C library's variable for the stream; None if it is a constant (musl)."""
        import ctypes

        try:
            library = ctypes.CDLL(None)
            library.gnu_get_libc_version  # noqa: B018  (an AttributeError elsewhere)
            variable = ctypes.c_void_p.in_dll(library, "stderr")
            if self._null is None:
                library.fopen.restype = ctypes.c_void_p
                self._null = library.fopen(os.fsencode(os.devnull), b"we")
        except (AttributeError, OSError, ValueError):
            return None
        return variable


_c_standard_error = _CStandardError()


def mute_picture_libraries() -> None:
    """Enable :func:`without_remarks`; only for programs that own the whole process."""
    _c_standard_error.may_be_muted = True


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep what C libraries print while they decode a picture off standard error.

    libpng, libjpeg and libtiff print lines about a damaged picture that the error that follows says
    better. Works in several threads at once, but only after :func:`mute_picture_libraries`, which
    the command line calls: the variable belongs to the whole process.
    """
    if not _c_standard_error.may_be_muted:
        yield
        return
    _c_standard_error.mute()
    try:
        yield
    finally:
        _c_standard_error.unmute()
