"""Writing this tool's ONNX files, atomically and with a description of themselves."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from ..artefacts.description import METADATA_KEY, Description
from ..files import atomic_output
from ..json_files import json_text


def write_onnx(model: ModelProto, path: str | Path) -> None:
    """Write a model atomically."""
    with atomic_output(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def set_description(model: ModelProto, description: Description) -> None:
    """Store the description in the model's metadata."""
    onnx.helper.set_model_props(model, {METADATA_KEY: json_text(description.to_dict())})
    model.producer_name, model.producer_version = "ssd-small", description.tool_version
    model.doc_string = (
        f"{description.model}, {description.num_classes} classes, width {description.width:g}"
    )
