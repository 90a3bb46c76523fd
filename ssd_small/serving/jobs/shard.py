"""Computing one shard, with the same function in one process and on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...detection.load import load
from ...errors import BadFile
from ...pictures.fetched import FetchedPicture
from ...postprocess import Detections
from .addresses import is_address, picture_at
from .exact import bytes_from_exact, exact_from_detections
from .job import Job, Shard, hash_of_engine, tiling_of_job
from .rows import Rows, bytes_from_rows

if TYPE_CHECKING:
    from ...detection.detector import Detector
    from ...detection.picture_detections import PictureDetections
    from ...detection.pipeline import Outcome
    from ...detection.thresholds import ScoreFilter


@dataclass(frozen=True)
class Classes:
    """The meaning of a job's labels.

    Attributes:
        names: names of the classes, without background.
        background_label: class index of the background; -1 for none.
    """

    names: tuple[str, ...]
    background_label: int


@dataclass(frozen=True)
class ShardResult:
    """The result of a shard.

    Attributes:
        index: index of the shard.
        content: content of the file of its rows.
        exact: content of the file with :func:`exact_from_detections` of each row.
        pictures: number of pictures, including unreadable ones.
        detections: number of rows.
        errors: path or address of each picture without a result, and why.
    """

    index: int
    content: bytes
    exact: bytes
    pictures: int
    detections: int
    errors: tuple[tuple[str, str], ...]


def open_for_job(job: Job, threads: int = 0, workers: int | None = None) -> Detector:
    """Open the detector of a job.

    Args:
        job: the job; its engine must be unchanged since the job was created.
        threads: CPU threads; 0 for one per core.
        workers: threads that read pictures; None: enough to keep the engine busy.

    Raises:
        BadFile: the engine has changed, or is a different file on this machine.
        SsdSmallError: see :func:`ssd_small.load`.
    """
    found = hash_of_engine(job.engine)
    if found != job.engine_hash:
        raise BadFile(f"{job.engine} is another file than that of the job; put the same one there")
    how: dict[str, Any] = {"max_batch": job.batch, "max_pixels": job.max_pixels}
    detector = load(job.engine, threads=threads, workers=workers, **how)
    try:
        _shown(job, detector)
    except BaseException:
        detector.close()
        raise
    return detector


def classes_of(detector: Detector) -> Classes:
    """The meaning of a detector's labels."""
    return Classes(detector.labels, detector.params.background_label)


def result_of_shard(
    detector: Detector, job: Job, shard: Shard, seen: Callable[[], None] = lambda: None
) -> ShardResult:
    """Detect the objects in a shard; ``seen`` is called after each picture.

    Batches do not cross shards, so that the result is bit-identical whatever else a worker did.
    """
    rows, errors = Rows(), []
    exact = [exact_from_detections(Detections.empty())]
    keep = _shown(job, detector)
    with closing(_outcomes(detector, job, shard)) as outcomes:  # type: ignore[type-var]
        for image, (outcome, found) in zip(shard.images, outcomes, strict=True):
            fault = None if outcome.error is None else outcome.error.command_line
            if fault is None:
                own = exact_from_detections(keep(outcome.detections))
                fault = _not_finite(image, own)
            if fault is None:
                rows.add(image, found.to_dict())
                exact.append(own)
            else:
                errors.append((image, fault))
            seen()
    files = bytes_from_rows(rows, job.rows), bytes_from_exact(np.concatenate(exact))
    return ShardResult(shard.index, *files, len(shard.images), len(rows), tuple(errors))


def _outcomes(
    detector: Detector, job: Job, shard: Shard
) -> Iterator[tuple[Outcome, PictureDetections]]:
    pictures = [
        FetchedPicture(image, partial(picture_at, image)) if is_address(image) else Path(image)
        for image in shard.images
    ]
    how: dict[str, Any] = {"tiling": tiling_of_job(job, detector), "only_shown": True}
    return detector.outcomes(pictures, score_threshold=_threshold(job, detector), **how)


def _threshold(job: Job, detector: Detector) -> dict[str | None, float]:
    """Score threshold of each class; the engine's own unless the job sets one."""
    return {None: detector.params.score_threshold, **dict(job.thresholds)}


def _shown(job: Job, detector: Detector) -> ScoreFilter:
    """The filter that selects the detections that become rows."""
    tiling = tiling_of_job(job, detector)
    inference = None if tiling is None else detector.inference_of_heads()
    return detector.filter_from_threshold(_threshold(job, detector), inference)


def _not_finite(image: str, exact: npt.NDArray[np.float32]) -> str | None:
    """An error message if a detection is not finite, which JSON and COCO cannot represent."""
    for index in np.flatnonzero(~np.isfinite(exact).all(axis=1)):
        return f"image {image}: detection {index} of the network is not finite"
    return None
