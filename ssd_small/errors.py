"""Errors a user can act on; each class carries the exit code of the command line."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path

#: most characters of a value in a message
_QUOTED = 60
#: characters that move a terminal's cursor, colour it, end lines or turn the direction of writing:
#: C0, DEL, C1, bidirectional marks, line and paragraph separators; and bytes that are no text,
#: which some encodings hand on as they came (0x9B starts a sequence)
_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: longest names that Linux has for a file and for a path; longer words are no names
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
#: characters of a line on the terminal apart from its long paths, of which no message has more
_LONGEST_LINE, _MOST_PATHS = 1000, 3
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


def shown(text: str, *, keep: str = "") -> str:
    """A text from a file, a name or a library as a terminal may show it.

    Characters that a terminal obeys instead of showing them are escaped, those that end a line as
    well; ``keep`` are exceptions. The escapes are JSON's, so JSON stays the same JSON.
    """
    return _UNSEEN.sub(
        lambda found: (
            found[0] if found[0] in keep else _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}"
        ),
        text,
    )


def one_line(text: str) -> str:
    """A message as one line of bounded length for a terminal; paths stay whole.

    Words that are longer than a name or path can be are cut in their middle.
    """
    words = [_cut_word(word) for word in re.split("(\\s+)", shown(text, keep="\t"))]
    line = "".join(words)
    paths = sum(len(word) for word in words if len(word) > _LONGEST_NAME)
    return _cut(line, _LONGEST_LINE + min(paths, _MOST_PATHS * _LONGEST_PATH))


def _cut_word(word: str) -> str:
    # a byte of a name is shown by six characters at most
    is_path = "/" in word and all(len(name) <= 6 * _LONGEST_NAME for name in word.split("/"))
    return _cut(word, _LONGEST_PATH if is_path else _LONGEST_NAME)


def _cut(text: str, most: int) -> str:
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def reason_from_exception(error: BaseException) -> str:
    """What an exception of a library says, as part of one line: its first line, cut.

    Messages of compiled libraries go on with places in their own sources, or quote the file.
    """
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except Exception:  # text that is none, in a message made of a file's bytes
        lines = []
    return _cut(shown(lines[0] if lines else type(error).__name__), 300)
