"""Scoring a network between two updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..artefacts.description import description_from_spec
from ..datasets.coco import Annotations
from ..detection.detector import Detector
from ..evaluation.coco_results import results_from_detections, score
from ..evaluation.evaluate import evaluate
from ..models.network import SsdNetwork
from ..pictures.preprocessing import input_from_image
from ..postprocess import PostprocessParams, decode_nms
from ..postprocess.dispatch import Backend
from ..runtimes.torch import TorchRuntime


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
    description = description_from_spec(net.spec, net.num_classes, net.width)
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


def evaluate_files(
    net: SsdNetwork,
    annotations: Annotations,
    images: Path,
    labels: Sequence[str],
    *,
    params: PostprocessParams | None = None,
    batch_size: int = 8,
    workers: int = 2,
    threads: int = 0,
) -> dict[str, float | None]:
    """The twelve COCO numbers of a network on image files, on the device it lies on.

    Its mode (training or not) is left as it was.

    Args:
        net: its class ``i`` is ``labels[i - 1]``.
        annotations: ground truth with categories of these names.
        images: folder of the image files.
        labels: names of the network's classes, background left out.
        params: default :meth:`PostprocessParams.coco`.
        batch_size: images per call of the network.
        workers: decoding threads.
        threads: CPU threads of decode + NMS; 0 for one per core.

    Raises:
        BadFile: an image is missing or unreadable, or the categories do not fit.
    """
    was_training = net.training
    description = description_from_spec(net.spec, net.num_classes, net.width, labels=labels)
    detector = Detector(TorchRuntime(net, description), params or PostprocessParams.coco(), threads)
    try:
        outcome = evaluate(detector, annotations, images, batch_size=batch_size, workers=workers)
    finally:
        net.train(was_training)
    return outcome.metrics
