"""Results made by hand, in the place of a detector's."""

from __future__ import annotations

import numpy as np

from ssd_small import PictureDetections

CLASSES = ("cell, red", "Blutplättchen", "white")
#: label per position in CLASSES, by the label of the background
LABELS = {0: (1, 2, 3), -1: (0, 1, 2), 1: (0, 2, 3)}
WIDTH, HEIGHT = 200, 100
#: in pixels, such that halves are the finest part
BOXES = ((10.0, 20.0, 60.0, 80.0), (150.5, 0.0, 200.0, 25.5))
SCORES = (0.9, 0.5)
#: positions in CLASSES
INDICES = (2, 0)
NAMES = ("white", "cell, red")


def picture_detections_of(
    boxes: object, scores: object, indices: object, background: int = 0
) -> PictureDetections:
    """Detections in a picture of WIDTH x HEIGHT; ``indices`` are positions in CLASSES."""
    labels = np.array(LABELS[background], np.int32)[np.array(indices, np.int64)]
    return PictureDetections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        labels,
        np.arange(len(labels), dtype=np.int32),
        WIDTH,
        HEIGHT,
        None,
        CLASSES,
        background,
    )


def two_found(background: int = 0) -> PictureDetections:
    """The two detections written down above."""
    return picture_detections_of(BOXES, SCORES, INDICES, background)


def none_found(background: int = 0) -> PictureDetections:
    """What a picture without objects gives."""
    return picture_detections_of([], [], [], background)


def many_found(count: int = 50) -> PictureDetections:
    """Random detections, whose numbers need every bit of float32."""
    rng = np.random.default_rng(0)
    corners = rng.random((2, count, 2), np.float32) * np.array([WIDTH, HEIGHT], np.float32)
    boxes = np.hstack([corners.min(0), corners.max(0)])
    scores = np.sort(rng.random(count, np.float32))[::-1]
    return picture_detections_of(boxes, scores, rng.integers(0, len(CLASSES), count))
