"""How pictures become the input of an adopted network: a file of a sidecar's fields."""

from __future__ import annotations

from pathlib import Path

from ..artefacts.parts import preprocessing_from_fields
from ..artefacts.record import Fields, read_record
from ..errors import BadFile, UsageError, quoted
from ..pictures.preprocessing import Preprocessing

_EXPECTED = (
    "JSON with height, width, color_order, mean, std and interpolation, as 'ssd-small inspect "
    "--json' tells them under preprocessing"
)


def read_preprocessing(path: Path) -> Preprocessing:
    """Read the fields, which may be those of a sidecar or description among others.

    Raises:
        BadFile: absent, no JSON, or a field is missing or wrong.
    """
    values = read_record(path, _EXPECTED)
    for name in ("description", "preprocessing"):
        if isinstance(values, dict) and isinstance(values.get(name), dict):
            values = values[name]
    if not isinstance(values, dict):
        raise BadFile(f"{path} holds {quoted(values)}; expected {_EXPECTED}")
    try:
        return preprocessing_from_fields(Fields(values, "preprocessing"))
    except (ValueError, UsageError) as error:
        raise BadFile(f"{path}: {error}; expected {_EXPECTED}") from error
