"""The detector people use: pictures in, named boxes in pixels out."""

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

    One detector serves one thread at a time: several threads take a detector each. It is a context
    manager; leaving the block frees the engine.

    Attributes:
        inference: network or engine, with its post-processing.
        max_batch: pictures per call of the engine; any number is split into such batches.
        workers: threads that read and resize pictures ahead of the engine.
        max_pixels: most pixels of a file that are decoded; None: see :func:`ssd_small.load`.
        caps_grow: of a picture in tiles, the caps of decode + NMS count for each of its views.
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
        """Put a runtime to use.

        Args:
            runtime: network or engine; closed with the detector.
            params: decode + NMS; default: what the runtime's description holds.
            threads: CPU threads of decode + NMS outside of the engine; 0 for one per core.
            max_batch: largest batch, at most what the runtime takes; default: that.
            workers: threads that read pictures; default: what keeps the runtime busy.
            backend: of decode + NMS outside of the engine, see :func:`ssd_small.decode_nms`.
            max_pixels: of a picture's file, see :func:`ssd_small.load`.
            caps_grow: ``pre_nms_topk``, ``keep_topk_per_class`` and ``keep_topk`` of a picture in
                tiles are multiplied by the number of its views; default: unless ``params`` are
                given, which then count for the picture.

        Raises:
            UsageError: other params than those inside the engine, or a number out of range.
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
        """What the network says of itself."""
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

        ``read`` and ``preprocess`` happen in threads beside the engine and are their sums;
        ``network`` holds decode + NMS too where they are inside the engine, else ``decode_nms``.
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
            pictures: one picture or several: a path, a folder (its pictures by name; what is none
                by its name is passed over), a numpy array ``[H, W, 3]`` uint8 (grey,
                four channels and full-range uint16 are converted), a PIL image as it stands (a
                path is turned by its EXIF orientation, a PIL image is not:
                ``PIL.ImageOps.exif_transpose`` does it), a torch tensor ``[3, H, W]`` uint8, any
                iterable of these, or a batch with a dimension more.
            score_threshold: only scores greater than this: a number, or numbers by class name
                (``{"Platelets": 0.2}``; the others keep the default, or the value of the key
                None). Default: that of the operating point which ``eval --save-operating-point``
                has saved, else 0.5; or the detector's own threshold where that is larger.
            color: channel order of numpy arrays, ``"BGR"`` (as OpenCV reads them) or ``"RGB"``;
                PIL images and tensors are RGB whatever it says.
            tiles: cut each picture into tiles of (width, height) pixels, which are seen by
                themselves, each at the network's input size, and merged by one NMS over the
                picture. ``"auto"``: tiles in which objects are as large at the network's input as
                those of its training were.
            overlap: share of a tile that the next one has too; default: 0.2.
            whole: the whole picture is one more view.
            object_size: for ``"auto"``: side of an object in these pictures, in pixels (the square
                root of its area); default: as in the pictures of training.

        Returns:
            One :class:`PictureDetections` per picture, in their order.

        Raises:
            BadFile: a file is absent or not an image.
            UsageError: something that is no picture, an unknown class, a threshold under the one
                built into the engine, tiles for a plan with decode + NMS inside, or a closed
                detector.
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
        """As calling the detector, but lazily: results come one by one, in bounded memory.

        Pictures are pulled in the consumer's thread and decoded ahead in others; at most
        ``4 * max_batch + 16``, and a batch more for each further instance of the engine, are pulled
        and not yet answered, and must not change meanwhile: a source that fills one array again and
        again gives copies. Closing the iterator stops
        pulling; what the source raises is raised after the results of what it gave before.

        Args:
            pictures: as there; or one source of frames, whose results have ``frame`` and ``time``:
                the path of a video, all of whose frames come out; the index of a camera or an
                address (``rtsp://...``), of which the newest frame is taken whenever there is time
                for one, and which is tried again for a minute when it goes away.
            score_threshold, color, tiles, overlap, whole, object_size, only: as there.
            fps: of a source of frames, take so many of each second; default: all.
            track: of a source of frames, number the objects: ``tracks`` of its results.

        Raises:
            BadFile: as there; of a video after its last frame, where it ends early or is damaged.
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
        """The same road with all that it knows: what programs of this package walk on.

        Per picture its outcome (every detection of decode + NMS in the unit square, and the error
        of one that cannot be read) and the result made of it. ``tiling`` is how pictures are cut,
        ``seen`` told of their tiles. ``only_shown``: of pictures in tiles the outcome holds no more
        than the result, which is the same: what scores less suppresses nothing that scores more,
        and a large picture has a great deal of it. ``only``: names of the classes in the results.
        ``one_by_one``: a picture is answered before the next one is pulled (in tiles, soon after).
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
        """Network and post-processing apart, as tiles need them; cut off each other once.

        Raises:
            UsageError: decode + NMS are inside the engine for good.
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
        """What picks the detections that are shown, of the detector's own inference or another.

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
        """Run empty input through the engine: what it sets up on first use is set up then."""
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
        """Network, classes, runtime, precision, input size and batch in a line."""
        runtime, size = self.runtime, self.preprocessing
        state = ", closed" if self._closed else ""
        return (
            f"Detector({self.description.model}, {len(self.labels)} classes, {runtime.name} "
            f"{runtime.precision}, input {size.width}x{size.height}, max_batch {self.max_batch}"
            f"{state})"
        )


def usual_workers(runtime: Runtime) -> int:
    """Threads that read pictures fast enough for a runtime.

    On the CPU reading takes its time from the network, and two threads keep ahead of it; a GPU
    takes pictures faster than a few cores decode them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(2 if runtime.device == "cpu" else MOST_WORKERS, cores or 1)
