"""Scoring a network between two updates, on pictures held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..coco import Annotations, score
from ..models.network import SsdNetwork
from ..postprocess import Backend, PostprocessParams, decode_nms
from ..preprocess import input_from_image


def evaluate_network(
    net: SsdNetwork,
    images: Iterable[npt.NDArray[np.uint8]],
    annotations: Annotations,
    params: PostprocessParams | None = None,
    *,
    backend: Backend = "auto",
) -> dict[str, float | None]:
    """The twelve COCO numbers of a network; its mode (training or not) is left as it was.

    Args:
        net: its class ``i`` is the i-th category of ``annotations``, class 0 the background.
        images: BGR ``[H, W, 3]``, one per entry of ``annotations.images``, in that order.
        annotations: ground truth.
        params: default :meth:`PostprocessParams.coco`.
        backend: see :func:`ssd_small.decode_nms`.
    """
    params = params or PostprocessParams.coco()
    results: list[dict[str, Any]] = []
    was_training = net.training
    net.eval()
    try:
        for entry, image in zip(annotations.images, images, strict=True):
            batch = torch.from_numpy(input_from_image(image, net.spec.preprocessing))[None]
            with torch.no_grad():
                loc, conf = net(batch)
            (found,) = decode_nms(
                loc.numpy(), conf.numpy(), net.priors.numpy(), params, backend=backend
            )
            boxes = found.boxes * np.float32([entry["width"], entry["height"]] * 2)
            boxes[:, 2:] -= boxes[:, :2]
            results += [
                {
                    "image_id": entry["id"],
                    "category_id": annotations.categories[label - 1]["id"],
                    "bbox": box,
                    "score": confidence,
                }
                for box, label, confidence in zip(
                    boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
                )
            ]
    finally:
        net.train(was_training)
    return score(annotations, results)
