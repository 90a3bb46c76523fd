"""A made-up network whose detections are known beforehand, and pictures that tell their number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.detection.detector import Detector
from ssd_small.models.registry import get_spec
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.postprocess import Detections, PostprocessParams
from ssd_small.runtimes.base import BatchingRuntime, FloatArray

LABELS = ("cat", "dog")
#: the same in every picture, in the unit square and past it, best first: two cats and three dogs
BOXES = (
    (0.1, 0.2, 0.5, 0.6),
    (-0.2, 0.5, 0.3, 1.4),
    (0.5, 0.5, 0.5, 0.5),
    (0, 0, 1, 1),
    (2, 2, 3, 3),
)
SCORES = (0.9, 0.8, 0.6, 0.55, 0.3)
CLASSES = (1, 2, 2, 1, 2)


def description(params: PostprocessParams | None = None, *, inside: bool = True) -> Description:
    """Of a network with two classes and an input of 8 x 8 pixels, taken as they are."""
    spec = get_spec("mobilenet_v1")
    given = description_from_spec(spec, 3, 1.0, labels=LABELS, params=params, has_decode_nms=inside)
    return replace(given, preprocessing=Preprocessing(8, 8, mean=(0.0, 0.0, 0.0)))


class MadeUpRuntime(BatchingRuntime):
    """Gives the detections above; the first prior index is the picture's brightness.

    Attributes:
        batches: number of pictures of each call so far.
        at: called with the number of the call, before it answers.
    """

    name, precision = "made up", "fp32"

    def __init__(self, own: float = 0.25, max_batch: int = 4) -> None:
        self.description = description(PostprocessParams(score_threshold=own))
        self.max_batch = max_batch
        self.batches: list[int] = []
        self.at: Callable[[int], None] = lambda number: None

    def infer_batch(self, images: FloatArray) -> list[Detections]:
        self.at(len(self.batches))
        self.batches.append(len(images))
        return [self._found(round(float(image.mean()))) for image in images]

    def _found(self, brightness: int) -> Detections:
        everything = Detections(
            np.array(BOXES, np.float32),
            np.array(SCORES, np.float32),
            np.array(CLASSES, np.int32),
            np.array([brightness, 1, 2, 3, 4], np.int32),
        )
        own = np.float32(self.description.postprocess.score_threshold)
        return everything[everything.scores > own]


def detector(own: float = 0.25, max_batch: int = 4, workers: int = 2) -> Detector:
    """A detector with the made-up network, whose ``runtime`` is a :class:`MadeUpRuntime`."""
    return Detector(MadeUpRuntime(own, max_batch), workers=workers)


def picture(number: int, height: int = 6, width: int = 5) -> np.ndarray:
    """A picture of one colour, by which its result can be told; numbers under 256."""
    return np.full((height, width, 3), number, np.uint8)


def number_of(found: object) -> int:
    """The number of the picture of a result."""
    return int(found.prior_indices[0])  # type: ignore[attr-defined]


def stream_threads() -> list[threading.Thread]:
    """Threads that read pictures or run a network and are still there."""
    names = ("pictures", "network")
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]
