"""The public detector: pictures in, named boxes in pixels out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..pictures.limits import check_max_pixels
from ..pictures.pixels import ColorOrder, check_color, each_picture, is_path
from ..runtimes.base import empty_input
from ..runtimes.without_decode_nms import runtime_of_heads
from ..video.sources import name_of, source_from
from .inference import Inference, Stopwatch
from .picture_detections import PictureDetections, picture_detections
from .pipeline import MOST_WORKERS, Outcome, detect
from .thresholds import ScoreFilter, ScoreThreshold, score_filter
from .tiled import Seen, detect_tiled
from .tiling import Tiles, tiling_from_options

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..pictures.preprocessing import Preprocessing
    from ..pictures.tiles import Tiling
    from ..postprocess import PostprocessParams
    from ..postprocess.dispatch import Backend
    from ..runtimes import Runtime

#: pictures per call of a runtime that has no limit of its own
USUAL_BATCH = 8


class Detector:
    """Finds objects in pictures; made by :func:`ssd_small.load`.

    A detector serves one thread at a time; give each thread its own. It is a context manager;
    leaving the block frees the engine.

    Attributes:
        inference: network or engine, with its post-processing.
        max_batch: pictures per call of the engine; larger numbers are split into such batches.
        workers: threads that read and resize pictures ahead of the engine.
        max_pixels: largest picture file that is decoded, in pixels; None: see
            :func:`ssd_small.load`.
        caps_grow: for a picture in tiles, multiply the caps of decode + NMS by its views.
    """

    def __init__(
        self,
        runtime: Runtime,
        params: PostprocessParams | None = None,
        *,
        threads: int = 0,
        max_batch: int | None = None,
        workers: int | None = None,
        backend: Backend = "auto",
        max_pixels: int | None = None,
        caps_grow: bool | None = None,
    ) -> None:
        """Wrap a runtime.

        Args:
            runtime: network or engine; closed with the detector.
            params: parameters of decode + NMS; default: those of the runtime's description.
            threads: CPU threads for decode + NMS outside the engine; 0 for one per core.
            max_batch: largest batch, limited by what the runtime accepts; default: that limit.
            workers: threads that read pictures; default: enough to keep the runtime busy.
            backend: for decode + NMS outside the engine, see :func:`ssd_small.decode_nms`.
            max_pixels: limit for a picture file, see :func:`ssd_small.load`.
            caps_grow: multiply ``pre_nms_topk``, ``keep_topk_per_class`` and ``keep_topk`` of a
                picture in tiles by the number of its views; default: only if ``params`` is not
                given, since explicit caps apply to the picture.

        Raises:
            UsageError: ``params`` differ from those inside the engine, or a number is out of range.
        """
        for name, number in (("max_batch", max_batch), ("workers", workers)):
            if number is not None and not (isinstance(number, (int, np.integer)) and number >= 1):
                raise UsageError(f"{name} {number!r}: expected a whole number of at least 1")
        check_max_pixels(max_pixels)
        self.max_pixels = max_pixels
        self.caps_grow = params is None if caps_grow is None else caps_grow
        own = params or runtime.description.postprocess
        self.inference = Inference(runtime, own, threads, backend)
        self.max_batch = min(max_batch or runtime.max_batch, runtime.max_batch)
        self.workers = min(workers or usual_workers(runtime), MOST_WORKERS)
        self._of_heads: Inference | None = None
        self._spent = Stopwatch()
        self._closed = False

    @property
    def runtime(self) -> Runtime:
        """The network or engine."""
        return self.inference.runtime

    @property
    def params(self) -> PostprocessParams:
        """Parameters of decode + NMS."""
        return self.inference.params

    @property
    def description(self) -> Description:
        """The network's description of itself."""
        return self.runtime.description

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes it can detect."""
        return self.description.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes network input."""
        return self.description.preprocessing

    @property
    def spent(self) -> dict[str, float]:
        """Seconds per stage of the last call, or of the last stream so far.

        ``read`` and ``preprocess`` are sums over the threads that run beside the engine. Time for
        decode + NMS is in ``network`` if they are inside the engine, else in ``decode_nms``.
        """
        return asdict(self._spent)

    def __call__(
        self,
        pictures: Any,
        *,
        score_threshold: ScoreThreshold | None = None,
        color: ColorOrder = "BGR",
        tiles: Tiles | None = None,
        overlap: float | None = None,
        whole: bool = False,
        object_size: float | None = None,
        only: Sequence[str] | None = None,
    ) -> list[PictureDetections]:
        """Detect objects.

        Args:
            pictures: one picture or several: a path, a folder (its pictures in order of name;
                files without a picture suffix are skipped), a numpy array ``[H, W, 3]`` uint8
                (grey, four-channel and full-range uint16 arrays are converted), a PIL image as it
                is (only files are turned by their EXIF orientation; for a PIL image, call
                ``PIL.ImageOps.exif_transpose``), a torch tensor ``[3, H, W]`` uint8, any iterable
                of these, or an array or tensor with a leading batch dimension.
            score_threshold: return only scores greater than this: a number, or numbers by class
                name (``{"Platelets": 0.2}``; the key None sets that of all other classes, which
                otherwise keep the default). Default: the operating point saved by ``eval
                --save-operating-point``, else 0.5; or the detector's own threshold if larger.
            color: channel order of numpy arrays, ``"BGR"`` (as OpenCV reads them) or ``"RGB"``;
                PIL images and tensors are always RGB.
            tiles: cut each picture into tiles of (width, height) pixels; each is resized to the
                network's input, and one NMS over the picture merges their detections. ``"auto"``
                chooses tiles in which objects are as large at the network's input as they were in
                training.
            overlap: share of a tile that it has in common with the next one; default: 0.2.
            whole: add the whole picture as one more view.
            object_size: for ``"auto"``: side of an object in these pictures, in pixels (the square
                root of its area); default: as in the training pictures.
            only: names of the classes to return; default: all.

        Returns:
            One :class:`PictureDetections` per picture, in order.

        Raises:
            BadFile: a file is absent or not an image.
            UsageError: something is not a picture, a class is unknown, a threshold is below the one
                built into the engine, tiles are asked of a plan with decode + NMS inside, or the
                detector is closed.
        """
        if (source := source_from(pictures)) is not None:
            raise UsageError(
                f"{name_of(source)} is no picture but a source of frames; pass it to "
                "detector.stream(), which gives a result for each"
            )
        cut: dict[str, Any] = {"tiles": tiles, "overlap": overlap, "whole": whole}
        cut |= {"object_size": object_size, "only": only}
        return list(self.stream(pictures, score_threshold=score_threshold, color=color, **cut))

    def stream(
        self,
        pictures: Iterable[Any] | Any,
        *,
        score_threshold: ScoreThreshold | None = None,
        color: ColorOrder = "BGR",
        tiles: Tiles | None = None,
        overlap: float | None = None,
        whole: bool = False,
        object_size: float | None = None,
        only: Sequence[str] | None = None,
        fps: float | None = None,
        track: bool = False,
    ) -> Iterator[PictureDetections]:
        """Detect objects lazily: results come one by one, in bounded memory.

        Pictures are pulled in the consumer's thread and decoded ahead in others. At most
        ``4 * max_batch + 16``, plus a batch for each further instance of the engine, are pulled
        ahead of their results; they must not change meanwhile, so a source that reuses one array
        must pass copies. Closing the iterator stops pulling. An exception of the source is raised
        after the results of the pictures before it.

        Args:
            pictures: as for :meth:`__call__`; or one source of frames, whose results have ``frame``
                and ``time``: the path of a video, which yields all its frames; or a camera index or
                an address (``rtsp://...``), which yields the newest frame whenever the detector is
                free, and is retried for a minute if it goes away.
            score_threshold, color, tiles, overlap, whole, object_size, only: as for
                :meth:`__call__`.
            fps: frames per second to take from a source of frames; default: all.
            track: number the objects of a source of frames: ``tracks`` of its results.

        Raises:
            BadFile: as for :meth:`__call__`; for a video that ends early or is damaged, after its
                last frame.
            MissingRequirement: no such camera; for tracks, edgefirst-tracker is not installed.
        """
        tiling = tiling_from_options(tiles, overlap, whole, object_size, self.description)
        road: dict[str, Any] = {"score_threshold": score_threshold, "tiling": tiling, "only": only}
        if (source := source_from(pictures)) is not None:
            from ..video.opening import open_frames
            from .video import video_outcomes

            frames = open_frames(source, rate=fps, max_pixels=self.max_pixels)
            return self._found(video_outcomes(self, frames, track=track, **road))
        if fps is not None or track:
            raise UsageError(
                "--fps and --track are for videos, cameras and streams; leave them out"
            )
        return self._found(self.outcomes(pictures, color=color, only_shown=True, **road))

    def _found(self, outcomes: Iterator[tuple[Outcome, PictureDetections]]) -> Iterator[Any]:
        try:
            for outcome, found in outcomes:
                if outcome.error is not None:
                    raise outcome.error
                yield found
        finally:
            outcomes.close()  # type: ignore[attr-defined]

    def outcomes(
        self,
        pictures: Iterable[Any] | Any,
        *,
        score_threshold: ScoreThreshold | None = None,
        color: ColorOrder = "BGR",
        keep_pixels: bool = False,
        tiling: Tiling | None = None,
        seen: Seen = lambda view: None,
        only_shown: bool = False,
        only: Sequence[str] | None = None,
        one_by_one: bool = False,
    ) -> Iterator[tuple[Outcome, PictureDetections]]:
        """As :meth:`stream`, with everything that this package's own programs need.

        Yields for each picture its outcome (every detection of decode + NMS, in the unit square, or
        the error of an unreadable picture) and the result made from it. ``tiling`` is how pictures
        are cut; ``seen`` is called with each view. ``only_shown`` limits the outcome of a picture
        in tiles to what the result shows; the result is the same, since lower scores never suppress
        higher ones, and a large picture has very many of them. ``only``: names of the classes in
        the results. ``one_by_one``: finish a picture before pulling the next (in tiles, soon after
        pulling it).
        """
        self._check_open()
        if tiling is not None and self.runtime.instances > 1:
            raise UsageError(
                f"{self.runtime.instances} instances of the engine with tiles, whose batches come "
                "one by one: open it with one"
            )
        inference = self.inference if tiling is None else self.inference_of_heads()
        keep = self.filter_from_threshold(score_threshold, inference, only)
        check_color(color)
        if not inference.is_bound and keep.lowest < np.float32(self.params.score_threshold):
            inference = inference.with_score_threshold(keep.lowest)
        self._spent = spent = Stopwatch()
        road: dict[str, Any] = {"batch_size": self.max_batch, "color": color, "spent": spent}
        road |= {"keep_pixels": keep_pixels, "max_pixels": self.max_pixels}
        given = each_picture(pictures)
        workers = 0 if one_by_one else self.workers
        if tiling is not None:
            road |= {"workers": workers, "caps_grow": self.caps_grow, "seen": seen}
            if only_shown:
                road["floor"] = inference.params.score_threshold
                inference = inference.with_score_threshold(keep.lowest)
            return self._outcomes(detect_tiled(inference, given, tiling, **road), keep)
        if one_by_one:
            road["batch_size"] = 1
        # one picture is not worth a thread
        elif isinstance(given, list) and len(given) < 2:
            workers = 0
        return self._outcomes(detect(inference, given, workers=workers, **road), keep)

    def inference_of_heads(self) -> Inference:
        """Inference with separate post-processing, as tiles need it; split once and kept.

        Raises:
            UsageError: decode + NMS cannot be separated from the engine.
        """
        if self._of_heads is None:
            runtime = runtime_of_heads(self.runtime, self.inference.threads)
            self._of_heads = replace(self.inference, runtime=runtime)
        return self._of_heads

    def filter_from_threshold(
        self,
        score_threshold: ScoreThreshold | None,
        inference: Inference | None = None,
        only: Sequence[str] | None = None,
    ) -> ScoreFilter:
        """The filter of the detections to show, for ``inference`` or the detector's own.

        Raises:
            UsageError: see :func:`~ssd_small.detection.thresholds.score_filter`.
        """
        own, bound = self.params.score_threshold, (inference or self.inference).is_bound
        return score_filter(score_threshold, self.description, own, is_bound=bound, only=only)

    def _outcomes(
        self, outcomes: Iterator[Outcome], keep: ScoreFilter
    ) -> Iterator[tuple[Outcome, PictureDetections]]:
        own = self.description.tiles
        inside = 1 if own is None else own.count
        try:
            for outcome in outcomes:
                name = os.fspath(outcome.picture) if is_path(outcome.picture) else None
                found = picture_detections(
                    *(keep(outcome.detections), outcome.size, name, self.description),
                    tiles=outcome.tiles * inside,
                )
                yield outcome, found
        finally:
            outcomes.close()  # type: ignore[attr-defined]

    def warmup(self) -> None:
        """Run empty input through the engine, so that its first-use set-up is done."""
        self._check_open()
        for batch in sorted({1, self.max_batch}):
            self.inference(empty_input(self.description, batch))

    def close(self) -> None:
        """Free the engine; calling twice is harmless."""
        self._closed = True
        with self.inference.lock:  # a stream may have a batch in it
            if self._of_heads is not None:
                self._of_heads.runtime.close()
            self.runtime.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this detector has been closed; load it again")

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Network, classes, runtime, precision, input size and batch on one line."""
        runtime, size = self.runtime, self.preprocessing
        state = ", closed" if self._closed else ""
        return (
            f"Detector({self.description.model}, {len(self.labels)} classes, {runtime.name} "
            f"{runtime.precision}, input {size.width}x{size.height}, max_batch {self.max_batch}"
            f"{state})"
        )


def usual_workers(runtime: Runtime) -> int:
    """The number of threads that read pictures fast enough for a runtime.

    On the CPU, reading competes with the network, and two threads keep ahead of it; a GPU consumes
    pictures faster than a few cores decode them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(2 if runtime.device == "cpu" else MOST_WORKERS, cores or 1)
