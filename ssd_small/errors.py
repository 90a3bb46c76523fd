"""Errors a user can act on; each class carries the exit code of the command line."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path

from .terminal import cut, shown

#: most characters of a value in a message
_QUOTED = 60
#: cuts before it goes deep, or round in circles
_NESTED = reprlib.Repr()
#: an option of the command line in a message; not a dash inside a word or a file's name
_OPTION = re.compile(r"(?<![\w./-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?![\w./-])")


class SsdSmallError(Exception):
    """One line that says what was received, what was expected and what to do.

    Messages are written with the options of the command line (``--num-classes``); who catches one
    in Python reads the arguments' names instead (``num_classes``).

    Args:
        message: the line.
        details: lines that follow it, such as every key that differs.
    """

    exit_code = 1

    def __init__(self, message: object = "", *details: str) -> None:
        super().__init__(message, *details)

    @property
    def details(self) -> tuple[str, ...]:
        """The lines that follow the message."""
        return self.args[1:]

    @property
    def message(self) -> str:
        """The line for somebody who types options, without the details."""
        return str(self.args[0])

    @property
    def command_line(self) -> str:
        """Message and details for somebody who types options."""
        return "\n".join((self.message, *self.details))

    def __str__(self) -> str:
        return _OPTION.sub(lambda found: found[1].replace("-", "_"), self.command_line)


class CheckFailed(SsdSmallError):
    """A check the user asked for did not hold (parity, ``--min-map``): exit 1."""

    exit_code = 1


class Diverged(SsdSmallError):
    """A training run has left the numbers (infinite or NaN loss): exit 1."""

    exit_code = 1


class UsageError(SsdSmallError, ValueError):
    """An argument is wrong: exit 2."""

    exit_code = 2


class MissingRequirement(SsdSmallError):
    """A package, library or piece of hardware is missing: exit 3."""

    exit_code = 3


class BadFile(SsdSmallError):
    """A file cannot be read, written or understood: exit 4."""

    exit_code = 4


class OutputError(BadFile):
    """A file cannot be written (permission, full disk): exit 4.

    Attributes:
        path: the file, where the system refused it.
    """

    path: Path | None = None


class Note(UserWarning):
    """What a user should know although it stops nothing; the command line prints it as a note."""


def quoted(value: object) -> str:
    """A value as a message shows it: on one line, cut, without what a terminal would obey."""
    # a whole number of many digits takes long to be written out, or is refused
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "a huge number"
    inside = isinstance(value, (dict, list, tuple))
    # of a long text no more is looked at than is shown
    value = value[: 2 * _QUOTED] if isinstance(value, str | bytes) else value
    text = shown(" ".join((_NESTED.repr(value) if inside else repr(value)).split()))
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}..."


class Ended(KeyboardInterrupt):
    """A signal ends the command, as Ctrl-C does.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def reason_from_exception(error: BaseException) -> str:
    """What an exception of a library says, as part of one line: its first line, cut.

    Messages of compiled libraries go on with places in their own sources, or quote the file.
    """
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except Exception:  # text that is none, in a message made of a file's bytes
        lines = []
    return cut(shown(lines[0] if lines else type(error).__name__), 300)
