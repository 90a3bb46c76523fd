"""Match detections one to one without heads: by class, overlap and score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..evaluation.limits import HEAD_LIMITS
from ..postprocess.boxes import iou_one_to_many
from .detection_differences import Example, Frame, PictureDifferences

if TYPE_CHECKING:
    from ..postprocess import Detections, PostprocessParams

#: least IoU of two boxes that count as one: differences of the heads within the limit of half
#: precision move a corner by a few hundredths of the box
_SAME = 0.9
#: largest logits of trained networks; the limits of heads are relative to them
_LOGITS = 20.0


def differences_by_overlap(
    reference: Detections,
    engine: Detections,
    params: PostprocessParams,
    precision: str,
    frame: Frame,
) -> PictureDifferences:
    """Find what agrees and what differs in a picture.

    Best scores first, each detection of the reference takes the detection of its class with the
    largest overlap, at least 0.9, among those whose scores differ by no more than a shift of the
    logits within the limit of the precision can cause. A detection that is left counts as explained
    only if its score is as close to the threshold, or to the last score kept under a cap that the
    other side has reached.
    """
    shift = 2 * HEAD_LIMITS[precision] * _LOGITS
    pairs = _pairs(reference, engine, shift)
    left = [
        sorted({*range(len(one))} - {pair[side] for pair in pairs})
        for side, one in enumerate((reference, engine))
    ]
    examples = [
        *_alone(reference, left[0], engine, params, shift, frame, "reference"),
        *_alone(engine, left[1], reference, params, shift, frame, "engine"),
    ]
    return PictureDifferences(len(pairs), examples)


def _pairs(reference: Detections, engine: Detections, shift: float) -> list[tuple[int, int]]:
    free = np.ones(len(engine), bool)
    pairs = []
    for i in range(len(reference)):
        iou = iou_one_to_many(reference.boxes[i], engine.boxes, 0.0)
        near = _margin(reference.scores[i], shift) + _margin(engine.scores, shift)
        able = free & (engine.labels == reference.labels[i]) & (iou >= _SAME)
        able &= np.abs(engine.scores - reference.scores[i]) <= near
        if able.any():
            j = int(np.argmax(np.where(able, iou, -1)))
            free[j] = False
            pairs.append((i, j))
    return pairs


def _margin(score: npt.ArrayLike, shift: float) -> npt.NDArray[np.float64]:
    """How far a score moves if its logit moves by ``shift`` against the others, plus 1e-6.

    Uses the derivative of the sigmoid: softmax is the sigmoid of one logit against the others.
    """
    values = np.asarray(score, np.float64)
    margin: npt.NDArray[np.float64] = values * (1 - values) * shift + 1e-6
    return margin


def _alone(
    having: Detections,
    positions: list[int],
    lacking: Detections,
    params: PostprocessParams,
    shift: float,
    frame: Frame,
    side: str,
) -> Iterator[Example]:
    for position in positions:
        score = float(having.scores[position])
        margin = float(_margin(score, shift))
        own = lacking.scores[lacking.labels == having.labels[position]]
        reason = None
        if score - margin <= params.score_threshold:
            reason = f"score {score:.6g} against the threshold {params.score_threshold:g}"
        for name, limit, scores in (
            ("keep_topk_per_class", params.keep_topk_per_class, own),
            ("keep_topk", params.keep_topk, lacking.scores),
        ):
            if reason is None and limit and len(scores) >= limit:
                last = float(scores.min())
                if score - margin <= last + float(_margin(last, shift)):
                    reason = f"score {score:.6g} against {last:.6g}, the last of {name} {limit}"
        text = reason or "no detection of its class and score overlaps it by 0.9 on the other side"
        yield frame.example(having, position, side, text, explained=reason is not None)
