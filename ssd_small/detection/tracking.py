"""Objects that keep their number from frame to frame, by edgefirst-tracker's ByteTrack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..requirements import require
from .picture_detections import PictureDetections

#: by how much of its sides a box is enlarged for the tracker: small objects leave their own box
#: from one frame to the next (Yang et al., "Hard to Track Objects ... Make It Easier by Buffering
#: the Matching Space", WACV 2023). The three are chosen by benchmarks/bench_tracking.py
BUFFER = 0.5
#: overlap of enlarged boxes from which they may be one object, and the weight of a new position
LEAST_IOU, UPDATE = 0.1, 0.6
#: seconds and frames that an object may be out of sight; the longer of both counts
LIFESPAN, LIFESPAN_FRAMES = 1.0, 8


class Tracker:
    """Numbers the objects of a video, from 1; the same object has the same number.

    Boxes are followed, whatever their class: a network may take a car for a truck in between. A
    frame must come after the one before it.
    """

    def __init__(self, rate: float | None) -> None:
        """Start without objects.

        Args:
            rate: frames per second; None where that is unknown.

        Raises:
            MissingRequirement: edgefirst-tracker is not installed.
        """
        tracker = require("edgefirst.tracker", "following objects (--track)")
        lifespan = max(LIFESPAN, LIFESPAN_FRAMES / rate if rate else 0.0)
        self._tracker: Any = tracker.ByteTrack(
            # everything that is shown is an object
            high_conf=0.0,
            iou=LEAST_IOU,
            update=UPDATE,
            lifespan_ns=int(lifespan * 1e9),
        )
        self._numbers: dict[str, int] = {}
        self._next = 1

    def __call__(self, found: PictureDetections) -> PictureDetections:
        """The detections of the next frame with their tracks."""
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
        # of those that are gone nobody asks again
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
