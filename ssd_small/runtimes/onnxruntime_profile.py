"""What ONNX Runtime actually executes of a model, according to its own profile of one run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..artefacts.description import Description
from ..artefacts.tensors import INPUT
from ..errors import BadFile
from ..requirements import require
from ..system.temporary import temporary_folder
from .base import empty_input
from .executed import Executed, executed_from_counts
from .onnxruntime import reason_from_error

#: our names for the types in a profile
_TYPES = {"float": "fp32", "float16": "fp16"}


def executed_by_onnxruntime(content: bytes, description: Description, source: str) -> Executed:
    """Count the layers of one run on a black picture, by kind and by the precision of their input.

    The casts of a half-precision network are counted too: a layer without a half-precision kernel
    runs in fp32 between two of them.

    Args:
        content: the serialised ONNX model.
        description: description of the network.
        source: how messages refer to the model.

    Raises:
        BadFile: ONNX Runtime cannot run the model.
        MissingRequirement: ONNX Runtime is not installed.
    """
    ort = require("onnxruntime", "telling what is executed")
    with temporary_folder() as folder:
        settings = ort.SessionOptions()
        settings.log_severity_level = 4  # the exception reports failures
        settings.enable_profiling = True
        settings.profile_file_prefix = str(folder / "profile")
        try:
            session = ort.InferenceSession(content, settings, ["CPUExecutionProvider"])
            session.run(None, {INPUT: empty_input(description, 1)})
        except Exception as error:  # ONNX Runtime's exception types are not public
            raise BadFile(
                f"ONNX Runtime {ort.__version__} cannot run {source}: {reason_from_error(error)}; "
                "build it again"
            ) from error
        events = json.loads(Path(session.end_profiling()).read_bytes())
    counts: Counter[tuple[str, str]] = Counter()
    for event in events:
        told = event.get("args", {})
        if event.get("cat") == "Node" and "op_name" in told and "input_type_shape" in told:
            counts[told["op_name"], _precision(told)] += 1
    return executed_from_counts(counts)


def _precision(told: dict[str, Any]) -> str:
    """Return the type of a layer's first input, or of its first output if it has no input."""
    read = [kind for one in told["input_type_shape"] for kind in one]
    given = [kind for one in told.get("output_type_shape", []) for kind in one]
    kind = next(iter([*read, *given]), "nothing")
    return _TYPES.get(kind, kind)
