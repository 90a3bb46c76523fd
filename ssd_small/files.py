"""Reading files safely, writing them whole or not at all, and hashing them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import BadFile, OutputError
from .system.temporary import temporary_file


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block succeeds.

    If ``path`` is a symbolic link, the link stays and its target is replaced. A replaced file's
    permissions are kept.

    Raises:
        OutputError: the folder or file cannot be written, or the disk is full; nothing is left
            behind and an existing file stays intact.
    """
    check_writable(path)
    target = behind_links(path)
    own = [path, path.parent, target, target.parent]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(target.parent) as temporary:
            own.append(temporary)
            yield temporary
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
    except OSError as error:
        if error.filename and Path(error.filename) not in own:
            raise
        raise output_error(path, error) from error


def behind_links(path: Path) -> Path:
    """The path with all symbolic links resolved, whether or not it exists."""
    return Path(os.path.realpath(path))


def check_writable(path: Path, option: str = "--output") -> None:
    """Check early that ``path``, given by ``option``, can be written; leave nothing behind.

    An empty file is created in the folder, or in its nearest existing parent, and removed again:
    permissions alone do not tell, as folders under /proc show.

    Raises:
        OutputError: ``path`` is a folder, a device, a pipe, an output stream of this process, a
            loop of links or write-protected, or its folder cannot be created or written to.
    """
    try:
        target = behind_links(path)
        if target.is_symlink():
            raise OutputError(f"cannot write {path}: its links lead in circles; name a file")
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; name a file")
        if path.exists():
            _check_replaceable(path, target, option)
        folder = next(parent for parent in target.parents if parent.exists())
    except (OSError, ValueError) as error:
        raise output_error(path, error) from error
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: {folder} is a file; choose another {option}")
    try:
        with temporary_file(folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {folder} takes no file ({error.strerror or error}); choose "
            f"another {option}"
        ) from error


def _check_replaceable(path: Path, target: Path, option: str) -> None:
    """Refuse an existing path that must not be replaced by a regular file."""
    kind = not_a_file(path.stat().st_mode)
    if kind is not None:
        raise OutputError(f"cannot write {path}: it is {kind}; name a file")
    # also when reached as /dev/stdout: a file put in its place would not receive what is printed
    for stream in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(stream)):
                raise OutputError(
                    f"cannot write {path}: standard output or error goes there; choose another "
                    f"{option}"
                )
    # root can write to everything, but a write-protected file should still be refused
    unprotected = stat.S_IMODE(target.stat().st_mode) & 0o222
    if not unprotected or not os.access(target, os.W_OK):
        raise OutputError(
            f"cannot write {path}: it is write-protected; choose another {option}, or make it "
            "writable (chmod u+w)"
        )


def not_a_file(mode: int) -> str | None:
    """The kind of anything but a regular file, from its ``st_mode``; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a device or pipe"


def output_error(path: Path, error: OSError | ValueError) -> OutputError:
    """The one-line error for a failed write; a ValueError means a bad name (it holds a NUL)."""
    code, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or error
    too_long = code == errno.ENAMETOOLONG
    advice = "choose a shorter name" if too_long else "free space or choose another --output"
    fault = OutputError(f"cannot write {path}: {reason}; {advice}")
    fault.path = path
    return fault


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def read_bytes(path: Path, expected: str, most: int | None = None) -> bytes:
    """The content of a file of at most ``most`` bytes; ``expected`` says what it should be.

    Raises:
        BadFile: the file is absent, unreadable, too large or not a regular file.
    """
    try:
        with open_file(path) as stream:
            # the size of a pipe or of a growing file is not known in advance
            size = os.fstat(stream.fileno()).st_size
            content = b"" if most is not None and size > most else _read(stream, size, most)
            if most is not None and max(size, len(content)) > most:
                raise BadFile(
                    f"{path} has more than {most} bytes; expected {expected} of at most that size"
                )
            return content
    except ValueError as error:  # a NUL in the name
        raise BadFile(f"cannot read {str(path)!r}: {error}; expected {expected}") from error
    except OSError as error:
        raise BadFile(
            f"cannot read {path}: {error.strerror or error}; expected {expected}"
        ) from error


def _read(stream: BinaryIO, size: int, most: int | None) -> bytes:
    """Read everything, or one byte more than ``most``; ``size`` is the expected length."""
    if most is None:
        return stream.read()
    # read() allocates all it is asked for, however little there is: do not ask for ``most`` at once
    content = stream.read(size + 1)
    if len(content) <= size:
        return content
    parts, left = [content], most + 1 - len(content)
    while left > 0 and (part := stream.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading in binary mode.

    Named pipes and devices are refused: a pipe without a writer would block, and a device may
    never end. The pipe of a shell's ``<(...)`` is accepted.

    Raises:
        OSError: the file is absent, unreadable, or a folder, device, pipe or socket.
    """
    # checked after opening without blocking: a path checked beforehand may have changed by then
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "not a file but a socket or device", str(path)) from error
        raise
    kind = not_a_file(os.fstat(descriptor).st_mode)
    if _is_inherited_pipe(path, descriptor):
        os.set_blocking(descriptor, True)
    elif kind is not None:
        os.close(descriptor)
        if kind == "a folder":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, f"not a file but {kind}", str(path))
    return os.fdopen(descriptor, "rb")


def _is_inherited_pipe(path: Path, descriptor: int) -> bool:
    """Whether this is an unnamed pipe: a shell's ``<(...)``, or ``/dev/stdin``."""
    is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    return is_pipe and not behind_links(path).exists()


def check_is_file(path: Path, expected: str, on_missing: str | None = None) -> None:
    """Refuse anything but a regular file before a library opens it and hangs or reads for ever.

    Args:
        path: the file to be read.
        expected: what it should be.
        on_missing: advice if it does not exist; default: what is expected.

    Raises:
        BadFile: it is absent, inaccessible, or a folder, device, pipe or socket.
    """
    try:
        kind = not_a_file(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadFile(f"{path} does not exist; {on_missing or f'expected {expected}'}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFile(f"cannot read {path}: {reason}; expected {expected}") from error
    if kind is not None:
        state = kind if kind == "a folder" else f"not a file but {kind}"
        raise BadFile(f"{path} is {state}; expected {expected}")


def check_is_readable(path: Path, expected: str) -> None:
    """Refuse a file that cannot be opened, so that the true reason is reported before any other.

    Raises:
        BadFile: the file cannot be opened; gives the system's reason.
    """
    try:
        open_file(path).close()
    except OSError as error:
        reason = error.strerror or error
        raise BadFile(f"cannot read {path}: {reason}; expected {expected}") from error


def state_of(path: Path) -> str:
    """What a path turned out to be, for a message: "is not there", "is a folder"."""
    try:
        return f"is {not_a_file(path.stat().st_mode) or 'a file'}"
    except FileNotFoundError:
        return "is not there"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def check_readable(path: Path) -> None:
    """Read a file to its end, since libraries report the system's read errors as damage.

    Raises:
        OSError: the file cannot be read; the system's own reason.
    """
    with open_file(path) as stream:
        while stream.read(1 << 20):
            pass


def sha256_of(path: Path, advice: str = "expected a file that may be read") -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        BadFile: the file cannot be read; the message ends with ``advice``.
    """
    digest = hashlib.sha256()
    try:
        with open_file(path) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}; {advice}") from error
    return digest.hexdigest()
