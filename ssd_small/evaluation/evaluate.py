"""Running a detector over a data set and scoring what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets.coco import Annotations, image_paths
from ..detection.detector import Detector
from ..pictures.batches import load_batches
from .coco_results import category_ids, results_from_detections, score


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a detector on a data set.

    Attributes:
        metrics: the twelve COCO numbers.
        results: COCO result entries.
        seconds: wall time of detection, and how much of it each stage took.
        size_mismatches: images whose decoded size is not the annotated one (boxes are scaled to
            the annotated size).
    """

    metrics: dict[str, float | None]
    results: list[dict[str, Any]]
    seconds: dict[str, float]
    size_mismatches: int


def evaluate(
    detector: Detector,
    annotations: Annotations,
    images: Path,
    *,
    batch_size: int = 8,
    workers: int = 2,
    inclusive: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Detect on every image of a data set, decoding ahead in threads, and score.

    Args:
        detector: network or engine with its post-processing.
        annotations: ground truth.
        images: folder of the image files.
        batch_size: images per call, at most what the engine takes.
        workers: decoding threads.
        inclusive: see :func:`ssd_small.evaluation.coco_results.results_from_detections`.
        progress: called with the number of images just finished.

    Raises:
        BadFile: an image is missing or unreadable, or categories do not fit.
    """
    runtime = detector.runtime
    ids = category_ids(annotations, runtime.description)
    paths = image_paths(annotations, images)
    results: list[dict[str, Any]] = []
    mismatches = 0
    started = time.perf_counter()
    batches = load_batches(
        paths,
        runtime.description.preprocessing,
        min(batch_size, runtime.max_batch),
        workers=workers,
    )
    for batch in batches:
        for index, size, detections in zip(
            batch.indices, batch.sizes, detector(batch.images), strict=True
        ):
            image = annotations.images[index]
            mismatches += size != (image["height"], image["width"])
            results += results_from_detections(
                detections, image, runtime.description, ids, inclusive=inclusive
            )
        progress(len(batch.indices))
    seconds = {
        "total": time.perf_counter() - started,
        "network": detector.spent.network,
        "decode_nms": detector.spent.decode_nms,
    }
    return Evaluation(score(annotations, results), results, seconds, mismatches)
