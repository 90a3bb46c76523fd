"""Pictures of many requests on their way through detectors: a bounded queue, decoding, batches.

Threads decode what waits, in its order; a thread for each detector takes what is decoded, as many
pictures at once as there are and a batch may have. A picture is answered by the same calls that
``ssd-small detect`` makes.
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
#: seconds of a picture of which none is known yet
_FIRST_GUESS = 0.1
#: what messages call a picture that has no name
NAMELESS = "(as sent)"


class QueueFull(Exception):
    """No picture more may wait."""


class PictureRefused(Exception):
    """There is something wrong with one picture.

    Attributes:
        reason: what is.
    """

    def __init__(self, reason: SsdSmallError) -> None:
        super().__init__(reason)
        self.reason = reason.with_traceback(None)


@dataclass(eq=False)
class Job:
    """A picture on its way.

    Attributes:
        content: the encoded picture, until it is decoded.
        image: its name in the answer.
        threshold: scores to be shown, as ``detect`` takes them; one for a batch.
        future: of the entry; raises what is wrong with the picture.
        declared: pixels, as the file says.
        picture: decoded.
    """

    content: bytes
    image: str | None
    threshold: Threshold | None
    future: Future[dict[str, Any]] = field(default_factory=Future)
    declared: int = 0
    picture: Decoded | None = None
    since: float = 0.0


class PictureQueue:
    """What waits, and the threads that work on it.

    Args:
        detectors: a thread each; closed by who has opened them.
        settings: batch, patience and length of the queue.
        tiling: how every picture is cut; None for not at all.
        ran: told how many pictures each call of an engine had.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        settings: ServeSettings,
        tiling: Tiling | None = None,
        ran: Callable[[int], None] = lambda pictures: None,
    ) -> None:
        self._settings, self._tiling, self._ran = settings, tiling, ran
        # tiles are cut from the picture in full
        self._decoding_for = None if tiling else detectors[0].description.decoding
        self._most_pixels = most_pixels(detectors[0].max_pixels)
        self._changed = threading.Condition()
        self._pending: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._decoding = self._held_pixels = 0
        self._seconds = _FIRST_GUESS
        self._closed = False
        self._replicas = len(detectors)
        # decoded ahead of the engines: what they take next
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
        # a call of an engine that does not come back must not keep the process
        return threading.Thread(target=work, args=arguments, name=name, daemon=True)

    @property
    def waiting(self) -> int:
        """Pictures that are in no engine yet."""
        return len(self._pending) + self._decoding + len(self._ready)

    @property
    def is_full(self) -> bool:
        """Whether one more would be refused."""
        return self.waiting >= self._settings.queue

    @property
    def retry_after(self) -> int:
        """Whole seconds in which what waits may be done, 1 to 60."""
        return max(1, min(60, round(self.waiting * self._seconds / self._replicas)))

    def submit(self, job: Job) -> None:
        """Let a picture wait; ``job.future`` is done with it.

        Raises:
            QueueFull: it may not.
        """
        extent = declared_extent(job.content)
        job.declared = 0 if extent is None else extent[0] * extent[1]
        with self._changed:
            if self._closed or self.is_full:
                raise QueueFull
            self._pending.append(job)
            self._changed.notify_all()

    def discard(self, job: Job) -> None:
        """Nobody waits for it any more; one that is in an engine stays there."""
        job.future.cancel()
        with self._changed:
            if job in self._pending:
                self._pending.remove(job)

    def close(self, seconds: float) -> None:
        """Take no more, and wait so long for what waits to be done."""
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
            except Exception as error:  # whatever a picture does, it is this request's alone
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
        """Waits for a picture and for room; None when there will be none."""
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
        """Whether a picture can be decoded; all in memory have the pixels of a large one."""
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
        """Waits for pictures, of one threshold; None when there will be none."""
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
        """One call of the engine; each picture gets its entry, or its error."""
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
    """Answer a picture with an error, unless it has its answer or nobody waits for it."""
    with suppress(InvalidStateError):
        # a traceback would hold the pixels
        job.future.set_exception(error.with_traceback(None))
