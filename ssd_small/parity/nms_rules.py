"""Determine an engine's NMS rules by probing it with random boxes and with ties."""

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

#: number of random boxes, and of the overlapping groups they form
_BOXES, _GROUPS = 96, 12
#: bisection steps until a threshold is known to four digits
_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class NmsRules:
    """The rules that an NMS was observed to follow.

    Attributes:
        faults: a line for each deviation from its parameters.
        labels: ``[C]`` the label that it gives for each column of the scores; None if they equal
            the columns.
        background: the class that it never detects; -1 for none.
    """

    faults: tuple[str, ...] = ()
    labels: npt.NDArray[np.intp] | None = None
    background: int = 0

    @property
    def is_told(self) -> bool:
        """Whether it follows its parameters."""
        return not self.faults

    def with_our_labels(self, found: Detections) -> Detections:
        """The same detections with the columns of the scores as labels."""
        if self.labels is None:
            return found
        column = {int(label): i for i, label in enumerate(self.labels)}
        labels = [column.get(label, label) for label in found.labels.tolist()]
        return replace(found, labels=np.asarray(labels, np.int32))


def nms_rules(nms: Nms, params: PostprocessParams, shape: tuple[int, ...]) -> NmsRules:
    """Probe an NMS with constructed boxes and scores.

    Args:
        nms: function from boxes ``[P, 4]`` and scores ``[P, C]`` to detections.
        params: the parameters it claims to have.
        shape: P and C.
    """
    boxes, scores = _Probe(params, shape).at_random()
    theirs = nms(boxes, scores)
    labels, found = None, params
    for background in dict.fromkeys([params.background_label, -1, *range(shape[1])]):
        tried = replace(params, background_label=background)
        ours = _Probe(tried, shape).expected(boxes, scores)
        labels = _labels(theirs, ours, shape[1])
        # no random box is within rounding of a threshold
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
    """Faults for executed thresholds that are not the claimed ones."""
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
    """Faults in the treatment of a score and of an IoU that equal their threshold."""
    if (tie := probe.score_tie()) is not None and len(nms(*tie)):
        yield "a score equal to score_threshold is kept: >= in the place of >"
    if (tie := probe.iou_tie()) is not None and len(nms(*tie)) == 1:
        yield "an IoU equal to iou_threshold suppresses: >= in the place of >"


def _labels(theirs: Detections, ours: Detections, classes: int) -> npt.NDArray[np.intp] | None:
    """Their label where ours is i, for each i; None if it is always i, or ambiguous."""
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
    shift = shifts.pop() if len(shifts) == 1 else 0  # for classes that were not observed
    return np.array([mapping.get(i, i + shift) for i in range(classes)], np.intp)


class _Probe:
    """Constructs boxes and scores in the shapes that an engine takes."""

    def __init__(self, params: PostprocessParams, shape: tuple[int, ...]) -> None:
        self.params = params
        self.priors, self.classes = shape
        threshold = params.score_threshold
        # range of scores that pass; after softmax or sigmoid they are below 1
        self.low, self.high = threshold, threshold + 1
        if params.activation != "none":
            self.low, self.high = max(threshold, 0.0), 1.0

    def expected(self, boxes: FloatArray, scores: FloatArray) -> Detections:
        """What our NMS keeps."""
        return detections_from_scores(boxes, without_background(scores, self.params), self.params)

    def at_random(self) -> tuple[FloatArray, FloatArray]:
        """Groups of overlapping boxes, one class each, with sides of about 0.01 to 0.4."""
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
        """One box whose score equals the threshold; None if no score can pass."""
        boxes, scores = self._nothing()
        boxes[0] = (0.25, 0.25, 0.5, 0.5)
        label = self._label()
        if label is None:
            return None
        scores[0, label] = np.float32(self.params.score_threshold)
        return boxes, scores

    def of_score(self, score: float) -> tuple[FloatArray, FloatArray] | None:
        """One box with a given score; None if scores are not probabilities."""
        label = self._label()
        if label is None or self.params.activation == "none":
            return None
        boxes, scores = self._nothing()
        boxes[0] = (0.25, 0.25, 0.5, 0.5)
        scores[0, label] = score
        return boxes, scores

    def of_iou(self, iou: float) -> tuple[FloatArray, FloatArray] | None:
        """Two boxes with a given IoU, so large that ``pixel_offset`` hardly matters."""
        label = self._label()
        if label is None or self.priors < 2:
            return None
        boxes, scores = self._nothing()
        boxes[0], boxes[1] = (0, 0, 1000, 1000), (0, 0, 1000 * iou, 1000)
        scores[:2, label] = (self.high - (self.high - self.low) / 100, self.high / 2 + self.low / 2)
        return boxes, scores

    def iou_tie(self) -> tuple[FloatArray, FloatArray] | None:
        """Two boxes of one class whose IoU equals the threshold however it is rounded."""
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
        """Widths of two boxes and their common height: whole numbers in the units of the IoU.

        Their areas are then whole numbers, and their quotient is rounded only once.
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
