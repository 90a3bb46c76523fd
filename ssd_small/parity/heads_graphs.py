"""Obtain the graphs that a search for the first differing layer compares from opened detectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx import ModelProto

from ..artefacts.sidecar import read_engine
from ..export.fold import fold_batch_norm
from ..export.picture_input import strip_preprocessing
from ..export.prepare import prepare
from ..export.quantised_layers import LayerCost, layer_costs
from ..files import sha256_of
from ..pictures.pixels import decoded_from_picture
from ..pictures.preprocessing import input_from_image
from ..requirements import require
from ..runtimes.graph_files import heads_from_model, model_from_file
from .first_layer import search_from_graphs
from .layer_errors import Search

if TYPE_CHECKING:
    from ..detection.detector import Detector


def search_from_detectors(
    reference: Detector,
    reference_path: str | Path,
    engine: Detector,
    engine_path: str | Path,
    pictures: Sequence[Any],
) -> Search | None:
    """Search for the first layer of an opened engine that differs from its opened reference.

    Parts of a TensorRT engine are built for the GPU at hand.

    Args:
        reference, engine: the two detectors.
        reference_path, engine_path: what they were opened from.
        pictures: see :func:`~.first_layer.search_from_graphs`.

    Returns:
        The result, or None if either has no available graph: a TensorRT plan that is INT8, or
        whose ONNX file no longer lies beside it.

    Raises:
        BadFile: a reference that takes pictures has lost the name of where its network begins.
        MissingRequirement: onnx, ONNX Runtime, or what exports a PyTorch network is missing.
    """
    require("onnx", "comparing layers")
    require("onnxruntime", "comparing layers")
    own = graph_from_detector(engine, engine_path)
    other = graph_from_detector(reference, reference_path) if own is not None else None
    if own is None or other is None:
        return None
    if reference.description.pictures is not None:
        # the reference is fed the input of the network inside it, as the engine's parts are
        strip_preprocessing(other, reference.description, reference_path)
    sidecar = getattr(engine.runtime, "sidecar", None)
    if sidecar is None:
        opener = getattr(engine.runtime, "open_part", None)
        executed_in = None if opener is None else engine.runtime.precision
        return search_from_graphs(other, own, reference.description, pictures, opener, executed_in)
    from .tensorrt_parts import TensorRtParts

    parts = TensorRtParts(sidecar.options)
    return search_from_graphs(other, own, reference.description, pictures, parts)


def costs_from_detectors(
    reference: Detector,
    reference_path: str | Path,
    engine: Detector,
    engine_path: str | Path,
    pictures: Sequence[Any],
) -> list[LayerCost] | None:
    """How much each INT8 convolution of an opened engine alone changes its reference's heads.

    Args:
        reference, engine, reference_path, engine_path: see :func:`search_from_detectors`.
        pictures: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`.

    Returns:
        The costs, most expensive first; None if either has no available graph.

    Raises:
        BadFile, MissingRequirement: see :func:`search_from_detectors`.
    """
    require("onnx", "comparing layers")
    require("onnxruntime", "comparing layers")
    own = graph_from_detector(engine, engine_path)
    other = graph_from_detector(reference, reference_path) if own is not None else None
    if own is None or other is None:
        return None
    description = reference.description
    if description.pictures is not None:
        strip_preprocessing(other, description, reference_path)
    fold_batch_norm(other)
    inputs = [
        input_from_image(
            decoded_from_picture(one, preprocessing=description.decoding).pixels,
            description.preprocessing,
        )[None]
        for one in pictures
    ]
    return layer_costs(other, own, inputs)


def graph_from_detector(detector: Detector, path: str | Path) -> ModelProto | None:
    """The graph of a detector from its input to ``loc`` and ``conf``; None if it is unavailable.

    For a TensorRT plan this is what its builder was given, recreated from the ONNX file. A PyTorch
    network is exported as by ``ssd-small export``, so its nodes have the same names as there.
    """
    net = getattr(detector.runtime, "net", None)
    if net is not None:
        require("onnxscript", "comparing layers")
        from ..export.to_onnx import onnx_from_network

        return onnx_from_network(net.cpu(), detector.description.with_decode_nms(False))
    path = Path(path)
    model = model_from_file(path)
    if model is None:
        return _graph_of_plan(path)
    # another tool's optimiser may have renamed the heads; the graph is then used as it is
    return heads_from_model(model) or model


def _graph_of_plan(path: Path) -> ModelProto | None:
    sidecar, _ = read_engine(path)
    source = path.parent / sidecar.onnx.file
    if not source.is_file() or sha256_of(source) != sidecar.onnx.sha256:
        return None
    keep = sidecar.options.keep_fp
    precision = sidecar.options.precision
    if precision == "int8":
        return None  # its ranges come from pictures that may no longer be available
    return prepare(source, precision, heads=True, for_plugin=False, keep_fp=keep).model
