"""Scoring a network between two updates, on pictures held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..artifact import describe
from ..coco import Annotations, results_from_detections, score
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
    description = describe(net.spec, net.num_classes, net.width)
    ids = [int(category["id"]) for category in annotations.categories]
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
            results += results_from_detections(found, entry, description, ids)
    finally:
        net.train(was_training)
    return score(annotations, results)
