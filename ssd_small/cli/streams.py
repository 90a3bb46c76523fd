"""Standard output and error: their loss changes no verdict, and a terminal shows what they say."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

from ..terminal import shown

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Tolerant(io.FileIO):
    """A standard stream of this process; what it does not take is lost without an exception.

    A command that stopped here would not find out that its check fails, and a message that is
    lost would take the place of the exit code that it explains.
    """

    def __init__(self, number: int, tolerated: type[OSError]) -> None:
        super().__init__(number, "w", closefd=False)
        self._tolerated, self.has_lost = tolerated, False

    def write(self, content: ReadableBuffer, /) -> int:
        """Bytes written, or thrown away."""
        try:
            return super().write(content)
        except self._tolerated:
            self.has_lost = True
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


def has_lost_reader() -> bool:
    """Whether nobody reads standard output any more, as was seen when something was written."""
    raw = _raw(getattr(sys.stdout, "unguarded", sys.stdout))
    return isinstance(raw, _Tolerant) and raw.has_lost


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


class ShownText(io.TextIOBase):
    """A text stream that escapes what a terminal would obey; lines and tabs stay.

    Everything that a command says passes here, so that no text from a file or a library is
    forgotten. It has no ``buffer``, past which bytes would go.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str, /) -> int:
        """Characters taken, as they were before they were escaped."""
        self.unguarded.write(shown(text, keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if not self.unguarded.closed:
            self.unguarded.flush()

    def close(self) -> None:
        """Leave the stream to whom it belongs."""

    def fileno(self) -> int:
        """Of the stream."""
        return self.unguarded.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.unguarded.isatty()

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self.unguarded.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters that the encoding lacks."""
        return self.unguarded.errors


@contextmanager
def shown_streams() -> Iterator[None]:
    """Guard standard output and standard error by :class:`ShownText`."""
    before = sys.stdout, sys.stderr
    guards = tuple(cast(TextIO, ShownText(stream)) for stream in before)
    sys.stdout, sys.stderr = guards
    try:
        yield
    finally:
        # who has put another stream there since then keeps it
        if (sys.stdout, sys.stderr) == guards:
            for guard in guards:
                guard.flush()
            sys.stdout, sys.stderr = before
