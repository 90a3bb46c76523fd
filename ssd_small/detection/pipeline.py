"""From pictures to detections: read ahead in threads, batch, run, in order.

Several things happen at once: threads read and resize pictures; each instance of the network runs a
batch in a thread of its own; and the consumer's thread post-processes and hands over the batch
before those, and assembles the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import BadFile, SsdSmallError, UsageError
from ..pictures.ahead import futures_ahead
from ..pictures.pixels import ColorOrder, decoded_from_picture, is_path, pixels_from_picture
from ..pictures.preprocessing import (
    MOST_INPUT_PIXELS,
    Levels,
    inputs_from_levels,
    resized_from_image,
)
from ..pictures.reading import Image
from ..postprocess import Detections
from ..runtimes.base import Images, Runtime
from .inference import Inference, Outputs, Stopwatch

#: largest number of threads that read pictures, which bounds the number of pictures held
MOST_WORKERS = 16


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one picture.

    Attributes:
        picture: the picture as it was given.
        size: height and width in pixels; (0, 0) if it could not be read.
        detections: in the unit square of the picture, not clipped; empty if it could not be read.
        pixels: ``[H, W, 3]`` uint8 BGR, if asked for.
        error: why it could not be read; None if it could.
        tiles: number of tiles it was cut into.
        best_score: best score of all candidates, if ``detections`` hold only what is shown; else
            None.
    """

    picture: Any
    size: tuple[int, int]
    detections: Detections
    pixels: Image | None = None
    error: SsdSmallError | None = None
    tiles: int = 1
    best_score: float | None = None


@dataclass(eq=False)
class _Prepared:
    """A picture on its way to the network.

    Attributes:
        network_input: ``[height, width, 3]`` BGR levels, resized to the network's input, or as read
            for a network that takes pictures; four times the memory if resized in float32. None
            once it is in a batch, or if the picture could not be read.
    """

    picture: Any
    network_input: Levels | None = None
    size: tuple[int, int] = (0, 0)
    pixels: Image | None = None
    error: SsdSmallError | None = None
    seconds: tuple[float, float] = (0.0, 0.0)


def detect(
    inference: Inference,
    pictures: Iterable[Any],
    *,
    batch_size: int,
    workers: int,
    color: ColorOrder = "BGR",
    keep_pixels: bool = False,
    max_pixels: int | None = None,
    spent: Stopwatch | None = None,
) -> Iterator[Outcome]:
    """Yield the outcomes of pictures, in order, one by one.

    At most ``(3 + N) * batch_size + 16`` pictures are pulled and not yet handed over, with N
    instances of the network. A picture that cannot be read gives an outcome with an error. An
    exception of the source is raised after the outcomes of the pictures before it.

    Args:
        inference: network or engine with its post-processing.
        pictures: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`; pulled one by one.
        batch_size: pictures per call of the runtime; the last call may have fewer.
        workers: threads that read and resize; with 0, the network gets no threads either.
        color: channel order of numpy arrays.
        keep_pixels: include the decoded pictures in the outcomes.
        max_pixels: limit for a file, see :func:`~ssd_small.pictures.reading.read_image`.
        spent: accumulates the seconds of each stage.
    """
    spent = spent or Stopwatch()
    workers = min(workers, MOST_WORKERS)
    prepare = _preparation(inference.runtime, color, keep_pixels, max_pixels)
    window = 2 * batch_size + workers
    most = (1 + inference.runtime.instances) * batch_size
    waiting: list[_Prepared] = []
    fault: BaseException | None = None
    prepared = futures_ahead(prepare, pictures, workers=workers, window=window)
    network = _Network(inference, spent, ahead=workers > 0)
    with closing(network), closing(prepared):  # type: ignore[type-var]
        while fault is None:
            while network.is_done or network.pictures + len(waiting) >= most:
                yield from network.outcomes()
            try:
                future = next(prepared)
            except StopIteration:
                break
            except Exception as error:
                fault = error
                break
            # reading may take long, for example from a pipe that nobody has written to yet
            if network.is_done_before(future):
                yield from network.outcomes()
            if (fault := future.exception()) is not None:
                break
            one = future.result()
            del future  # it would keep alive a picture that has been handed over
            spent.read += one.seconds[0]
            spent.preprocess += one.seconds[1]
            inputs = [each.network_input for each in waiting]
            if not fits_batch(one.network_input, inputs, inference.runtime):
                yield from network.exchange(waiting)
                waiting = []
            waiting.append(one)
            if sum(each.error is None for each in waiting) == batch_size or _are_many(
                waiting, batch_size
            ):
                yield from network.exchange(waiting)
                waiting = []
        yield from network.exchange(waiting)
        while network.pictures:
            yield from network.outcomes()
        if fault is not None:
            raise fault


def _are_many(waiting: list[_Prepared], batch_size: int) -> bool:
    """Whether to run a batch that is not full, so that unreadable pictures do not pile up."""
    return len(waiting) >= 2 * batch_size


def fits_batch(own: Levels | None, others: Sequence[Levels | None], runtime: Runtime) -> bool:
    """Whether a picture fits into a batch with others; None stands for an unreadable picture.

    A batch has one size. If pictures are not resized, all of a batch together have at most as many
    pixels as one picture may have.
    """
    read = [each for each in others if each is not None]
    if runtime.description.pictures is None or own is None or not read:
        return True
    few = (len(read) + 1) * own.size <= 3 * MOST_INPUT_PIXELS
    return few and read[0].shape == own.shape


