"""Detection in videos: frames detected as pictures, with their times and tracks added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..pictures.frame import VideoFrame
from ..video.opening import Frames, frames_ahead
from .picture_detections import PictureDetections
from .pipeline import Outcome
from .tracking import Tracker

if TYPE_CHECKING:
    from .detector import Detector


def video_outcomes(
    detector: Detector, frames: Frames, *, track: bool = False, **road: Any
) -> Iterator[tuple[Outcome, PictureDetections]]:
    """The outcomes of a source's frames, in order, as for pictures.

    Frames of a file are decoded ahead and go in batches; those of a live source go one by one,
    since a batch would wait for frames that have not arrived yet.

    Args:
        detector: the detector.
        frames: frames from :func:`~ssd_small.video.opening.open_frames`.
        track: number the objects.
        road: further arguments of :meth:`.Detector.outcomes`.

    Raises:
        BadFile: some frames could not be decoded, or a live source went away; raised after all
            other frames.
        UsageError: the network cannot take frames of this size.
    """
    tracker = Tracker(frames.rate) if track else None
    source = frames_ahead(frames)
    outcomes = detector.outcomes(source, one_by_one=frames.is_live, only_shown=True, **road)
    try:
        for outcome, found in outcomes:
            frame: VideoFrame = outcome.picture
            if outcome.error is not None:
                raise outcome.error
            found = replace(found, frame=frame.index, time=frame.time)
            yield outcome, found if tracker is None else tracker(found)
    finally:
        outcomes.close()  # type: ignore[attr-defined]
        source.close()  # type: ignore[attr-defined]
