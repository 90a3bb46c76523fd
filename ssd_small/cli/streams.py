"""Standard output and error whose loss changes no verdict."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Tolerant(io.FileIO):
    """A standard stream of this process; what it does not take is lost without an exception.

    A command that stopped here would not find out that its check fails, and a message that is
    lost would take the place of the exit code that it explains.
    """

    def __init__(self, number: int, tolerated: type[OSError]) -> None:
        super().__init__(number, "w", closefd=False)
        self._tolerated = tolerated

    def write(self, content: ReadableBuffer, /) -> int:
        """Bytes written, or thrown away."""
        try:
            return super().write(content)
        except self._tolerated:
            return memoryview(content).nbytes


def open_standard_streams() -> None:
    """Make the standard streams of this process fit for whatever became of their other ends.

    Standard output may lose its reader (``| head``): the command goes on and ends with the exit
    code that it would have had. A full disk below it stays an error, since data would be missing
    from a file. Standard error may fail in any way. A closed stream leads to the null device; the
    next file to be opened would have its number otherwise, and get what libraries print there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    sys.stdout = _stream(sys.stdout, 1, BrokenPipeError)
    sys.stderr = _stream(sys.stderr, 2, OSError)


def _stream(own: TextIO | None, number: int, tolerated: type[OSError]) -> TextIO:
    """The stream in place of Python's ``own``; one that was put in its place already stays."""
    if own is not None:
        try:
            if own.fileno() != number or isinstance(_raw(own), _Tolerant):
                return own
        except (OSError, ValueError):  # in memory, or closed
            return own
    raw = _Tolerant(number, tolerated)
    if not isinstance(own, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
    own.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        own.encoding,
        # file names that are no text are shown all the same, as standard error does by itself
        "backslashreplace" if own.errors == "strict" else own.errors,
        line_buffering=own.line_buffering or own.write_through,
    )


def _raw(stream: TextIO) -> object:
    return getattr(getattr(stream, "buffer", None), "raw", None)
