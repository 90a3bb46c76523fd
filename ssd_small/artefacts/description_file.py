"""Reading a description from a separate file, for ONNX files that have lost their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import BadFile, quoted
from ..pictures.preprocessing import RESIZING
from .description import Description
from .record import read_record

_EXPECTED = "what 'ssd-small inspect --json' printed, or a sidecar"
#: fields of a description; 'ssd-small inspect --json' prints them among facts about the file
_FIELDS = (
    *("tool_version", "model", "num_classes", "width", "labels", "weights", "preprocessing"),
    *("postprocess", "levels", "clip", "has_decode_nms", "network", "operating_point"),
    *("input", "tiles", "object_size", "network_layers", "priors"),
)


def read_description(path: str | Path) -> Description:
    """Read the output of 'ssd-small inspect --json' or 'export --json', or a sidecar.

    Raises:
        BadFile: absent, damaged, or it describes no network.
    """
    path = Path(path)
    values = read_record(path, _EXPECTED)
    if not isinstance(values, dict):
        raise BadFile(f"{path} holds {quoted(values)}; expected {_EXPECTED}")
    nested = values.get("description")
    if isinstance(nested, dict):
        return Description.from_dict(nested, path)
    if values.get("model") is None or "levels" not in values:
        raise BadFile(f"{path} describes no network; expected {_EXPECTED}")
    own: dict[str, Any] = {name: values[name] for name in _FIELDS if name in values}
    # the file's own "format" may be that of a sidecar, so the description's is derived
    return Description.from_dict(own | {"format": _format(values)}, path)


def _format(values: dict[str, Any]) -> int:
    """Format of a description with these fields: see ``DESCRIPTION_FORMAT``."""
    told = values.get("preprocessing")
    if isinstance(told, dict) and any(name in told for name in RESIZING):
        return 5
    for name, number in (("network_layers", 5), ("priors", 5), ("tiles", 4), ("input", 3)):
        if name in values:
            return number
    params = values.get("postprocess")
    if isinstance(params, dict) and params.get("clip_boxes"):
        return 5
    many = values["levels"] if isinstance(values["levels"], list) else []
    return 2 if any(isinstance(level, dict) and "boxes" in level for level in many) else 1
