"""Detection in large pictures: cut into tiles, batch, run, one NMS per picture, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy.typing as npt

from ..errors import BadFile, SsdSmallError, UsageError
from ..pictures.ahead import map_ahead
from ..pictures.pixels import ColorOrder
from ..pictures.preprocessing import resized_from_image
from ..pictures.reading import Image
from ..pictures.tiles import Tiling, Window
from ..pictures.windows import WindowSource, open_windows
from ..postprocess import Detections
from ..postprocess.params import MAX_PRIORS
from ..runtimes.base import HeadOutputs, Runtime
from .inference import Inference, Stopwatch
from .merging import TileMerger
from .pipeline import MOST_WORKERS, Outcome, batch_from_levels, fits_batch, named_error

#: pictures opened ahead of the preparation of their tiles; each may take a gigabyte
_PICTURES_AHEAD = 4
#: largest number of rows that enter one NMS
MOST_ROWS = MAX_PRIORS


class SeenView(NamedTuple):
    """A view that the network has processed.

    Attributes:
        window: its position; the views of a picture come in the order of its windows.
        views: number of views of its picture.
        loc: ``[P, 4]`` box offsets from the heads.
        conf: ``[P, C]`` class outputs of the heads.
    """

    window: Window
    views: int
    loc: npt.NDArray[Any]
    conf: npt.NDArray[Any]


#: called with each view, after the outcome of the previous picture and before that of its own
Seen = Callable[[SeenView], None]


@dataclass(eq=False)
class _Picture:
    """A picture being processed; without a merger, it could not be read."""

    picture: Any
    opened: ExitStack = field(default_factory=ExitStack)
    source: WindowSource | None = None
    size: tuple[int, int] = (0, 0)
    tiles: int = 1
    views: int = 0
    merger: TileMerger | None = None
    pixels: Image | None = None
    error: SsdSmallError | None = None
    seconds: float = 0.0

    def has_failed(self) -> bool:
        """Whether the picture was given up, which any thread may do at any time."""
        return self.error is not None

    def fail(self, error: SsdSmallError) -> None:
        """Give the picture up; only the first reason is kept."""
        if self.error is None:
            if isinstance(error, UsageError):
                error = named_error(error, self.picture)
            # a traceback would keep the pixels in memory
            self.error = error.with_traceback(None)


@dataclass(eq=False)
class _View:
    """A view on its way to the network; one without an input only marks the picture's end."""

    picture: _Picture
    window: Window | None
    is_last: bool
    network_input: Image | None = None
    seconds: tuple[float, float] = (0.0, 0.0)


def detect_tiled(
    inference: Inference,
    pictures: Iterable[Any],
    tiling: Tiling,
    *,
    batch_size: int,
    workers: int,
    caps_grow: bool = True,
    floor: float | None = None,
    color: ColorOrder = "BGR",
    keep_pixels: bool = False,
    max_pixels: int | None = None,
    spent: Stopwatch | None = None,
    seen: Seen = lambda view: None,
) -> Iterator[Outcome]:
    """Yield the outcomes of pictures, in order, one by one, each merged from its tiles.

    As :func:`~.pipeline.detect`; a batch holds tiles of one picture or of several. Kept in memory
    are a picture's rows of candidates and, unless it can be read window by window, its pixels.

    Args:
        inference: network or engine that ends in its heads.
        tiling: how every picture is cut.
        caps_grow: the caps of decode + NMS are per view, and are multiplied by the views.
        floor: see :class:`~.merging.TileMerger`.
        seen: called with every view that the network has processed.
        pictures, batch_size, workers, color, keep_pixels, max_pixels, spent: as for
            :func:`~.pipeline.detect`.
    """
    spent = spent or Stopwatch()
    work = _Work(inference, tiling, caps_grow, floor, color, keep_pixels, max_pixels)
    workers = min(workers, MOST_WORKERS)
    ahead = max(1, min(workers, _PICTURES_AHEAD))
    window = max(1, 2 * batch_size + workers - ahead)
    waiting: list[_View] = []
    fault: Exception | None = None
    opened = map_ahead(work.open, pictures, workers=min(workers, ahead), window=ahead)
    views = _views(opened, tiling)
    prepared = map_ahead(work.prepare, views, workers=workers, window=window)
    with closing(work), closing(opened), closing(views), closing(prepared):  # type: ignore[type-var]
        while fault is None:
            try:
                one = next(prepared)
            except StopIteration:
                break
            except Exception as error:
                fault = error
                break
            work.took(one, spent)
            inputs = [each.network_input for each in waiting]
            if not fits_batch(one.network_input, inputs, inference.runtime):
                yield from _outcomes(work, waiting, spent, seen)
                waiting = []
            waiting.append(one)
            count = sum(each.network_input is not None for each in waiting)
            if count == batch_size or len(waiting) >= 2 * batch_size:
                yield from _outcomes(work, waiting, spent, seen)
                waiting = []
        yield from _outcomes(work, waiting, spent, seen)
        if fault is not None:
            raise fault


def _views(opened: Iterator[_Picture], tiling: Tiling) -> Iterator[_View]:
    """Views of all pictures, one after the other; at least one each, which marks its end."""
    for one in opened:
        number = 0
        if not one.has_failed():
            for window in tiling.windows(*one.size):
                number += 1
                yield _View(one, window, number == one.views)
                if one.has_failed():  # the rest is not needed
                    break
        if number < one.views or not number:
            yield _View(one, None, True)
        del one  # freed together with its views


