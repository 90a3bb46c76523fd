"""Files that can be regenerated, kept in the user's cache folder.

An entry is a folder that is prepared elsewhere in the cache and then renamed, so it is there whole
or not at all; if two processes make the same entry, the first to finish wins. Faults of the cache
do not end the work: what cannot be kept is made for this process alone, and a note says why.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..errors import BadFile, Note, OutputError
from .temporary import temporary_folder

_Opened = TypeVar("_Opened")


def cache_folder() -> Path:
    """``ssd-small`` in ``$XDG_CACHE_HOME``, else in ``~/.cache`` (XDG Base Directory, 0.8).

    Raises:
        OSError: the user's home folder is unknown.
    """
    # the specification says to ignore relative paths
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if told.is_absolute():
        return told / "ssd-small"
    try:
        return Path.home() / ".cache" / "ssd-small"
    except RuntimeError as error:
        raise OSError(None, str(error)) from error


def opened_from_cache(
    key: str,
    make: Callable[[Path], None],
    opened: Callable[[Path], _Opened],
    most_bytes: int,
) -> _Opened:
    """Open an entry, and make it first if it is absent or damaged.

    Args:
        key: name of the entry, which must cover everything that it depends on.
        make: writes its files into an empty folder.
        opened: opens them there and does not need the folder afterwards; BadFile if damaged.
        most_bytes: limit for all entries; the least recently opened ones are removed.
    """
    try:
        folder = cache_folder()
        folder.mkdir(0o700, parents=True, exist_ok=True)
        entry = folder / key
        if entry.is_dir():
            with suppress(BadFile):
                found = opened(entry)
                with suppress(OSError):
                    os.utime(entry)
                return found
            shutil.rmtree(entry, ignore_errors=True)
        elif os.path.lexists(entry):  # not an entry of ours, and in the way of one
            entry.unlink()
        with temporary_folder(beside=folder) as made:
            make(made)
            found = opened(made)
            _keep(made, entry, most_bytes)
        return found
    except (OSError, OutputError) as error:
        reason = getattr(error, "strerror", None) or error
        where = getattr(error, "filename", None)
        told = f"{reason}: {where}" if where else reason
        advice = "set XDG_CACHE_HOME to another"
        warnings.warn(Note(f"the cache folder cannot be used ({told}); {advice}"), stacklevel=2)
        return opened_once(make, opened)


def opened_once(make: Callable[[Path], None], opened: Callable[[Path], _Opened]) -> _Opened:
    """Like :func:`opened_from_cache`, but without a cache."""
    with temporary_folder() as made:
        make(made)
        return opened(made)


def _keep(made: Path, entry: Path, most_bytes: int) -> None:
    """Give an entry its name, unless another process has made it by now, and make room for it."""
    try:
        os.rename(made, entry)
    except OSError:
        if not entry.is_dir():
            raise
        return
    # if another process removes entries meanwhile, that makes room as well and is not an error
    with suppress(OSError):
        _make_room(entry, most_bytes)


def _make_room(entry: Path, most_bytes: int) -> None:
    """Remove the least recently opened entries beyond the limit, but not this one."""
    others = [one for one in entry.parent.iterdir() if one.name[0] != "." and one.is_dir()]
    by_age = sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)
    room = most_bytes - _size(entry)
    for one in by_age:
        if one != entry:
            room -= _size(one)
            if room < 0:
                shutil.rmtree(one, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.iterdir())
