"""Sources of frames: the path of a video, the index of a camera, an address."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

#: suffixes of files that are read as videos; FFmpeg reads more, but other suffixes are not tried
ENDINGS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg"),
        *(".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mjpeg", ".mjpg", ".h264", ".264", ".h265"),
        *(".265", ".hevc", ".av1", ".ivf", ".y4m"),
    )
)
#: beginning of a file's address; as a path, it is protected from overwriting and checked for damage
_FILE = "file://"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: user and password, which messages must not show
_SECRET = re.compile(r"(?<=://)[^/@\s]*@")

#: an index of a camera, an address, a path
Source = int | str | Path


def source_from(given: Any) -> Source | None:
    """The source of frames that an argument names; None if it names none.

    Args:
        given: a whole number, or digits that are not the name of a file (a camera); a string with
            ``://`` (an address; ``file://`` becomes a path); or a path with a video's suffix,
            whether or not the file exists.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if not isinstance(given, (str, os.PathLike)):
        return None
    text = os.fspath(given)
    if not isinstance(text, str):
        return None
    if isinstance(given, str) and text.lower().startswith(_FILE):
        return Path(text[len(_FILE) :])
    if isinstance(given, str) and _ADDRESS.match(text):
        return text
    if isinstance(given, str) and text.isascii() and text.isdigit() and len(text) < 4:
        return None if os.path.exists(text) else int(text)
    path = Path(text)
    return path if path.suffix.lower() in ENDINGS and not path.is_dir() else None


def name_of(source: Source) -> str:
    """Name of a source in messages and results; user and password of an address are left out."""
    if isinstance(source, int):
        return f"camera {source}"
    return str(source) if isinstance(source, Path) else _SECRET.sub("", source)


def stem_of(source: Source) -> str:
    """File name, without suffix, for the annotated video of a source."""
    if isinstance(source, Path):
        return source.stem
    if isinstance(source, int):
        return f"camera-{source}"
    place = re.split(r"[?#]", _ADDRESS.sub("", _SECRET.sub("", source)))[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", place).strip("-.")[:100] or "stream"
