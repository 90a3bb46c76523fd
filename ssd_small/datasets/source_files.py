"""Find and read the files of data sets that other tools wrote."""

from __future__ import annotations

import codecs
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import BadFile
from ..files import read_bytes

#: byte order marks at the start of a text, and the encodings they denote
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: size limit of a text file: the boxes of ten million objects
_MOST_BYTES = 1 << 30


def finite_number(text: str) -> float | None:
    """The number in a text; None if it is not a finite number.

    Underscores and digits of other scripts, which Python accepts but no tool writes, are refused.
    """
    if not text.isascii() or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def files_below(folder: Path, is_wanted: Callable[[Path], bool]) -> list[Path]:
    """Wanted files in a folder and its sub-folders, sorted; links to folders are followed.

    Hidden files are skipped, as is what macOS leaves in archives (``._a.xml``, ``__MACOSX``).

    Raises:
        BadFile: a folder cannot be read.
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
    """The path of an entry in a folder; if it is absent, the only one that differs in case."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    alike = [path for path in folder.iterdir() if path.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else exact


def read_text(path: Path, expected: str) -> str:
    """Read a text file, decoded by its byte order mark, else as UTF-8.

    Raises:
        BadFile: it cannot be read or is not such text.
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
    # UTF-16 without its mark, or not text: no name of a file or class has NUL
    if "\0" in text:
        raise BadFile(f"{path} is not text (it holds NUL characters); expected {expected}")
    return text


def encoding_by_mark(content: bytes) -> str | None:
    """The encoding denoted by the byte order mark; None without one."""
    return next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)


def inside(path: Path, root: Path) -> Path:
    """A path relative to a folder, with ``..`` if it lies outside."""
    return (
        path.relative_to(root) if path.is_relative_to(root) else Path(os.path.relpath(path, root))
    )


def common_root(files: Iterable[Path], folder: Path) -> Path:
    """The root of relative file names: ``folder`` if it holds all, else their common parent."""
    found = list(files)
    if all(one.is_relative_to(folder) and ".." not in inside(one, folder).parts for one in found):
        return folder
    return Path(os.path.commonpath([os.path.abspath(one.parent) for one in found]))
