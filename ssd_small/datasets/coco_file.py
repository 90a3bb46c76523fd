"""Write COCO annotation files that all commands accept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..files import atomic_output
from ..json_files import json_text, read_json
from .coco import annotations_from_content
from .object_sizes import are_fractions


def write_annotations(path: Path, content: Mapping[str, Any]) -> None:
    """Write annotations, reading them back before they replace an older file.

    Raises:
        BadFile: training or evaluation would refuse them; says which entry and why.
        OutputError: the file cannot be written.
    """
    text = json_text(content)
    with atomic_output(path) as temporary:
        temporary.write_bytes(text.encode())
        written = annotations_from_content(read_json(temporary, "COCO annotations"), path)
        if are_fractions(written.boxes):
            bbox = ", ".join(f"{value:g}" for value in written.boxes[0]["bbox"])
            raise BadFile(
                f"{path} was not written: no box reaches a pixel (the first is [{bbox}]), so that "
                "they would be taken for fractions of the picture; expected pixels in the source"
            )
