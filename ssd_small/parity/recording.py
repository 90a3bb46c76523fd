"""Record the heads of each picture along with its detections, whatever the engine outputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..detection.detector import Detector
from ..detection.tiled import SeenView
from ..runtimes import HeadOutputs, Runtime, without_decode_nms
from ..runtimes.base import BatchingRuntime, Images
from .side import Side

if TYPE_CHECKING:
    from ..detection.pipeline import Outcome
    from ..postprocess import Detections

FloatArray = npt.NDArray[np.float32]
#: loc ``[P, 4]`` and conf ``[P, C]`` of a picture; if it is tiled, those of all views in order
Heads = tuple[FloatArray, FloatArray]


class _Recording(BatchingRuntime):
    """Runs another runtime and keeps its heads; whoever opened that runtime closes it.

    Attributes:
        heads: heads of each picture not yet fetched; None if they are not available.
    """

    def __init__(self, runtime: Runtime, cut: Runtime | None) -> None:
        self._runtime, self._cut = runtime, cut
        self.name, self.precision = runtime.name, runtime.precision
        self.description, self.device = runtime.description, runtime.device
        self.max_batch = runtime.max_batch
        self.heads: deque[Heads | None] = deque()

    def infer_batch(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        outputs = self._runtime.infer(images)
        heads = outputs
        if not isinstance(heads, HeadOutputs) and self._cut is not None:
            heads = self._cut.infer(images)
        if isinstance(heads, HeadOutputs):
            # in single precision, in which the intervals are computed
            heads = heads.as_float32()
            self.heads += zip(heads.loc, heads.conf, strict=True)
        else:
            self.heads += [None] * len(images)
        return outputs

    def check_picture(self, height: int, width: int) -> None:
        """See :class:`~ssd_small.runtimes.Runtime`."""
        self._runtime.check_picture(height, width)


def outcomes_with_heads(
    side: Side, pictures: Iterable[Any], cut: Runtime | None
) -> Iterator[tuple[Outcome, Heads | None]]:
    """Yield a side's outcome for each picture, with its heads if available.

    Args:
        side: network or engine.
        pictures: pictures as a detector takes them.
        cut: the same network without decode + NMS (:func:`cut_runtime`), if they are inside.
    """
    own = side.detector
    if side.tiling is not None:
        yield from _outcomes_of_tiles(side, pictures)
        return
    recording = _Recording(own.runtime, cut)
    detector = Detector(
        recording,
        side.params,
        threads=own.inference.threads,
        max_batch=own.max_batch,
        workers=own.workers,
        max_pixels=own.max_pixels,
    )
    with closing(detector.outcomes(pictures)) as outcomes:  # type: ignore[type-var]
        for outcome, _ in outcomes:
            yield outcome, None if outcome.error is not None else recording.heads.popleft()


def _outcomes_of_tiles(
    side: Side, pictures: Iterable[Any]
) -> Iterator[tuple[Outcome, Heads | None]]:
    """As :func:`outcomes_with_heads`, with the heads of all views, held until a picture is done."""
    views: list[SeenView] = []
    stream = side.detector.outcomes(pictures, tiling=side.tiling, seen=views.append)
    with closing(stream) as outcomes:  # type: ignore[type-var]
        for outcome, _ in outcomes:
            heads = None
            if outcome.error is None:
                loc, conf = (
                    np.concatenate([np.asarray(getattr(one, name), np.float32) for one in views])
                    for name in ("loc", "conf")
                )
                heads = (loc, conf)
            views.clear()
            yield outcome, heads


def cut_runtime(side: Side, threads: int = 0) -> Runtime | None:
    """The network of a side without decode + NMS; see :func:`without_decode_nms.cut_runtime`.

    Also None if pictures are cut into tiles, since that already runs the network without them.
    """
    if side.tiling is not None:
        return None
    return without_decode_nms.cut_runtime(side.detector.runtime, side.path, threads)
