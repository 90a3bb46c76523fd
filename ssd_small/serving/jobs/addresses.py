"""Pictures and lists by address, in any file system of fsspec (``s3://``, ``memory://``, ...)."""

from __future__ import annotations

import re
from typing import Any

from ...errors import BadFile, MissingRequirement, UsageError, reason_from_exception
from ...pictures.limits import most_bytes, most_pixels
from ...requirements import require

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[a-z]+)?://")
_MAGIC = re.compile(r"[*?\[]")


def is_address(name: str) -> bool:
    """Whether a source is an address, not a path on this machine."""
    return _ADDRESS.match(name) is not None


def has_magic(name: str) -> bool:
    """Whether a name may be a pattern that matches several."""
    return _MAGIC.search(name) is not None


def bytes_at(address: str, expected: str, most: int) -> bytes:
    """Read a file at an address, of at most ``most`` bytes.

    Raises:
        BadFile: it does not exist, cannot be read, or is larger.
        MissingRequirement: the package for addresses of this kind is not installed.
    """
    system, path = _opened(address)
    try:
        with system.open(path, "rb") as stream:
            content: bytes = stream.read(most + 1)
    except FileNotFoundError as error:
        raise BadFile(f"{address} does not exist; expected {expected}") from error
    except Exception as error:  # each store has errors of its own
        reason = reason_from_exception(error)
        raise BadFile(f"cannot read {address}: {reason}; expected {expected}") from error
    if len(content) > most:
        raise BadFile(f"{address} has more than {most} bytes; expected {expected}")
    return content


def picture_at(address: str) -> bytes:
    """Read the file of a picture; see :func:`bytes_at`."""
    return bytes_at(address, "an image file", most_bytes(most_pixels()))


def addresses_from_pattern(address: str) -> list[str]:
    """Addresses of the files in a folder or matching a pattern, sorted; else the address itself.

    Raises:
        BadFile: they cannot be listed.
        MissingRequirement: the package for addresses of this kind is not installed.
    """
    system, path = _opened(address)
    try:
        if has_magic(address):
            found = system.glob(path)
        elif system.isdir(path):
            found = [one["name"] for one in system.ls(path, detail=True) if one["type"] == "file"]
        else:
            return [address]
    except Exception as error:
        raise BadFile(
            f"cannot list {address}: {reason_from_exception(error)}; expected pictures"
        ) from error
    return sorted(map(system.unstrip_protocol, found))


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    fsspec = require("fsspec.core", "reading by address")
    try:
        found: tuple[Any, str] = fsspec.url_to_fs(address)
        return found
    except ImportError as error:
        raise MissingRequirement(
            f"reading {address} needs a package: {reason_from_exception(error)}"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{address}: {reason_from_exception(error)}; expected an address that fsspec knows"
        ) from error
    except Exception as error:  # no credentials, no network
        raise BadFile(
            f"cannot reach {address}: {reason_from_exception(error)}; expected pictures"
        ) from error