class _Work:
    """The work of the threads, and the pictures that are open."""

    def __init__(
        self,
        inference: Inference,
        tiling: Tiling,
        caps_grow: bool,
        floor: float | None,
        color: ColorOrder,
        keep_pixels: bool,
        max_pixels: int | None,
    ) -> None:
        self.inference, self._tiling, self._caps_grow = inference, tiling, caps_grow
        self._reading, self._merging = (color, max_pixels), (MOST_ROWS, floor)
        self._keep_pixels = keep_pixels
        self._priors = inference.runtime.description.priors
        self._open: set[ExitStack] = set()

    def open(self, picture: Any) -> _Picture:
        """Open a picture, or record why that failed."""
        started = time.perf_counter()
        one = _Picture(picture)
        try:
            self._open.add(one.opened)
            one.source = source = one.opened.enter_context(open_windows(picture, *self._reading))
            one.size = height, width = source.size
            columns, rows = self._tiling.grid(height, width)
            one.tiles = columns * rows
            one.views = self._tiling.views(height, width)
            params = self.inference.params
            if self._caps_grow:
                params = params.of_views(one.views)
            one.merger = TileMerger(one.size, self._tiling, self._priors, params, *self._merging)
            if self._keep_pixels:
                one.pixels = source.pixels(Window(0, 0, width, height))
        except (BadFile, UsageError) as error:
            one.fail(error)
        one.seconds = time.perf_counter() - started
        return one

    def prepare(self, view: _View) -> _View:
        """Make the network's input from a view."""
        one, runtime = view.picture, self.inference.runtime
        if view.window is None or one.error is not None:
            return view
        started = time.perf_counter()
        try:
            assert one.source is not None
            pixels = one.source.pixels(view.window)
            read = time.perf_counter()
            view.network_input = _resized(pixels, runtime)
        except (BadFile, UsageError) as error:
            one.fail(error)
            return view
        view.seconds = (read - started, time.perf_counter() - read)
        return view

    def took(self, view: _View, spent: Stopwatch) -> None:
        """Count the time of a view, and free its picture's pixels after the last view."""
        one = view.picture
        spent.read += view.seconds[0] + one.seconds
        spent.preprocess += view.seconds[1]
        one.seconds = 0.0
        if view.is_last:
            one.source = None
            self._open.discard(one.opened)
            try:
                one.opened.close()
            except BadFile as error:  # some faults show only after all of a file was read
                one.fail(error)

    def heads(self, levels: list[Image], spent: Stopwatch) -> HeadOutputs:
        """Head outputs of the network for a batch of views."""
        images = batch_from_levels(levels, self.inference.runtime, spent)
        outputs, seconds = self.inference.run(images)
        spent.network += seconds
        assert isinstance(outputs, HeadOutputs)
        return outputs.as_float32()

    def close(self) -> None:
        """Close the pictures that are still open."""
        for opened in tuple(self._open):
            with suppress(BadFile):
                opened.close()
        self._open.clear()


def _resized(pixels: Image, runtime: Runtime) -> Image:
    """A view resized for the network: to its input, or to the size of pictures it takes, if fixed.

    Raises:
        UsageError: the network takes pictures of any size, but the view is too large.
    """
    preprocessing, pictures = runtime.description.preprocessing, runtime.description.pictures
    if pictures is None:
        return resized_from_image(pixels, preprocessing)
    if pictures.size not in (None, pixels.shape[:2]):
        height, width = pictures.size
        return resized_from_image(pixels, replace(preprocessing, height=height, width=width))
    runtime.check_picture(*pixels.shape[:2])
    return pixels


def _outcomes(work: _Work, views: list[_View], spent: Stopwatch, seen: Seen) -> Iterator[Outcome]:
    """Run one batch; yield the outcomes of the pictures that it completes."""
    inputs = [one.network_input for one in views if one.network_input is not None]
    heads = work.heads(inputs, spent) if inputs else None
    del inputs
    row = 0
    views.reverse()
    while views:
        view = views.pop()  # keep no reference to what is handed over
        one = view.picture
        started = time.perf_counter()
        if view.network_input is not None:
            assert heads is not None
            assert view.window is not None
            done = SeenView(view.window, one.views, heads.loc[row], heads.conf[row])
            _add(one, done)
            row += 1
            seen(done)
        if view.is_last:
            found = _merged(one, work)
        spent.decode_nms += time.perf_counter() - started
        if view.is_last:
            fine = one.error is None and one.merger is not None
            best = one.merger.best_score if fine and one.merger is not None else None
            size = one.size if fine else (0, 0)
            yield Outcome(one.picture, size, found, one.pixels, one.error, one.tiles, best)


def _add(one: _Picture, view: SeenView) -> None:
    """Add the heads of a view to its picture, unless that has failed."""
    if one.error is None:
        assert one.merger is not None
        try:
            one.merger.add(view.loc, view.conf, view.window)
        except UsageError as error:
            one.fail(error)


def _merged(one: _Picture, work: _Work) -> Detections:
    """The detections of a picture whose views are complete; none if it has failed."""
    if one.error is None:
        assert one.merger is not None
        try:
            return one.merger.detections(work.inference.postprocess_rows)
        except UsageError as error:
            one.fail(error)
    one.pixels = None
    return Detections.empty()
