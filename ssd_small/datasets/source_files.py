"""Files of data sets that other tools wrote: which there are in a folder, and their text."""

from __future__ import annotations

import codecs
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import BadFile
from ..files import read_bytes

#: how a text begins that says its own encoding, and what that is
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: of a text file: boxes of ten million objects
_MOST_BYTES = 1 << 30


def finite_number(text: str) -> float | None:
    """The number that a text is; None for one that is none, or not finite.

    Python's underscores and digits of other scripts are no tool's.
    """
    if not text.isascii() or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def files_below(folder: Path, is_wanted: Callable[[Path], bool]) -> list[Path]:
    """Files of a folder and all below it, in order; links to folders are followed.

    Hidden ones are not taken, nor what macOS leaves in archives (``._a.xml``, ``__MACOSX``).

    Raises:
        BadFile: a folder may not be looked into.
    """
    try:
        return sorted(_walk(folder, is_wanted, frozenset()))
    except OSError as error:
        raise BadFile(
            f"cannot look into {error.filename or folder}: {error.strerror or error}; expected a "
            "folder that may be read"
        ) from error


def _walk(folder: Path, is_wanted: Callable[[Path], bool], above: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in above:  # a link that leads back
        return
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if path.is_dir():
            yield from _walk(path, is_wanted, above | {here})
        elif is_wanted(path) and path.is_file():
            yield path


def entry_in(folder: Path, name: str) -> Path:
    """What a folder holds by a name, in another case if there is one such and none of this."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    alike = [path for path in folder.iterdir() if path.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else exact


def read_text(path: Path, expected: str) -> str:
    """The text of a file: by its byte order mark, else UTF-8.

    Raises:
        BadFile: it cannot be read or is no such text.
    """
    content = read_bytes(path, expected, _MOST_BYTES)
    encoding = encoding_by_mark(content) or "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise BadFile(
            f"{path} is not {encoding.upper().removesuffix('-SIG')} text ({error}); save it as "
            "UTF-8"
        ) from error
    # UTF-16 without its mark, or no text: no name of a file or class has it
    if "\0" in text:
        raise BadFile(f"{path} is not text (it holds NUL characters); expected {expected}")
    return text


def encoding_by_mark(content: bytes) -> str | None:
    """The encoding that a byte order mark says, None without one."""
    return next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)


def inside(path: Path, root: Path) -> Path:
    """A path relative to a folder, upwards too."""
    return (
        path.relative_to(root) if path.is_relative_to(root) else Path(os.path.relpath(path, root))
    )


def common_root(files: Iterable[Path], folder: Path) -> Path:
    """The folder that file names are relative to: this one, if it holds them all."""
    found = list(files)
    if all(one.is_relative_to(folder) and ".." not in inside(one, folder).parts for one in found):
        return folder
    return Path(os.path.commonpath([os.path.abspath(one.parent) for one in found]))
