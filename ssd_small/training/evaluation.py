"""Scoring a network during training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artefacts.description import description_from_spec
from ..datasets.coco import Annotations
from ..detection.detector import Detector
from ..evaluation.evaluate import evaluate
from ..models.network import SsdNetwork
from ..pictures.tiles import Tiling
from ..postprocess.protocol import params_from_preset
from ..runtimes.torch import TorchRuntime

if TYPE_CHECKING:
    from ..postprocess import PostprocessParams
    from ..postprocess.dispatch import Backend

#: preset of decode + NMS used for the scores of training: the published one
PROTOCOL = "coco"


def evaluate_network(
    net: SsdNetwork,
    annotations: Annotations,
    images: str | Path | Iterable[Any],
    labels: Sequence[str] | None = None,
    *,
    params: PostprocessParams | None = None,
    batch_size: int = 8,
    threads: int = 0,
    backend: Backend = "auto",
    skips: int = 0,
    tiling: Tiling | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, float | None]:
    """Compute the twelve COCO numbers of a network, on the device that holds it.

    The network's mode (training or evaluation) is restored afterwards.

    Args:
        net: the network; its class ``i`` is ``labels[i - 1]`` or, without labels, the i-th
            category of ``annotations``. Class 0 is the background.
        annotations: ground truth.
        images: see :func:`ssd_small.evaluation.evaluate.evaluate`.
        labels: names of the network's classes, without background.
        params: parameters of decode + NMS; default: the preset :data:`PROTOCOL`.
        batch_size: images per call of the network.
        threads: CPU threads of decode + NMS; 0 for one per core.
        backend: see :func:`ssd_small.decode_nms`.
        skips: how many pictures may be unreadable; they are not scored.
        tiling: how pictures are cut into tiles, as in ``detect``; None for whole pictures.
        say: called with a line about the pictures that were not scored.

    Raises:
        BadFile: more images than ``skips`` are missing or unreadable, or the categories do not
            match.
    """
    was_training = net.training
    description = description_from_spec(net.spec, net.num_classes, net.width, labels=labels)
    detector = Detector(
        TorchRuntime(net, description),
        params or params_from_preset(PROTOCOL, net.spec.postprocess),
        threads=threads,
        max_batch=batch_size,
        backend=backend,
        caps_grow=True,
    )
    try:
        done = evaluate(detector, annotations, images, leave_out=skips > 0, tiling=tiling)
        left_out = (*done.unreadable.values(), *done.skipped.values())
        if len(left_out) > skips:
            raise left_out[skips]
        if left_out:
            say(
                f"note: {len(left_out)} images were not scored, the first: "
                f"{left_out[0].command_line}"
            )
        return done.metrics
    finally:
        net.train(was_training)
