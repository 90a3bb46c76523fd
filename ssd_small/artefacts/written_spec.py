"""An unnamed network as a record of its own; a description stores the same parts itself."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..models.shapes import levels_from_spec
from ..models.spec import ModelSpec
from .parts import (
    levels_from_fields,
    levels_to_list,
    postprocess_from_fields,
    preprocessing_from_fields,
)
from .record import Fields
from .written_layers import layers_from_fields, layers_to_dict, spec_from_layers


def spec_to_dict(spec: ModelSpec) -> dict[str, Any]:
    """JSON-ready form of a spec whose layers are written out."""
    return {
        "name": spec.name,
        "layers": layers_to_dict(spec.layers),
        "levels": levels_to_list(levels_from_spec(spec)),
        "clip": spec.clip,
        "preprocessing": spec.preprocessing.to_dict(),
        "postprocess": spec.postprocess.to_dict(),
    }


def spec_from_fields(fields: Fields) -> ModelSpec:
    """Read the spec of :func:`spec_to_dict`; ValueError if a value makes no sense."""
    levels = levels_from_fields(fields.records("levels"))
    try:
        spec = spec_from_layers(
            *(layers_from_fields(fields.fields("layers")), fields.text("name")),
            tuple(level for level, _ in levels),
            fields.text("clip", ("all", "size", "none")),
            preprocessing_from_fields(fields.fields("preprocessing")),
            postprocess_from_fields(fields.fields("postprocess")),
        )
    except UsageError as error:
        raise ValueError(str(error)) from error
    if levels_from_spec(spec) != levels:
        raise ValueError("levels: got other maps than the layers have")
    return spec
