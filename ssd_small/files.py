"""Writing files whole or not at all, and hashing them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import BadFile, OutputError


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    Raises:
        OutputError: the folder or file cannot be written, or the disk is full; nothing is left
            behind and an older file stays whole.
    """
    check_writable(path)
    temporary = _temporary_in(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename and Path(error.filename) not in (temporary, path, path.parent):
            raise
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path, option: str = "--output") -> None:
    """Make sure early that ``path``, given by ``option``, can be written; leaves nothing behind.

    An empty file is made in its folder, or in the one that its folder would be made in, and
    removed: a folder can refuse files whose permissions allow them, as those of /proc do.

    Raises:
        OutputError: it is a folder or a device, or its folder cannot be made or written to.
    """
    try:
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; name a file")
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {path}: it is a device or pipe; name a file")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:
        raise output_error(path, error) from error
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: {folder} is a file; choose another {option}")
    trial = _temporary_in(folder)
    try:
        trial.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {folder} takes no file ({error.strerror or error}); choose "
            f"another {option}"
        ) from error
    finally:
        # a read-only file system refuses to remove even what is not there
        with suppress(OSError):
            trial.unlink()


def _temporary_in(folder: Path) -> Path:
    return folder / f".ssd-small-{secrets.token_hex(4)}.part"


def output_error(path: Path, error: OSError) -> OutputError:
    """The one-line form of a failed write."""
    too_long = error.errno == errno.ENAMETOOLONG
    advice = "choose a shorter name" if too_long else "free space or choose another --output"
    return OutputError(f"cannot write {path}: {error.strerror or error}; {advice}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Indented JSON, as this package writes it."""
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(path: Path, expected: str) -> Any:
    """Parse a JSON file; ``expected`` says what it should have been.

    Raises:
        BadFile: absent, unreadable or not JSON.
    """
    content = read_bytes(path, expected)
    try:
        # UTF-8, UTF-16 or UTF-32, with a byte order mark or without
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        fault = _json_fault(content, error)
        raise BadFile(f"{path} is not JSON ({fault}); expected {expected}") from error


def _json_fault(content: bytes, error: Exception) -> str:
    """Why a file is not JSON, by what it most likely is."""
    beginnings = {
        b"\x1f\x8b": "it is compressed: unpack it with gunzip",
        b"PK\x03\x04": "it is a zip archive: unpack it",
        b"version https://git-lfs": "it is a pointer of Git LFS: fetch the file with git lfs pull",
    }
    for beginning, what in beginnings.items():
        if content.startswith(beginning):
            return what
    if not content.strip():
        return "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not {error.encoding.upper()} text: save it as UTF-8"
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        with suppress(ValueError, RecursionError):
            lines = content.splitlines()
            if len(lines) > 1 and all(isinstance(json.loads(line), dict) for line in lines[:2]):
                return "it is JSON Lines, an object on each line: write one object"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error)


def read_bytes(path: Path, expected: str) -> bytes:
    """Content of a file; ``expected`` says what it should have been.

    Raises:
        BadFile: absent or unreadable.
    """
    try:
        return path.read_bytes()
    except ValueError as error:  # a NUL in the name
        raise BadFile(f"cannot read {str(path)!r}: {error}; expected {expected}") from error
    except OSError as error:
        raise BadFile(
            f"cannot read {path}: {error.strerror or error}; expected {expected}"
        ) from error


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
