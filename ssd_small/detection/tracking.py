"""Numbers that objects keep from frame to frame, by ByteTrack of edgefirst-tracker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..requirements import require
from .picture_detections import PictureDetections

#: share of its sides by which a box is enlarged for the tracker, since small objects leave their
#: own box from one frame to the next (Yang et al., "Hard to Track Objects ... Make It Easier by
#: Buffering the Matching Space", WACV 2023). benchmarks/bench_tracking.py chose these three values
BUFFER = 0.5
#: least overlap of enlarged boxes to be the same object, and the weight of a new position
LEAST_IOU, UPDATE = 0.1, 0.6
#: seconds and frames for which an object may be out of sight; the longer one counts
LIFESPAN, LIFESPAN_FRAMES = 1.0, 8


class Tracker:
    """Numbers the objects of a video from 1; an object keeps its number.

    Boxes are matched whatever their class, since a network may take a car for a truck in between.
    Frames must come in order of time.
    """

    def __init__(self, rate: float | None) -> None:
        """Start without objects.

        Args:
            rate: frames per second; None if unknown.

        Raises:
            MissingRequirement: edgefirst-tracker is not installed.
        """
        tracker = require("edgefirst.tracker", "following objects (--track)")
        lifespan = max(LIFESPAN, LIFESPAN_FRAMES / rate if rate else 0.0)
        self._tracker: Any = tracker.ByteTrack(
            # every detection that is shown counts as an object
            high_conf=0.0,
            iou=LEAST_IOU,
            update=UPDATE,
            lifespan_ns=int(lifespan * 1e9),
        )
        self._numbers: dict[str, int] = {}
        self._next = 1

    def __call__(self, found: PictureDetections) -> PictureDetections:
        """Add tracks to the detections of the next frame."""
        boxes = found.boxes.astype(np.float32)
        half = (boxes[:, 2:] - boxes[:, :2]) * np.float32(BUFFER / 2)
        enlarged = np.concatenate([boxes[:, :2] - half, boxes[:, 2:] + half], 1)
        followed = self._tracker.update(
            np.ascontiguousarray(enlarged),
            np.ascontiguousarray(found.scores, np.float32),
            np.zeros(len(found), np.uintp),
            round((found.time or 0.0) * 1e9),
        )
        numbers = [self._number(one.uuid if one else None) for one in followed]
        # forget the objects that are gone
        active = {one.info.uuid for one in self._tracker.get_active_tracks()}
        self._numbers = {k: v for k, v in self._numbers.items() if k in active}
        return replace(found, tracks=np.array(numbers, np.int64))

    def _number(self, uuid: str | None) -> int:
        if uuid is not None and uuid in self._numbers:
            return self._numbers[uuid]
        number, self._next = self._next, self._next + 1
        if uuid is not None:
            self._numbers[uuid] = number
        return number
