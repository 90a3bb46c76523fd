"""Detections of torchvision's SSD from the same heads, as its own post-processing makes them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torchvision.models.detection._utils import BoxCoder  # noqa: E402
from torchvision.models.detection.ssd import SSD  # noqa: E402

from ssd_small.bench.synthetic import detector_heads  # noqa: E402
from ssd_small.models.priors import priors_from_spec  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.postprocess import Detections, PostprocessParams, decode_nms  # noqa: E402

SIDE, CLASSES = 300, 21
#: of its two networks: threshold, overlap, per class before NMS, per image
PROTOCOLS = {
    "ssd300_vgg16": PostprocessParams(0.01, 0.45, (0.1, 0.2), "softmax", 0, 400, 0, 200),
    "ssdlite320": PostprocessParams(0.001, 0.55, (0.1, 0.2), "softmax", 0, 300, 0, 300),
}
#: torchvision decodes in pixels from the priors' corners: some ten roundings of 300 * 2**-24, of
#: boxes that may be twice as large
PIXELS = 10 * 2 * SIDE * 2.0**-24
#: softmax in another order of summation: some ten roundings
SCORES = 10 * 2.0**-23


def heads(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Many candidates of all sizes, some of them over the edges of the picture."""
    priors = priors_from_spec(get_spec("vgg16"))[::5]
    loc, conf = detector_heads(priors, CLASSES, objects=20, seed=seed)
    random = np.random.default_rng(seed)
    loc += random.normal(0, 1.2, loc.shape).astype(np.float32)
    conf += random.normal(0, 1.0, conf.shape).astype(np.float32)
    return loc, conf, priors


def by_torchvision(
    loc: np.ndarray, conf: np.ndarray, priors: np.ndarray, params: PostprocessParams
) -> dict[str, np.ndarray]:
    """``SSD.postprocess_detections`` itself, of one image."""
    model: Any = SimpleNamespace(
        box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)),
        score_thresh=params.score_threshold,
        nms_thresh=params.iou_threshold,
        topk_candidates=params.pre_nms_topk,
        detections_per_img=params.keep_topk,
    )
    centres, sizes = priors[:, :2].astype(np.float64), priors[:, 2:].astype(np.float64)
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1) * SIDE
    outputs = {
        "bbox_regression": torch.from_numpy(loc),
        "cls_logits": torch.from_numpy(conf),
    }
    anchors = [torch.from_numpy(corners.astype(np.float32))]
    (found,) = SSD.postprocess_detections(model, OrderedDict(outputs), anchors, [(SIDE, SIDE)])
    return {name: value.numpy() for name, value in found.items()}


def matched(theirs: dict[str, np.ndarray], ours: Detections) -> int:
    """How many of theirs are among ours: the same class, score and box, each taken once."""
    free = np.ones(len(ours), bool)
    for box, score, label in zip(theirs["boxes"], theirs["scores"], theirs["labels"], strict=True):
        same = free & (ours.labels == label)
        same &= np.abs(ours.scores - score) <= SCORES * score
        same &= np.abs(ours.boxes * SIDE - box).max(axis=1) <= PIXELS
        free[np.flatnonzero(same)[:1]] = False
    return int((~free).sum())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_with_clipped_boxes_detections_are_torchvision_s(protocol: str) -> None:
    counts = {True: 0, False: 0, None: 0}
    for seed in range(4):
        loc, conf, priors = heads(seed)
        params = replace(PROTOCOLS[protocol], clip_boxes=True)
        theirs = by_torchvision(loc, conf, priors, params)
        assert len(theirs["scores"]) == params.keep_topk
        counts[None] += params.keep_topk
        for clip in (True, False):
            (ours,) = decode_nms(loc, conf, priors, replace(params, clip_boxes=clip))
            assert len(ours) == params.keep_topk
            # cut in any case: what differs is what NMS has seen
            counts[clip] += matched(theirs, replace(ours, boxes=ours.boxes.clip(0, 1)))
    assert counts[True] == counts[None]
    # which is what the parameter is for
    assert counts[False] < 0.99 * counts[None]