def _preparation(
    runtime: Runtime, color: ColorOrder, keep_pixels: bool, max_pixels: int | None
) -> Callable[[Any], _Prepared]:
    """The function with which threads read and resize a picture."""
    description = runtime.description

    def prepare(picture: Any) -> _Prepared:
        started = time.perf_counter()
        try:
            decoded = decoded_from_picture(picture, color, max_pixels, description.decoding)
            _check_size(runtime, picture, decoded.pixels)
            kept = decoded.pixels if keep_pixels else None
            if keep_pixels and decoded.reduction > 1:  # the network's input stays the same
                kept = pixels_from_picture(picture, color, max_pixels)
        except (BadFile, UsageError) as error:
            # a traceback would keep the pixels in memory
            return _Prepared(picture, error=error.with_traceback(None))
        read = time.perf_counter()
        network_input: Levels = decoded.pixels
        if description.pictures is None:
            network_input = resized_from_image(decoded.pixels, description.preprocessing)
        seconds = (read - started, time.perf_counter() - read)
        return _Prepared(picture, network_input, decoded.size, kept, seconds=seconds)

    return prepare


def _check_size(runtime: Runtime, picture: Any, pixels: Image) -> None:
    """Refuse a picture whose size or shape the network cannot take; names the file if any."""
    description = runtime.description
    try:
        if description.pictures is not None:
            runtime.check_picture(*pixels.shape[:2])
        else:
            description.preprocessing.placement(*pixels.shape[:2])
    except UsageError as error:
        raise named_error(error, picture) from None


def named_error(error: UsageError, picture: Any) -> SsdSmallError:
    """An error about a picture that names its file, if it has one."""
    file = getattr(picture, "path", picture)
    return BadFile(f"image {file}: {error.command_line}") if is_path(file) else error


def batch_from_levels(levels: list[Levels], runtime: Runtime, spent: Stopwatch) -> Images:
    """A runtime's input batch from pictures, as read or already resized to its input."""
    description = runtime.description
    if description.pictures is not None:
        # a single picture, which may be large, is not copied
        return levels[0][None] if len(levels) == 1 else np.stack(levels)
    began = time.perf_counter()
    images = inputs_from_levels(levels, description.preprocessing)
    spent.preprocess += time.perf_counter() - began
    return images


@dataclass(eq=False)
class _Running:
    """A batch in the network.

    Attributes:
        prepared: its pictures, including those that could not be read.
        outputs: waits for the outputs and the seconds they took; raises what the network raised.
        future: future of the outputs; None if there is nothing to wait for.
    """

    prepared: list[_Prepared]
    outputs: Callable[[], tuple[Outputs, float]]
    future: Future[Any] | None = None


class _Network:
    """Runs a batch in each instance of the network while the one before them is handed over.

    Args:
        inference: network or engine with its post-processing.
        spent: accumulates the seconds of a batch when it is handed over.
        ahead: run in threads; else a batch is run only when it is handed over.
    """

    def __init__(self, inference: Inference, spent: Stopwatch, *, ahead: bool) -> None:
        self._inference, self._spent = inference, spent
        self._most = inference.runtime.instances if ahead else 1
        self._threads = (
            ThreadPoolExecutor(self._most, thread_name_prefix="network") if ahead else None
        )
        self._running: deque[_Running] = deque()

    @property
    def pictures(self) -> int:
        """Number of pictures in the network."""
        return sum(len(one.prepared) for one in self._running)

    @property
    def is_done(self) -> bool:
        """Whether a batch can be handed over without waiting."""
        if not self._running:
            return False
        first = self._running[0].future
        return first is None or first.done()

    def is_done_before(self, other: Future[Any]) -> bool:
        """Wait for the oldest batch or for ``other``; whether the batch is done."""
        if self._running and (first := self._running[0].future) is not None:
            wait([first, other], return_when=FIRST_COMPLETED)
        return self.is_done

    def exchange(self, prepared: list[_Prepared]) -> Iterator[Outcome]:
        """Put a batch into the network; hand over the oldest if there are more than instances."""
        self._running.append(self._started(prepared))
        return self.outcomes() if len(self._running) > self._most else iter(())

    def outcomes(self) -> Iterator[Outcome]:
        """Hand over the oldest batch in the network."""
        return self._handed_over(self._running.popleft() if self._running else None)

    def close(self) -> None:
        """Wait for the running batches, since the network may be freed afterwards."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _started(self, prepared: list[_Prepared]) -> _Running:
        inputs = [one.network_input for one in prepared if one.network_input is not None]
        if not inputs:
            return _Running(prepared, lambda: ([], 0.0))
        for one in prepared:
            one.network_input = None
        images = batch_from_levels(inputs, self._inference.runtime, self._spent)
        if self._threads is None:
            return _Running(prepared, partial(self._inference.run, images))
        future = self._threads.submit(self._inference.run, images)
        return _Running(prepared, future.result, future)

    def _handed_over(self, running: _Running | None) -> Iterator[Outcome]:
        """The outcomes of a batch, with unreadable pictures in their places."""
        if running is None:
            return
        found = iter(self._detections(running))
        prepared = running.prepared
        del running  # frees the outputs
        prepared.reverse()
        while prepared:
            one = prepared.pop()  # keep no reference to what is handed over
            detections = Detections.empty() if one.error else self._in_picture(next(found), one)
            yield Outcome(one.picture, one.size, detections, one.pixels, one.error)

    def _in_picture(self, found: Detections, one: _Prepared) -> Detections:
        """Convert detections from the unit square of the input to that of the picture."""
        placed = self._inference.runtime.description.preprocessing.placement(*one.size)
        if placed.is_whole:
            return found
        return replace(found, boxes=placed.picture_from_input(found.boxes))

    def _detections(self, running: _Running) -> list[Detections]:
        outputs, seconds = running.outputs()
        self._spent.network += seconds
        return self._inference.detections_from_outputs(outputs, self._spent)
