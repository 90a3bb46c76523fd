"""What an engine's NMS does with boxes and scores built to tell: ties, and boxes at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..postprocess import Detections, PostprocessParams
from ..postprocess.oracle import detections_from_scores, iou_scale_and_offset, without_background

FloatArray = npt.NDArray[np.float32]
Nms = Callable[[FloatArray, FloatArray], Detections]

#: boxes at random, and in how many groups that overlap
_BOXES, _GROUPS = 96, 12
#: of an interval, until a threshold is known to four digits
_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class NmsRules:
    """The rules that an NMS was seen to follow.

    Attributes:
        faults: what it does otherwise than its parameters say, a line each.
        labels: ``[C]`` the label that it gives for each column of the scores; None: the column.
        background: the class that it never detects; -1 for none.
    """

    faults: tuple[str, ...] = ()
    labels: npt.NDArray[np.intp] | None = None
    background: int = 0

    @property
    def is_told(self) -> bool:
        """Whether it does what its parameters say."""
        return not self.faults

    def with_our_labels(self, found: Detections) -> Detections:
        """The same detections with the columns of the scores for labels."""
        if self.labels is None:
            return found
        column = {int(label): i for i, label in enumerate(self.labels)}
        labels = [column.get(label, label) for label in found.labels.tolist()]
        return replace(found, labels=np.asarray(labels, np.int32))


def nms_rules(nms: Nms, params: PostprocessParams, shape: tuple[int, ...]) -> NmsRules:
    """Try an NMS on built boxes and scores.

    Args:
        nms: boxes ``[P, 4]`` and scores ``[P, C]`` to detections.
        params: that it says it has.
        shape: P and C.
    """
    boxes, scores = _Probe(params, shape).at_random()
    theirs = nms(boxes, scores)
    labels, found = None, params
    for background in dict.fromkeys([params.background_label, -1, *range(shape[1])]):
        tried = replace(params, background_label=background)
        ours = _Probe(tried, shape).expected(boxes, scores)
        labels = _labels(theirs, ours, shape[1])
        # of boxes at random none is within rounding of a threshold
        if NmsRules(labels=labels).with_our_labels(theirs).keys == ours.keys:
            found = tried
            break
    else:
        ours = _Probe(params, shape).expected(boxes, scores)
        labels = _labels(theirs, ours, shape[1])
        faults = [*_threshold_faults(nms, _Probe(params, shape))]
        told = f"of {min(_BOXES, shape[0])} boxes at random {len(theirs)} are kept, not {len(ours)}"
        return NmsRules(tuple(faults or [told]), labels, params.background_label)
    ties = _tie_faults(nms, _Probe(found, shape))
    return NmsRules(tuple(ties), labels, found.background_label)


def _threshold_faults(nms: Nms, probe: _Probe) -> Iterator[str]:
    """Thresholds of what is executed, where they are not those that are told."""
    params = probe.params
    for name, told, boxes_of in (
        ("score_threshold", params.score_threshold, probe.of_score),
        ("iou_threshold", params.iou_threshold, probe.of_iou),
    ):
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            given = boxes_of(middle)
            if given is None:
                break
            # a score is kept above its threshold, a second box below its
            above = (len(nms(*given)) > 0) if name == "score_threshold" else len(nms(*given)) == 1
            low, high = (low, middle) if above else (middle, high)
        else:
            if low > 0.0 and high < 1.0 and abs(high - told) > 1e-3 * max(told, 1e-3):
                yield f"{name} {high:.4g}, where {told:g} is told"


def _tie_faults(nms: Nms, probe: _Probe) -> Iterator[str]:
    """What becomes of a score and of an IoU that are their threshold."""
    if (tie := probe.score_tie()) is not None and len(nms(*tie)):
        yield "a score equal to score_threshold is kept: >= in the place of >"
    if (tie := probe.iou_tie()) is not None and len(nms(*tie)) == 1:
        yield "an IoU equal to iou_threshold suppresses: >= in the place of >"


def _labels(theirs: Detections, ours: Detections, classes: int) -> npt.NDArray[np.intp] | None:
    """The label that they give where ours is i, for each i; None where it is i for all."""
    given = {
        (prior, score): label
        for prior, score, label in zip(
            theirs.prior_indices.tolist(),
            theirs.scores.tolist(),
            theirs.labels.tolist(),
            strict=True,
        )
    }
    columns = zip(
        ours.labels.tolist(), ours.prior_indices.tolist(), ours.scores.tolist(), strict=True
    )
    pairs = {
        (column, given[prior, score]) for column, prior, score in columns if (prior, score) in given
    }
    mapping = dict(pairs)
    if len(mapping) != len(pairs) or all(a == b for a, b in pairs):
        return None
    shifts = {b - a for a, b in pairs}
    shift = shifts.pop() if len(shifts) == 1 else 0  # of classes that were not seen
    return np.array([mapping.get(i, i + shift) for i in range(classes)], np.intp)


class _Probe:
    """Boxes and scores of the size that an engine takes."""

    def __init__(self, params: PostprocessParams, shape: tuple[int, ...]) -> None:
        self.params = params
        self.priors, self.classes = shape
        threshold = params.score_threshold
        # scores that pass; after softmax and sigmoid they are below 1
        self.low, self.high = threshold, threshold + 1
        if params.activation != "none":
            self.low, self.high = max(threshold, 0.0), 1.0

    def expected(self, boxes: FloatArray, scores: FloatArray) -> Detections:
        """What our NMS keeps."""
        return detections_from_scores(boxes, without_background(scores, self.params), self.params)

    def at_random(self) -> tuple[FloatArray, FloatArray]:
        """Groups of boxes that overlap, a class each: from three pixels of 300 to the picture."""
        random = np.random.default_rng(17)
        boxes, scores = self._nothing()
        number = min(_BOXES, self.priors)
        groups = np.arange(number) * _GROUPS // number
        sides = np.geomspace(0.01, 0.4, _GROUPS)[groups][:, None]
        centres = 0.5 + sides * random.uniform(-0.3, 0.3, (number, 2))
        sizes = sides * random.uniform(0.7, 1.3, (number, 2))
        boxes[:number] = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
        shares = random.permutation(number) + 1
        spread = (self.high - self.low) * shares / (number + 1)
        scores[np.arange(number), groups % self.classes] = self.low + spread
        return boxes, scores

    def score_tie(self) -> tuple[FloatArray, FloatArray] | None:
        """One box whose score is the threshold."""
        boxes, scores = self._nothing()
        boxes[0] = (0.25, 0.25, 0.5, 0.5)
        label = self._label()
        if label is None:
            return None
        scores[0, label] = np.float32(self.params.score_threshold)
        return boxes, scores

    def of_score(self, score: float) -> tuple[FloatArray, FloatArray] | None:
        """One box of a score; None where scores are no shares."""
        label = self._label()
        if label is None or self.params.activation == "none":
            return None
        boxes, scores = self._nothing()
        boxes[0] = (0.25, 0.25, 0.5, 0.5)
        scores[0, label] = score
        return boxes, scores

    def of_iou(self, iou: float) -> tuple[FloatArray, FloatArray] | None:
        """Two boxes of an IoU, so large that a pixel more or less does not count."""
        label = self._label()
        if label is None or self.priors < 2:
            return None
        boxes, scores = self._nothing()
        boxes[0], boxes[1] = (0, 0, 1000, 1000), (0, 0, 1000 * iou, 1000)
        scores[:2, label] = (self.high - (self.high - self.low) / 100, self.high / 2 + self.low / 2)
        return boxes, scores

    def iou_tie(self) -> tuple[FloatArray, FloatArray] | None:
        """Two boxes of one class whose IoU is the threshold, in every rounding."""
        label = self._label()
        sides = self._sides()
        if label is None or sides is None or self.priors < 2:
            return None
        boxes, scores = self._nothing()
        large, small, height = sides
        boxes[0], boxes[1] = (0, 0, large, height), (0, 0, small, height)
        step = (self.high - self.low) / 4
        scores[:2, label] = (self.high - step, self.high - 2 * step)
        return boxes, scores

    def _nothing(self) -> tuple[FloatArray, FloatArray]:
        boxes = np.zeros((self.priors, 4), np.float32)
        below = 0.0 if self.low > 0 else self.params.score_threshold - 1
        return boxes, np.full((self.priors, self.classes), below, np.float32)

    def _label(self) -> int | None:
        labels = [i for i in range(self.classes) if i != self.params.background_label]
        return labels[-1] if labels and self.high > self.low else None

    def _sides(self) -> tuple[float, float, float] | None:
        """Widths of two boxes and their height: whole numbers in the unit of the IoU.

        Their areas are whole numbers then, and a quotient of two is rounded once.
        """
        threshold = self.params.iou_threshold
        share = Fraction(threshold).limit_denominator(100)
        if np.float32(float(share)) != np.float32(threshold) or not 0 < share < 1:
            return None
        scale, offset = iou_scale_and_offset(self.params.pixel_offset)
        exact = (
            [n for n in range(1, 250) if np.float32(np.float32(n / float(scale)) * scale) == n]
            if offset
            else list(range(1, 250))
        )
        unit = float(scale) if offset else 1024.0
        extra = int(offset)
        for times in range(1, 100):
            large = share.denominator * times - extra
            small = share.numerator * times - extra
            if large in exact and small in exact:
                return large / unit, small / unit, exact[0] / unit
        return None
