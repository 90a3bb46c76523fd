"""The graphs that a search for the first layer compares, from what was opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnx import ModelProto

from ..artefacts.onnx_file import read_onnx
from ..artefacts.sidecar import find_sidecar, read_engine
from ..artefacts.tensors import HEADS
from ..requirements import require
from .first_layer import Search, search_from_graphs
from .graph_cuts import cut_model

if TYPE_CHECKING:
    from ..detection.detector import Detector


def search_from_detectors(
    reference: Detector,
    reference_path: str | Path,
    engine: Detector,
    engine_path: str | Path,
    pictures: Sequence[Any],
) -> Search | None:
    """Look for the first layer of an opened engine that differs from its opened reference.

    Args:
        reference, engine: the two detectors.
        reference_path, engine_path: what they were opened from.
        pictures: see :func:`~.first_layer.search_from_graphs`.

    Returns:
        None where one of the two has no graph to be had: a plan of TensorRT, whose layers only the
        GPU that it was built for executes.

    Raises:
        MissingRequirement: onnx, ONNX Runtime, or what exports a PyTorch network is missing.
    """
    require("onnx", "comparing layers")
    require("onnxruntime", "comparing layers")
    own = graph_from_detector(engine, engine_path)
    if own is None:
        return None
    other = graph_from_detector(reference, reference_path)
    if other is None:
        return None
    return search_from_graphs(other, own, reference.description, pictures)


def graph_from_detector(detector: Detector, path: str | Path) -> ModelProto | None:
    """The graph of a detector from its input to ``loc`` and ``conf``; None for a TensorRT plan.

    A network in PyTorch is exported as ``ssd-small export`` does, so that its nodes have the names
    that they have there.
    """
    net = getattr(detector.runtime, "net", None)
    if net is not None:
        require("onnxscript", "comparing layers")
        from ..export.to_onnx import onnx_from_network

        return onnx_from_network(net.cpu(), detector.description.with_decode_nms(False))
    path = Path(path)
    if find_sidecar(path) is None:
        model, _ = read_onnx(path)
    else:
        sidecar, content = read_engine(path)
        if sidecar.target != "onnxruntime":
            return None
        model = onnx.load_model_from_string(content)
    made = {name for node in model.graph.node for name in node.output}
    # an optimiser of another tool may have renamed the heads; the graph is then cut as it is
    return cut_model(model, HEADS) if made.issuperset(HEADS) else model
