"""The pictures of a job, in a reproducible order."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import BadFile, reason_from_exception
from ...files import check_is_file, read_bytes
from ...pictures.listing import is_image_name, list_images
from ...requirements import require
from .addresses import addresses_from_pattern, bytes_at, has_magic, is_address

#: suffixes of lists
_TEXT, _PARQUET = (".txt", ".lst"), (".parquet",)
#: columns of a parquet list that hold pictures
_COLUMNS = ("image", "path")
#: largest size of a list, in bytes
_MOST = 8 << 30


def images_from_sources(sources: Iterable[str]) -> tuple[list[str], list[str]]:
    """Paths and addresses of pictures, in the order of the sources, and notes for the user.

    A source is a picture, a folder (its pictures in name order, as in ``ssd-small detect``), a
    pattern (``scans/*/*.png``; ``**`` for any depth), a list, or the address of one of these. A
    list is a text file (``.txt``, ``.lst``) with a picture on each line, except empty lines and
    lines that begin with ``#``, or a parquet file with a column ``image`` or ``path``; relative
    names in it are relative to the list's folder. Repeated pictures are kept.

    Raises:
        BadFile: a list cannot be read, or a folder or pattern has no picture.
        MissingRequirement: a package that a source needs is not installed.
    """
    images: list[str] = []
    notes: list[str] = []
    for source in sources:
        images += _images(source, notes)
    repeated = len(images) - len(set(images))
    if repeated:
        notes.append(f"{repeated} of {len(images)} pictures are named more than once, and kept")
    return images, notes


def _images(source: str, notes: list[str]) -> list[str]:
    suffix = PurePosixPath(source).suffix.lower()
    far = is_address(source)
    if suffix in (*_TEXT, *_PARQUET) and not (not far and os.path.isdir(source)):
        return _listed(source, suffix)
    if far:
        found = addresses_from_pattern(source)
        if found == [source]:
            return found
        found = [one for one in found if is_image_name(Path(PurePosixPath(one).name))]
    elif not has_magic(source) or os.path.exists(source):
        if os.path.exists(source) and not os.path.isdir(source):
            check_is_file(Path(source), "a picture, a folder or a list")
        listing = list_images(source)
        if passed_over := listing.note():
            notes.append(passed_over)
        return [os.fspath(path) for path in listing.files]
    else:
        matches = map(Path, glob.iglob(source, recursive=True))
        found = sorted(os.fspath(one) for one in matches if is_image_name(one) and one.is_file())
    if not found:
        raise BadFile(f"{source} names no picture; expected a picture, a folder or a pattern")
    return found


def _listed(source: str, suffix: str) -> list[str]:
    """The pictures of a list."""
    expected = "a list of pictures"
    if is_address(source):
        content = bytes_at(source, expected, _MOST)
    else:
        content = read_bytes(Path(source), expected, _MOST)
    names = _from_parquet(content, source) if suffix in _PARQUET else _from_text(content, source)
    if not names:
        raise BadFile(f"{source} lists no picture; expected a path on each line, or a row for each")
    return [_beside(source, name) for name in names]


def _from_text(content: bytes, source: str) -> list[str]:
    try:
        text = content.decode("utf-8-sig", "surrogateescape")
    except UnicodeError as error:
        raise BadFile(f"{source} is no text in UTF-8 ({error}); save it as such") from error
    if "\0" in text:
        raise BadFile(f"{source} holds bytes 0; expected text with a path on each line")
    lines = (line.strip("\r") for line in text.split("\n"))
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _from_parquet(content: bytes, source: str) -> list[str]:
    require("pyarrow", "reading a list in parquet")
    parquet = require("pyarrow.parquet", "reading a list in parquet")
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        names = file.schema_arrow.names
        column = next((one for one in _COLUMNS if one in names), None)
        values: Sequence[Any] = []
        if column is not None:
            values = file.read(columns=[column]).column(column).to_pylist()
    except Exception as error:  # the library has its own error types
        raise BadFile(
            f"{source} is no parquet file ({reason_from_exception(error)}); expected one with a "
            f"column {' or '.join(_COLUMNS)}"
        ) from error
    if column is None:
        raise BadFile(
            f"{source} has columns {', '.join(names[:10]) or 'none'}; expected one called "
            f"{' or '.join(_COLUMNS)}"
        )
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise BadFile(f"{source}: row {row} of {column} is {value!r}; expected a path")
    return list(values)


def _beside(source: str, name: str) -> str:
    """Resolve a name in a list relative to the list's folder."""
    if is_address(name):
        return name
    if is_address(source):
        return name if name.startswith("/") else f"{source.rpartition('/')[0]}/{name}"
    return os.fspath(Path(os.path.dirname(source), name))
