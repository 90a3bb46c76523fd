"""Reading from a separate file how a picture becomes network input."""

from __future__ import annotations

from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from ..errors import BadFile, UsageError, quoted
from ..pictures.preprocessing import Preprocessing
from .parts import preprocessing_from_fields
from .record import Fields, read_record

_EXPECTED = "the fields of preprocessing, as 'ssd-small inspect --json' prints them"
_KNOWN = tuple(one.name for one in fields_of(Preprocessing))


def read_preprocessing(
    path: str | Path, own: Preprocessing, *, sized: bool = True
) -> Preprocessing:
    """Read the fields of :class:`~ssd_small.pictures.preprocessing.Preprocessing`.

    Args:
        path: JSON that holds them, or a sidecar, or the output of 'ssd-small inspect --json'.
        own: supplies the fields that the file lacks.
        sized: whether the input must have the size of ``own``; if not, the file must state it.

    Raises:
        BadFile: absent or damaged, an unknown field, or a value that makes no sense.
        UsageError: its input size differs from ``own``'s, or is not stated although it must be.
    """
    path = Path(path)
    values: Any = read_record(path, _EXPECTED)
    for holder in ("description", "preprocessing"):
        if isinstance(values, dict) and isinstance(values.get(holder), dict):
            values = values[holder]
    if not isinstance(values, dict):
        raise BadFile(f"{path} holds {quoted(values)}; expected {_EXPECTED}")
    for name in values:
        if name not in _KNOWN:
            raise BadFile(
                f"{path}: {quoted(name)} is no field of preprocessing; expected some of "
                f"{', '.join(_KNOWN)}"
            )
    if not sized and not {"height", "width"} <= set(values):
        raise UsageError(f"{path}: the network takes pictures of any size; add height and width")
    try:
        told = preprocessing_from_fields(Fields(own.to_dict() | values))
    except ValueError as error:
        raise BadFile(f"{path}: {error}") from error
    if sized and told.size != own.size:
        raise UsageError(
            f"{path} is of an input of {told.width}x{told.height} pixels, the network's is "
            f"{own.width}x{own.height}; leave height and width out"
        )
    return told
