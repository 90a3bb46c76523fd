"""The road from pictures to detections: read ahead in threads, batch, run, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadFile, SsdSmallError, UsageError
from ..pictures.ahead import map_ahead
from ..pictures.pixels import ColorOrder, is_path, pixels_from_picture
from ..pictures.preprocessing import MOST_INPUT_PIXELS, input_from_image
from ..pictures.reading import Image
from ..postprocess import Detections
from ..runtimes.base import Images, Runtime
from .inference import Inference, Stopwatch

#: most threads that read pictures: the bound on pictures held rests on it
MOST_WORKERS = 16


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one picture.

    Attributes:
        picture: as it was given.
        size: height and width in pixels; (0, 0) if it could not be read.
        detections: in the unit square, not clipped; empty if it could not be read.
        pixels: ``[H, W, 3]`` uint8 BGR, where they were asked for.
        error: why it could not be read; None if it could.
        tiles: into which it was cut.
    """

    picture: Any
    size: tuple[int, int]
    detections: Detections
    pixels: Image | None = None
    error: SsdSmallError | None = None
    tiles: int = 1


@dataclass(eq=False)
class _Prepared:
    """A picture on its way to the network; without an input it could not be read."""

    picture: Any
    network_input: Images | None = None
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
    """Detections of pictures, in their order, one by one.

    At most ``4 * batch_size + 16`` pictures are pulled and not yet handed over. A picture that
    cannot be read is an outcome with an error. What the source raises is raised after the outcomes
    of what it gave before.

    Args:
        inference: network or engine with its post-processing.
        pictures: see :func:`~ssd_small.pictures.pixels.pixels_from_picture`; pulled one by one.
        batch_size: pictures per call of the runtime; the last call may have fewer.
        workers: threads that read and preprocess; 0 for none.
        color: channel order of numpy arrays.
        keep_pixels: hand the decoded pictures over as well.
        max_pixels: of a file, see :func:`~ssd_small.pictures.reading.read_image`.
        spent: takes the seconds of each stage.
    """
    spent = spent or Stopwatch()
    workers = min(workers, MOST_WORKERS)
    prepare = _preparation(inference.runtime, color, keep_pixels, max_pixels)
    window = 2 * batch_size + workers
    waiting: list[_Prepared] = []
    fault: Exception | None = None
    prepared = map_ahead(prepare, pictures, workers=workers, window=window)
    try:
        while fault is None:
            try:
                one = next(prepared)
            except StopIteration:
                break
            except Exception as error:
                fault = error
                break
            spent.read += one.seconds[0]
            spent.preprocess += one.seconds[1]
            if not _fits(one, waiting):
                yield from _outcomes(inference, waiting, spent)
                waiting = []
            waiting.append(one)
            if sum(each.error is None for each in waiting) == batch_size or _are_many(
                waiting, batch_size
            ):
                yield from _outcomes(inference, waiting, spent)
                waiting = []
        yield from _outcomes(inference, waiting, spent)
        if fault is not None:
            raise fault
    finally:
        prepared.close()  # type: ignore[attr-defined]


def _are_many(waiting: list[_Prepared], batch_size: int) -> bool:
    """Unreadable pictures do not fill a batch, but nor may they pile up."""
    return len(waiting) >= 2 * batch_size


def _fits(one: _Prepared, waiting: list[_Prepared]) -> bool:
    """Whether a picture can go into one batch with others."""
    others = [each.network_input for each in waiting if each.network_input is not None]
    return one.network_input is None or fits_batch(one.network_input, others)


def fits_batch(own: Images, others: Sequence[Images]) -> bool:
    """Whether an input can go into one batch with others.

    A batch is of one size; of pictures as they are it has no more pixels than one may have.
    """
    if not others:
        return True
    fits = own.dtype != np.uint8 or (len(others) + 1) * own.size <= 3 * MOST_INPUT_PIXELS
    return fits and others[0].shape == own.shape


def _preparation(
    runtime: Runtime, color: ColorOrder, keep_pixels: bool, max_pixels: int | None
) -> Callable[[Any], _Prepared]:
    """What the threads do with a picture."""
    description = runtime.description

    def prepare(picture: Any) -> _Prepared:
        started = time.perf_counter()
        try:
            pixels = pixels_from_picture(picture, color, max_pixels)
            if description.pictures is not None:
                _check_size(runtime, picture, pixels)
        except (BadFile, UsageError) as error:
            # a traceback would hold the pixels that nobody could use
            return _Prepared(picture, error=error.with_traceback(None))
        read = time.perf_counter()
        network_input: Images = pixels
        if description.pictures is None:
            network_input = input_from_image(pixels, description.preprocessing)
        seconds = (read - started, time.perf_counter() - read)
        kept = pixels if keep_pixels else None
        return _Prepared(picture, network_input, pixels.shape[:2], kept, seconds=seconds)

    return prepare


def _check_size(runtime: Runtime, picture: Any, pixels: Image) -> None:
    """Refuse a picture of a size that the network does not take, by its name if it has one."""
    try:
        runtime.check_picture(*pixels.shape[:2])
    except UsageError as error:
        raise named_error(error, picture) from None


def named_error(error: UsageError, picture: Any) -> SsdSmallError:
    """What is wrong with a picture, by the name of its file if it has one."""
    file = getattr(picture, "path", picture)
    return BadFile(f"image {file}: {error.command_line}") if is_path(file) else error


def _outcomes(
    inference: Inference, prepared: list[_Prepared], spent: Stopwatch
) -> Iterator[Outcome]:
    """Run one batch, the unreadable pictures left out of it but not of the order."""
    inputs = [one.network_input for one in prepared if one.network_input is not None]
    found = iter(inference(np.stack(inputs), spent) if inputs else ())
    prepared.reverse()
    while prepared:
        one = prepared.pop()  # handed over means let go
        detections = Detections.empty() if one.error else next(found)
        yield Outcome(one.picture, one.size, detections, one.pixels, one.error)
