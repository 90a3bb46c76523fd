"""Limiting the loss of mAP: convolutions go back to floating point until the limit holds.

The most harmful go first, in the order of the error that each alone causes in the heads. Their
number is found by doubling and then bisection, and the model that is built has itself been scored,
because mAP need not grow with each convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from onnx import ModelProto

from ..artefacts.description import Description
from ..artefacts.int8_options import Int8Options
from ..datasets.coco import read_annotations
from ..datasets.picture_files import image_paths
from ..detection.detector import Detector
from ..errors import CheckFailed, UsageError
from ..evaluation.evaluate import evaluate
from ..runtimes.base import Runtime

#: opens a serialised heads model, given with its description, in the runtime it is for
Opener = Callable[[bytes, Description], Runtime]
#: makes a heads model with this many of the most harmful convolutions in floating point
Candidate = Callable[[int], ModelProto]


@dataclass(frozen=True)
class Promise:
    """A model that keeps the limit on the loss of mAP.

    Attributes:
        model: the model, with Q/DQ.
        reverted: number of convolutions that went back to floating point.
        map: mAP on the annotations by precision.
    """

    model: ModelProto
    reverted: int
    map: dict[str, float]


class Scorer:
    """Computes the mAP of heads models on the annotations of the calibration pictures."""

    def __init__(self, description: Description, options: Int8Options, opener: Opener) -> None:
        """Read the annotations.

        Raises:
            BadFile: they cannot be read, or name pictures that do not exist.
        """
        assert options.annotations is not None
        self._truth = read_annotations(options.annotations)
        image_paths(self._truth, options.calibration, "--calibration")
        # the quantised network begins after the preprocessing, wherever that is done later
        self._description = replace(description.with_decode_nms(False), pictures=None)
        self._options, self._opener = options, opener

    def __call__(self, model: ModelProto) -> float:
        """Return the mAP of a model, 0 to 1.

        Raises:
            BadFile: an annotated picture cannot be read, or the categories do not fit.
            UsageError: no object of the network's classes is annotated.
        """
        runtime = self._opener(model.SerializeToString(), self._description)
        with Detector(runtime) as detector:
            found = evaluate(detector, self._truth, self._options.calibration)
        value = found.metrics.get("AP")
        if value is None:
            raise UsageError(
                f"--annotations {self._options.annotations}: no object of the network's classes "
                "is annotated, so there is no mAP to keep"
            )
        return float(value)


def keep_promise(
    reference: float, most_drop: float, count: int, candidate: Candidate, score: Scorer
) -> Promise:
    """Find a model that keeps the limit with few convolutions in floating point.

    Args:
        reference: mAP in float32.
        most_drop: mAP that may be lost.
        count: number of convolutions in INT8, of which at least one stays.
        candidate: makes the models.
        score: computes their mAP.

    Raises:
        CheckFailed: the limit does not hold even with a single convolution left in INT8.
    """
    tried: dict[int, float] = {}

    def holds(reverted: int) -> bool:
        tried[reverted] = score(candidate(reverted))
        return tried[reverted] >= reference - most_drop

    failing, reverted = -1, 0
    while not holds(reverted):
        if reverted >= count - 1:
            best = max(tried, key=lambda one: tried[one])
            raise CheckFailed(
                f"mAP {reference:.4f} in fp32 may drop by {most_drop:g}, and dropped by at least "
                f"{reference - tried[best]:.4f} in int8: {tried[best]:.4f} was reached with {best} "
                f"of {count} convolutions back in floating point; nothing was written: allow a "
                "larger --max-drop, calibrate on more pictures, or build with --precision fp16"
            )
        failing, reverted = reverted, min(max(1, 2 * reverted), count - 1)
    while reverted - failing > 1:
        middle = (failing + reverted) // 2
        if holds(middle):
            reverted = middle
        else:
            failing = middle
    scores = {"fp32": round(reference, 6), "int8": round(tried[reverted], 6)}
    return Promise(candidate(reverted), reverted, scores)
