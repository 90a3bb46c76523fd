"""Errors that a user can act on; each class carries its exit code for the command line."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path

from .terminal import cut, shown

#: maximum length of a quoted value in a message, in characters
_QUOTED = 60
#: a repr that stops at deep nesting and circular references
_NESTED = reprlib.Repr()
#: a command-line option in a message; not a dash inside a word or a file name
_OPTION = re.compile(r"(?<![\w./-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?![\w./-])")


class SsdSmallError(Exception):
    """One line that says what was received, what was expected and what to do.

    Messages name the options of the command line (``--num-classes``); ``str()`` of the exception
    names the Python arguments instead (``num_classes``).

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
        """The line with command-line options, without the details."""
        return str(self.args[0])

    @property
    def command_line(self) -> str:
        """Message and details with command-line options."""
        return "\n".join((self.message, *self.details))

    def __str__(self) -> str:
        return _OPTION.sub(lambda found: found[1].replace("-", "_"), self.command_line)


class CheckFailed(SsdSmallError):
    """A check the user asked for did not hold (parity, ``--min-map``): exit 1."""

    exit_code = 1


class Diverged(SsdSmallError):
    """A training run has diverged (infinite or NaN loss): exit 1."""

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
        path: the file, if the operating system refused to write it.
    """

    path: Path | None = None


class Note(UserWarning):
    """Something the user should know but that stops nothing; the command line prints a note."""


def quoted(value: object) -> str:
    """A value as shown in a message: on one line, cut, with terminal control codes escaped."""
    # converting an integer of many digits to text is slow, or refused
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "a huge number"
    inside = isinstance(value, (dict, list, tuple))
    # of a long text, look only at the part that could be shown
    value = value[: 2 * _QUOTED] if isinstance(value, str | bytes) else value
    text = shown(" ".join((_NESTED.repr(value) if inside else repr(value)).split()))
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}..."


class Ended(KeyboardInterrupt):
    """A signal that ends the command, as Ctrl-C does.

    Attributes:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def reason_from_exception(error: BaseException) -> str:
    """The first line of a library's exception, shortened, to go into a one-line message.

    Compiled libraries continue with locations in their own sources, or quote the file.
    """
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except Exception:  # a message made from a file's bytes may not be valid text
        lines = []
    return cut(shown(lines[0] if lines else type(error).__name__), 300)
