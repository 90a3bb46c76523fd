"""The plugin's work in an engine of the double of TensorRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from ssd_small.export.decode_nms_node import strip_decode_nms

from ssd_small.artefacts.decode_nms import edges_from_node, find_decode_nms, params_from_node
from ssd_small.postprocess import PostprocessParams, decode_nms

Taken = tuple[np.ndarray, PostprocessParams, tuple[float, ...]]


def take_plugin(model: onnx.ModelProto) -> Taken | None:
    """Takes the node that is the plugin's from a model: prior boxes, parameters and edges."""
    node = find_decode_nms(model)
    if node is None or model.functions:
        return None
    stored = next(i for i in model.graph.initializer if i.name == node.input[2])
    params = params_from_node(node, Path("plan"))
    edges = edges_from_node(node)
    strip_decode_nms(model)
    return onnx.numpy_helper.to_array(stored), params, edges


def serve(
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    params: PostprocessParams,
    edges: tuple[float, float],
) -> list[np.ndarray]:
    """The five outputs of the operator."""
    found = decode_nms(loc, conf, priors, params, edges=edges)
    rows = (len(found), params.max_detections(*conf.shape[1:]))
    boxes, scores = np.zeros((*rows, 4), np.float32), np.zeros(rows, np.float32)
    labels, prior = np.zeros(rows, np.int32), np.full(rows, -1, np.int32)
    for image, one in enumerate(found):
        place = (image, slice(len(one)))
        boxes[place], scores[place] = one.boxes, one.scores
        labels[place], prior[place] = one.labels, one.prior_indices
    return [np.int32([len(one) for one in found]), boxes, scores, labels, prior]
