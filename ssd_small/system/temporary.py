"""Temporary files and folders that do not outlive their process; leftovers are removed.

A name shows that it belongs to this package and on which machine it was made. Whether it is in use
is shown by a lock on the file or folder itself (``flock``), which the kernel releases however its
holder ends; process ids would differ in another container. POSIX locks (:mod:`.locks`) are not
suitable, since they are lost when a writer closes the file under any name.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

from ..errors import OutputError

if sys.platform != "win32":
    import fcntl

_PREFIX = "ssd-small-"
#: names include the machine; older versions omitted it, and their files count as this machine's
_NAME = re.compile(r"\.?ssd-small-(?:([0-9a-f]{8})-)?[0-9a-f]{8}\.part")
#: seconds since the last change after which another machine's files count as leftovers, since not
#: every shared folder shows its locks to all machines
_FOREIGN_AGE = 24 * 3600.0
#: a folder is scanned again after this many times the duration of the last scan
_LOOKS_APART = 50

#: advice if the temporary folder cannot be written to
_ROOM = "free space, or set TMPDIR to a folder that has some"

#: what this process has created and not yet removed
_live: set[Path] = set()
#: folder -> when it may be scanned again
_next_look: dict[str, float] = {}

if hasattr(os, "register_at_fork"):
    # a child must not remove what its parent has created
    os.register_at_fork(after_in_child=_live.clear)


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """An empty file in ``folder``, exclusive to the caller; removed at the end unless renamed.

    Leftovers of processes that have ended are removed first.

    Raises:
        OSError: no file can be created in the folder.
    """

    def make(path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        return os.open(path, flags, 0o666)

    remove_leftovers(folder)
    with _held(folder, "." + _PREFIX, make) as path:
        yield path


@contextmanager
def temporary_folder(beside: Path | None = None) -> Iterator[Path]:
    """A folder exclusive to the caller; removed at the end unless renamed.

    Leftovers of processes that have ended are removed first.

    Args:
        beside: the folder in which to create it, if it will be renamed; None for the system's
            temporary folder, where it is private to the user.

    Raises:
        OSError: no folder can be created in ``beside``.
        OutputError: there is no writable temporary folder, or a file in it cannot be written. This
            concerns TMPDIR, not the output that the user named.
    """

    def make(path: Path) -> int | None:
        path.mkdir(0o777 if beside is not None else 0o700)
        if sys.platform == "win32":  # it cannot open folders
            return None
        with suppress(FileNotFoundError):  # already removed as a leftover
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return None

    with ExitStack() as stack:
        try:
            folder = Path(tempfile.gettempdir()) if beside is None else beside
            remove_leftovers(folder)
            prefix = _PREFIX if beside is None else "." + _PREFIX
            path = stack.enter_context(_held(folder, prefix, make))
        except OSError as error:
            if beside is not None:
                raise
            where = f" {error.filename}" if error.filename else ""
            raise OutputError(
                f"cannot make a temporary folder{where}: {error.strerror or error}; {_ROOM}"
            ) from error
        if beside is not None:
            yield path
            return
        try:
            yield path
        except (OSError, OutputError) as error:
            own = error.path if isinstance(error, OutputError) else error.filename
            if own is None or path not in Path(own).parents:
                raise
            cause = error.__cause__ if isinstance(error, OutputError) else error
            raise OutputError(
                f"cannot write the temporary file {own}: "
                f"{getattr(cause, 'strerror', None) or cause}; {_ROOM}"
            ) from error


def check_temporary_folder() -> None:
    """Fail early if nothing temporary can be created; libraries report this less clearly.

    Raises:
        OutputError: there is no writable temporary folder.
    """
    with temporary_folder():
        pass


@contextmanager
def _held(folder: Path, prefix: str, make: Callable[[Path], int | None]) -> Iterator[Path]:
    """What ``make`` creates and opens, locked until the end."""
    held = False
    while not held:
        path, file = _trial_path(folder, prefix), None
        _live.add(path)
        try:
            file = make(path)
            held = sys.platform == "win32" or (file is not None and _locked(path, file))
        finally:
            if not held:
                _forget(path, file)
    if file is not None and sys.platform == "win32":
        os.close(file)  # an open file could not be renamed
        file = None
    try:
        yield path
    finally:
        _forget(path, file)


def _trial_path(folder: Path, prefix: str = "." + _PREFIX) -> Path:
    """An unused name in ``folder``; leftovers with such names are removed like the others."""
    return folder / f"{prefix}{_machine()}-{secrets.token_hex(4)}.part"


def _locked(path: Path, file: int) -> bool:
    """Lock what was just created, and return whether it is still there.

    Before it was locked, another process may have removed it as a leftover.
    """
    if sys.platform != "win32":
        # without locks, no process can tell that a file is unused, so none is removed
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def _forget(path: Path, file: int | None) -> None:
    """Remove what is left of a temporary file or folder, and unlock it."""
    _remove(path)
    _live.discard(path)
    if file is not None:
        os.close(file)


def _remove(path: Path) -> None:
    # failure does not matter: the next process in this folder tries again
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def remove_own() -> None:
    """Remove all that this process has created and not yet removed; for a process about to end."""
    for path in list(_live):
        _remove(path)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of this user in ``folder`` that no process holds.

    Files from another machine must also be a day old, and without locks in the file system nothing
    is removed. A folder is not scanned every time, since it may hold a million files.
    """
    if sys.platform == "win32":
        return
    key, begun = os.path.realpath(folder), time.monotonic()
    if begun < _next_look.get(key, 0.0):
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (match := _NAME.fullmatch(entry.name)) is not None:
                with suppress(OSError):
                    _remove_if_dead(Path(entry.path), match[1])
    ended = time.monotonic()
    _next_look[key] = ended + _LOOKS_APART * (ended - begun)


def _remove_if_dead(path: Path, machine: str | None) -> None:
    flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # over NFS only files that are open for writing can be locked
        file = os.open(path, os.O_RDWR | flags)
    except IsADirectoryError:
        file = os.open(path, os.O_RDONLY | flags)
    try:
        state = os.fstat(file)
        ours = state.st_uid == os.geteuid() and stat.S_IFMT(state.st_mode) in (
            stat.S_IFREG,
            stat.S_IFDIR,
        )
        foreign = machine is not None and machine != _machine()
        if not ours or (foreign and time.time() - state.st_mtime < _FOREIGN_AGE):
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(state, os.lstat(path)):
            _remove(path)
    finally:
        os.close(file)


@cache
def _machine() -> str:
    """Eight characters that identify this machine since its start, the same in its containers."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        text = platform.node()
    return sha256(text.encode()).hexdigest()[:8]
