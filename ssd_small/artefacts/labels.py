"""Class names: reading them from a text file, and default names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..configs.class_names import name_fault
from ..errors import BadFile, UsageError, quoted
from ..files import read_bytes

#: largest file of class names; a network has about a thousand classes
_MOST_BYTES = 1 << 24


def default_labels(count: int) -> tuple[str, ...]:
    """Default class names."""
    return tuple(f"class {i + 1}" for i in range(count))


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names, one per line, without background.

    Raises:
        BadFile: unreadable, not text, or a name is missing, duplicated or not printable.
    """
    try:
        content = read_bytes(Path(path), "a text file with a class name per line", _MOST_BYTES)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text; expected a class name per line") from error
    # str.splitlines would split a name at other line separators inside it
    names = tuple(line.strip() for line in re.split("\r\n|\n|\r", text.rstrip()))
    if "" in names:
        raise BadFile(f"{path}: expected a class name on every line, got an empty line or file")
    for number, name in enumerate(names, 1):
        if fault := name_fault(name):
            raise BadFile(f"{path}: class name {quoted(name)} of line {number} {fault}")
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise BadFile(f"{path}: class name {quoted(doubled[0])} occurs twice; names must differ")
    return names


def check_labels(names: Sequence[str], num_classes: int, background_label: int) -> None:
    """Refuse a wrong number of class names, with UsageError."""
    detectable = num_classes - (background_label >= 0)
    if len(names) != detectable:
        raise UsageError(
            f"{len(names)} labels for {num_classes} classes; expected {detectable}, one name per "
            "class without the background"
        )
    for name in names:
        if fault := name_fault(name):
            raise UsageError(f"class name {quoted(name)} {fault}; expected text in one line")
