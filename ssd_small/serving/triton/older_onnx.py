"""ONNX files for servers with an older ONNX Runtime: other opsets, formats, no functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from ...artefacts.decode_nms import find_decode_nms
from ...artefacts.decode_nms_function import make_function
from ...artefacts.description import Description
from ...artefacts.onnx_file import drop_function
from ...artefacts.tensors import INPUT
from ...errors import BadFile, CheckFailed, UsageError, reason_from_exception
from ...export.decode_nms_node import inlined
from ...requirements import require
from ...runtimes.base import Images, empty_input
from .source import SourceChanges

#: first IR version of ONNX files that allows functions
_FUNCTIONS = 8


def served_content(original: bytes, model: ModelProto) -> bytes:
    """The file unchanged if a server can run it, else with weights and function body included.

    Args:
        original: content of the file.
        model: the complete model read from it.
    """
    own = ModelProto.FromString(original)
    outside = any(
        tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in own.graph.initializer
    )
    if outside or (find_decode_nms(own) is not None and not own.functions):
        return bytes(model.SerializeToString(deterministic=True))
    return original


def changed_onnx(
    model: ModelProto, description: Description, changes: SourceChanges, path: Path
) -> bytes:
    """The content of an ONNX file after changes that keep its outputs bit-identical.

    Raises:
        UsageError: the requested IR version does not allow the function.
        BadFile: the model cannot be converted, or ONNX Runtime cannot run it.
        CheckFailed: its outputs differ.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    if changes.opset is not None:
        changed = _in_opset(changed, description, changes.opset, path)
    if changes.inline and find_decode_nms(changed) is not None:
        changed = inlined(changed)
    if changes.ir_version is not None:
        if changed.functions and changes.ir_version < _FUNCTIONS:
            raise UsageError(
                f"--ir-version {changes.ir_version}: functions came with version {_FUNCTIONS}; "
                "pass --inline too"
            )
        changed.ir_version = changes.ir_version
    content = bytes(changed.SerializeToString(deterministic=True))
    _check_outputs(bytes(model.SerializeToString()), content, description, path)
    return content


def _in_opset(model: ModelProto, description: Description, opset: int, path: Path) -> ModelProto:
    """Convert a model to another operator set, including the body of its function."""
    has_node = find_decode_nms(model) is not None
    drop_function(model)  # converters leave its operator set unchanged
    if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) != opset:
        try:
            model = onnx.version_converter.convert_version(model, opset)
        except Exception as error:  # the converter's own exceptions are not public
            raise BadFile(
                f"{path} cannot be converted to opset {opset} "
                f"({reason_from_exception(error)}); choose a newer operator set"
            ) from error
    if has_node:
        number = len(description.priors)
        body = make_function(description.postprocess, number, description.num_classes, opset)
        model.functions.append(body)
    return model


def _check_outputs(before: bytes, after: bytes, description: Description, path: Path) -> None:
    images = _noise(description)
    expected, found = (_outputs(content, images, path) for content in (before, after))
    for name, value in expected.items():
        if not np.array_equal(value, found[name]):
            raise CheckFailed(
                f"{path}: after the changes {name} is another; leave --opset and --ir-version "
                "out, or export the network with --opset"
            )


def _noise(description: Description) -> Images:
    """A picture of noise: with a black one, many outputs would be equal despite changes."""
    images = empty_input(description, 1)
    levels = np.random.default_rng(0).integers(0, 256, images.shape)
    return np.asarray(levels - (128 if images.dtype != np.uint8 else 0)).astype(images.dtype)


def _outputs(content: bytes, images: Images, path: Path) -> dict[str, Any]:
    runtime = require("onnxruntime", "checking the changed ONNX file")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = runtime.InferenceSession(content, settings, ["CPUExecutionProvider"])
        values = session.run(None, {INPUT: images})
    except Exception as error:  # ONNX Runtime's exception types are not public
        from ...runtimes.onnxruntime import reason_from_error

        raise BadFile(
            f"{path} cannot be run after the changes ({reason_from_error(error)}); choose "
            "other numbers for --opset and --ir-version"
        ) from error
    return dict(zip((one.name for one in session.get_outputs()), values, strict=True))
