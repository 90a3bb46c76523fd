"""Passing the pictures of many requests through detectors: bounded queue, decoding, batches.

Threads decode the waiting pictures in order of arrival; one thread per detector takes decoded
pictures, as many at once as are ready and fit in a batch. Detection makes the same calls as
``ssd-small detect``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...detection.detector import Detector
from ...detection.entry import entry_from_outcome
from ...errors import SsdSmallError
from ...pictures.decoded import Decoded, decoded_from_bytes
from ...pictures.headers import declared_extent
from ...pictures.limits import most_pixels
from .settings import ServeSettings

if TYPE_CHECKING:
    from ...pictures.tiles import Tiling

Threshold = Mapping[str | None, float]
#: assumed seconds per picture before any is measured
_FIRST_GUESS = 0.1
#: name of a nameless picture in messages
NAMELESS = "(as sent)"


class QueueFull(Exception):
    """The queue takes no more pictures."""


class PictureRefused(Exception):
    """One picture cannot be processed.

    Attributes:
        reason: the error.
    """

    def __init__(self, reason: SsdSmallError) -> None:
        super().__init__(reason)
        self.reason = reason.with_traceback(None)


@dataclass(eq=False)
class Job:
    """A picture on its way through the queue.

    Attributes:
        content: the encoded picture, until it is decoded.
        image: its name in the answer.
        threshold: score thresholds, as in ``detect``; the same for a whole batch.
        future: receives the picture's entry in the answer, or an error.
        declared: number of pixels, as declared by the file.
        picture: the decoded picture.
        since: time when it was decoded.
    """

    content: bytes
    image: str | None
    threshold: Threshold | None
    future: Future[dict[str, Any]] = field(default_factory=Future)
    declared: int = 0
    picture: Decoded | None = None
    since: float = 0.0


class PictureQueue:
    """The waiting pictures, and the threads that process them.

    Args:
        detectors: one thread each; the caller closes them.
        settings: batch size, waiting time and length of the queue.
        tiling: how every picture is cut into tiles; None for whole pictures.
        ran: called with the number of pictures of each call of an engine.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        settings: ServeSettings,
        tiling: Tiling | None = None,
        ran: Callable[[int], None] = lambda pictures: None,
    ) -> None:
        self._settings, self._tiling, self._ran = settings, tiling, ran
        # tiles are cut from the picture at full resolution
        self._decoding_for = None if tiling else detectors[0].description.decoding
        self._most_pixels = most_pixels(detectors[0].max_pixels)
        self._changed = threading.Condition()
        self._pending: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._decoding = self._held_pixels = 0
        self._seconds = _FIRST_GUESS
        self._closed = False
        self._replicas = len(detectors)
        # pictures that are decoded ahead of the engines
        self._ahead = 2 * settings.max_batch * len(detectors)
        decoders = max(detectors[0].workers, len(detectors))
        self._threads = [
            *(self._thread(self._decode_all, name="decode") for _ in range(decoders)),
            *(self._thread(self._detect_all, one, name="detect") for one in detectors),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _thread(work: Callable[..., None], *arguments: Any, name: str) -> threading.Thread:
        # a call of an engine that never returns must not keep the process alive
        return threading.Thread(target=work, args=arguments, name=name, daemon=True)

    @property
    def waiting(self) -> int:
        """Number of pictures that are not in an engine yet."""
        return len(self._pending) + self._decoding + len(self._ready)

    @property
    def is_full(self) -> bool:
        """Whether another picture would be refused."""
        return self.waiting >= self._settings.queue

    @property
    def retry_after(self) -> int:
        """Estimated seconds until the waiting pictures are done, an integer from 1 to 60."""
        return max(1, min(60, round(self.waiting * self._seconds / self._replicas)))

    def submit(self, job: Job) -> None:
        """Add a picture to the queue; ``job.future`` receives its result.

        Raises:
            QueueFull: the queue is full or closed.
        """
        extent = declared_extent(job.content)
        job.declared = 0 if extent is None else extent[0] * extent[1]
        with self._changed:
            if self._closed or self.is_full:
                raise QueueFull
            self._pending.append(job)
            self._changed.notify_all()

    def discard(self, job: Job) -> None:
        """Drop a picture that nobody waits for any more, unless an engine already has it."""
        job.future.cancel()
        with self._changed:
            if job in self._pending:
                self._pending.remove(job)

    def close(self, seconds: float) -> None:
        """Take no more pictures, and wait at most this long for the waiting ones to be done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _decode_all(self) -> None:
        while (job := self._next_to_decode()) is not None:
            try:
                if not job.future.cancelled():
                    name = job.image or NAMELESS
                    job.picture = decoded_from_bytes(
                        job.content, name, self._decoding_for, max_pixels=self._most_pixels
                    )
            except SsdSmallError as error:
                _fail(job, PictureRefused(error))
            except Exception as error:  # any failure of a picture affects only its request
                _fail(job, error)
            with self._changed:
                job.content = b""
                self._decoding -= 1
                if job.picture is None:
                    self._held_pixels -= job.declared
                else:
                    job.since = time.monotonic()
                    self._ready.append(job)
                self._changed.notify_all()

    def _next_to_decode(self) -> Job | None:
        """Wait for a picture and for room to decode it; None when the queue is closed and empty."""
        with self._changed:
            while not self._pending or not self._has_room(self._pending[0]):
                if self._closed and not self._pending:
                    return None
                self._changed.wait()
            job = self._pending.popleft()
            self._decoding += 1
            self._held_pixels += job.declared
            return job

    def _has_room(self, job: Job) -> bool:
        """Whether a picture may be decoded; in all, as many pixels are held as one may have."""
        if self._decoding + len(self._ready) >= self._ahead:
            return False
        held = self._held_pixels
        return not held or held + job.declared <= self._most_pixels

    def _detect_all(self, detector: Detector) -> None:
        while (jobs := self._next_batch()) is not None:
            alive = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            started = time.monotonic()
            if alive:
                self._detect(detector, alive)
                each = (time.monotonic() - started) / len(alive)
                self._seconds += 0.1 * (each - self._seconds)
            with self._changed:
                self._held_pixels -= sum(job.declared for job in jobs)
                self._changed.notify_all()

    def _next_batch(self) -> list[Job] | None:
        """Wait for pictures of the same threshold; None when the queue is closed and empty."""
        most, patience = self._settings.max_batch, self._settings.max_wait
        with self._changed:
            while True:
                if not self._ready:
                    if self._closed and not self._pending and not self._decoding:
                        return None
                    self._changed.wait()
                    continue
                first = self._ready[0]
                batch = [job for job in self._ready if job.threshold == first.threshold][:most]
                left = first.since + patience - time.monotonic()
                if len(batch) == most or left <= 0 or self._closed:
                    break
                self._changed.wait(left)
            taken = set(map(id, batch))
            self._ready = deque(job for job in self._ready if id(job) not in taken)
            self._changed.notify_all()
            return batch

    def _detect(self, detector: Detector, jobs: list[Job]) -> None:
        """Call the engine once; each picture gets its entry or an error."""
        threshold = jobs[0].threshold
        pictures = [job.picture for job in jobs]
        for job in jobs:
            job.picture = None
        try:
            how: dict[str, Any] = {"tiling": self._tiling, "only_shown": True}
            outcomes = detector.outcomes(pictures, score_threshold=threshold, **how)
            for job, (outcome, found) in zip(jobs, outcomes, strict=True):
                if outcome.error is not None:
                    _fail(job, PictureRefused(outcome.error))
                    continue
                job.future.set_result(entry_from_outcome(outcome, found) | {"image": job.image})
        except Exception as error:
            for job in jobs:
                _fail(job, error)
        self._ran(len(jobs))


def _fail(job: Job, error: Exception) -> None:
    """Answer a picture with an error, unless it is already answered or nobody waits for it."""
    with suppress(InvalidStateError):
        # a traceback would hold the pixels
        job.future.set_exception(error.with_traceback(None))
