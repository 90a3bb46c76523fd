"""The graph in a file that ONNX Runtime or OpenVINO executes, complete or up to the heads."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from ..artefacts.build_options import ONNX_TARGETS
from ..artefacts.decode_nms import find_decode_nms
from ..artefacts.onnx_file import read_onnx
from ..artefacts.sidecar import find_sidecar, read_engine
from ..artefacts.tensors import HEADS
from .cuts import cut_model


def model_from_file(path: Path) -> ModelProto | None:
    """Read the graph of an ONNX file or of a CPU engine, custom operators included.

    None for a file that is not ONNX, such as a checkpoint or a TensorRT engine.

    Raises:
        BadFile: the file is absent or damaged.
    """
    if find_sidecar(path) is not None:
        sidecar, content = read_engine(path)
        if sidecar.target not in ONNX_TARGETS:
            return None
        return onnx.load_model_from_string(content)
    return read_onnx(path)[0] if path.suffix.lower() == ".onnx" else None


def heads_from_model(model: ModelProto) -> ModelProto | None:
    """Cut out the part of a model that ends in ``loc`` and ``conf``, whatever follows them.

    None if another tool has removed those names.
    """
    node = find_decode_nms(model)
    names = HEADS if node is None else tuple(node.input[:2])
    made = {name for one in model.graph.node for name in one.output}
    return cut_model(model, names) if made.issuperset(names) else None
