"""Locks that the kernel releases when their holder ends, however it ends.

These are POSIX record locks on separate files. They belong to one process: a loader process that
outlives its trainer keeps none (those of ``flock`` go with the open file, which every child has).
They work over NFS. Two pitfalls are handled here: a lock does not exclude its own process, and is
lost when that closes the file through any descriptor. So nothing else may open a lock file, and a
file with content of its own cannot be one.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import Note, OutputError

if sys.platform != "win32":
    import fcntl

#: seconds to keep trying, as others may just be checking the lock (:func:`is_held`), and between
_PATIENCE, _STEP = 0.1, 0.01
#: error codes of a file system without locks
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
#: O_NONBLOCK: do not wait for the other end of a pipe of that name
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW if sys.platform != "win32" else 0

#: device and inode of the lock files that this process holds
_own: set[tuple[int, int]] = set()
_guard = threading.Lock()


class LockHeld(OutputError):
    """Another process is at work on the same output: exit 4."""


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    _own.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def held(path: Path, output: Path | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` for the whole block; its folder is created if necessary.

    The file is removed at the end, and so are folders that were created for it and are empty. A
    file left by a killed process blocks nobody. If the file system has no locks, a note says so and
    nobody is refused.

    Args:
        path: a file used only for the lock, not a link.
        output: what is locked, for the message; the folder of ``path`` if None.

    Raises:
        LockHeld: it is held, possibly by this process; says by whom, if known.
        OutputError: the file cannot be created.
    """
    output = path.parent if output is None else output
    if sys.platform == "win32":
        yield
        return
    made: list[Path] = []
    try:
        made += [folder for folder in path.parents if not folder.exists()]
        lock = _acquired(path, output)
    except BaseException as error:
        _remove_empty(made)
        if not isinstance(error, OSError):
            raise
        raise OutputError(
            f"cannot write {output}: {error.strerror or error}; choose another --output"
        ) from error
    try:
        yield
    finally:
        _release(path, lock)
        _remove_empty(made)


def is_held(path: Path) -> bool:
    """Whether a living process, possibly this one, holds the lock file ``path``; False if absent.

    If there are no locks, or the file cannot be read, it counts as not held.
    """
    if sys.platform == "win32":
        return False
    with _guard:
        try:
            if _key(os.lstat(path)) in _own:
                return True
            file = os.open(path, os.O_RDONLY | _FLAGS)
        except OSError:
            return False
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.EACCES, errno.EAGAIN)
        finally:
            os.close(file)
    return False


def _acquired(path: Path, output: Path) -> tuple[int, int]:
    """Descriptor of the open lock file, and id of the process that holds it."""
    until, others = time.monotonic() + _PATIENCE, False
    while True:
        absent = None
        try:
            with _guard:
                file = _tried(path)
            if file is not None:
                return file, os.getpid()
            others = True
        except FileNotFoundError as error:  # the last holder may have removed the folder
            absent = error
        if time.monotonic() > until:
            if absent is not None and not others:
                raise absent
            raise LockHeld(
                f"cannot write {output}: {_holder(path)} is at work there; wait for its end, or "
                "choose another --output"
            )
        time.sleep(_STEP)


def _tried(path: Path) -> int | None:
    """The locked file; None if somebody else holds it or has just removed it."""
    with suppress(FileNotFoundError):
        if _key(os.lstat(path)) in _own:
            return None  # do not open it: closing it would release the lock
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
    try:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                os.close(file)
                return None
            if error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                Note(f"{path.parent} has no locks: no second process will be refused"),
                stacklevel=4,
            )
        # its holder may have removed it in between; the next process would then lock another file
        if not _is_at(path, file):
            os.close(file)
            return None
    except BaseException:
        with suppress(OSError):
            os.close(file)
        raise
    _own.add(_key(os.fstat(file)))
    with suppress(OSError):  # if the disk is full, nobody knows who holds it
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()} {socket.gethostname()}\n".encode())
    return file


def _is_at(path: Path, file: int) -> bool:
    """Whether ``path`` still refers to the open file."""
    try:
        return _key(os.fstat(file)) == _key(os.lstat(path))
    except FileNotFoundError:
        return False


def _release(path: Path, lock: tuple[int, int]) -> None:
    file, process = lock
    if os.getpid() != process:  # a forked child that unwinds its parent's stack
        return
    with _guard:
        key = _key(os.fstat(file))
        with suppress(OSError):
            if _key(os.lstat(path)) == key:
                path.unlink()
        _own.discard(key)
        os.close(file)


def _holder(path: Path) -> str:
    """Who holds a lock, as written in the lock file."""
    if _holds(path):
        return "this process"
    try:
        process, host = path.read_text().split()
    except (OSError, ValueError):
        return "another process"
    # the process may be on another machine that mounts the same folder
    where = "" if host == socket.gethostname() else f" of {host[:60]}"
    return f"process {int(process)}{where}" if process.isdecimal() else "another process"


def _holds(path: Path) -> bool:
    with suppress(OSError):
        return _key(os.lstat(path)) in _own
    return False


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders that are empty, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _key(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
