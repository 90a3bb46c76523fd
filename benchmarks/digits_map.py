"""COCO average precision of a network on digit scenes held in memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from ssd_small.datasets.digits import coco_from_scenes
from ssd_small.datasets.digits_scenes import Scene
from ssd_small.models.network import SsdNetwork
from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.preprocess import Preprocessing

#: average precision by name: AP, AP50, APs, APm, APl
Figures = dict[str, float]
_PLACE_IN_STATS = {"AP": 0, "AP50": 1, "APs": 3, "APm": 4, "APl": 5}


def evaluate(
    net: SsdNetwork,
    scenes: Sequence[Scene],
    tensor_from_image: Callable[[np.ndarray, Preprocessing], Tensor],
) -> Figures:
    """The published protocol on ``scenes``, in float32; leaves the network in its mode."""
    results = []
    was_training = net.training
    net.eval()
    for image_id, scene in enumerate(scenes, 1):
        with torch.no_grad():
            loc, conf = net(tensor_from_image(scene.image, net.spec.preprocessing)[None])
        (found,) = decode_nms(
            loc.numpy(), conf.numpy(), net.priors.numpy(), PostprocessParams.coco(), backend="numpy"
        )
        height, width = scene.image.shape[:2]
        boxes = found.boxes * np.float32([width, height, width, height])
        boxes[:, 2:] -= boxes[:, :2]
        results += [
            {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
            for box, label, score in zip(
                boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
            )
        ]
    net.train(was_training)
    if not results:
        return dict.fromkeys(_PLACE_IN_STATS, 0.0)
    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = coco_from_scenes([(str(i), s) for i, s in enumerate(scenes)], "scenes")
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: float(judge.stats[place]) for name, place in _PLACE_IN_STATS.items()}
