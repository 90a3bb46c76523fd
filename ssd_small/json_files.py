"""JSON files: strict when writing, tolerant of other tools' files when reading."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import BadFile
from .files import read_bytes, write_bytes

#: largest JSON file, in bytes; the largest public annotations take 3 GB, and a pipe may never end
_MOST_JSON = 8 << 30


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Indented JSON in UTF-8, as this package writes it."""
    return (json_text(value, indent=2) + "\n").encode()


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON text: on one line, or indented.

    Raises:
        BadFile: the value holds an infinity or NaN, which Python would write but other readers
            refuse; the message says where.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError as error:
        place, number = next(_not_finite("", value), ("", error))
        raise BadFile(
            f"{place or 'value'} is {number}, which JSON cannot hold; expected a finite number"
        ) from error


def _not_finite(place: str, value: Any) -> Iterator[tuple[str, float]]:
    """Numbers that JSON cannot hold, with their places: ``annotations[2].bbox[0]``."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _not_finite(f"{place}.{name}" if place else str(name), one)
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _not_finite(f"{place}[{index}]", one)


def read_json(path: Path, expected: str) -> Any:
    """Parse a JSON file; ``expected`` says what it should be.

    Raises:
        BadFile: the file is absent, unreadable or not JSON.
    """
    return value_from_json(read_json_bytes(path, expected), path, expected)


def read_json_bytes(path: Path, expected: str) -> bytes:
    """The unparsed content of a JSON file; see :func:`read_json`."""
    return read_bytes(path, expected, _MOST_JSON)


def value_from_json(content: bytes, path: Path, expected: str) -> Any:
    """Parse the content of a JSON file; see :func:`read_json`."""
    try:
        # UTF-8, UTF-16 or UTF-32, with a byte order mark or without
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        fault = _json_fault(content, error)
        raise BadFile(f"{path} is not JSON ({fault}); expected {expected}") from error


def _json_fault(content: bytes, error: Exception) -> str:
    """Why a file is not JSON, and what it most likely is instead."""
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
