"""What a side of a comparison does with loc and conf: five stages, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..evaluation.intervals import intervals_from_heads
from ..evaluation.limits import BOX_ROUNDING, SCORE_ROUNDING
from ..evaluation.proof import faults_of_detections
from ..postprocess import Detections, PostprocessParams, decode_nms
from ..postprocess.boxes import boxes_xyxy_from_loc
from ..postprocess.detections import detections_from_padded
from ..postprocess.oracle import detections_from_scores, scores_from_conf
from ..postprocess.params import ScoreActivation
from .cuts import Kind, Piece
from .engine_graph import EngineGraph
from .nms_rules import NmsRules, nms_rules

FloatArray = npt.NDArray[np.float32]

HEAD_STAGES = ("activation", "decode_boxes", "priors", "labels", "nms")
#: of scores and boxes, relative to 1, where ONNX Runtime's exponential is not ours
_ROUNDING = 10 * max(SCORE_ROUNDING, BOX_ROUNDING)


@dataclass(frozen=True, eq=False)
class HeadStages:
    """From heads to detections.

    Attributes:
        params: what is done; what a part of an engine does that no parameter says is a function.
        priors: ``[P, 4]`` (cx, cy, w, h), unit square.
        activation: conf ``[P, C]`` to scores ``[P, C]``.
        boxes: loc ``[P, 4]`` to boxes ``[P, 4]`` (x1, y1, x2, y2), its own priors inside.
        nms: boxes and scores to detections; the rules it was seen to follow are in ``rules``.
        rest: loc and conf to detections, where an engine cannot be taken apart further.
        rules: of ``nms``.
        columns: ``[C]`` the column of the other side's conf that each column of this side's is.
    """

    params: PostprocessParams
    priors: FloatArray
    activation: Callable[[FloatArray], FloatArray] | None = None
    boxes: Callable[[FloatArray], FloatArray] | None = None
    nms: Callable[[FloatArray, FloatArray], Detections] | None = None
    rest: Callable[[FloatArray, FloatArray], Detections] | None = None
    rules: NmsRules | None = None
    columns: npt.NDArray[np.intp] | None = None

    @property
    def has_own_nms(self) -> bool:
        """Whether an engine's NMS is to be run, which may do other than its parameters say."""
        return self.nms is not None or self.rest is not None


def head_stages(
    description: Description,
    params: PostprocessParams,
    graph: EngineGraph | None,
    conf: FloatArray,
) -> HeadStages:
    """The stages of a side.

    Args:
        description: of the side.
        params: that it says it has.
        graph: of an engine of ONNX; what is in it counts, whatever the parameters say.
        conf: ``[P, C]`` of a picture, to see the activation by.
    """
    told = HeadStages(params, description.priors)
    if graph is None or graph.rest is None:
        return told
    if graph.boxes is None or graph.nms is None:
        rest = graph.rest
        return replace(told, rest=lambda loc, conf: _detections(rest, loc, conf))
    nms, decode = graph.nms, graph.boxes
    activation = _activation(graph.activation, conf)
    # what a half-precision engine rounds on the way is its network's
    kind = None if graph.activation is None else graph.activation.takes[0]
    conf = conf.astype(kind or conf.dtype).astype(np.float32)
    name = _activation_name(activation, conf, params)
    boxes = _boxes_of(decode)
    priors, variances = _decoding(boxes, told)
    known = replace(params, activation=name or params.activation, variances=variances)
    is_ours = _is_ours(boxes, priors, variances, decode.takes[0])

    def kept(boxes: FloatArray, scores: FloatArray) -> Detections:
        return _detections(nms, boxes, scores)

    return HeadStages(
        known,
        priors,
        activation=None if name else activation,
        boxes=None if is_ours else boxes,
        nms=kept,
        rules=nms_rules(kept, params, conf.shape),
    )


def _detections(piece: Piece, *arrays: FloatArray) -> Detections:
    return detections_from_padded(*piece(*(array[None] for array in arrays)))[0]


def _activation(piece: Piece | None, conf: FloatArray) -> Callable[[FloatArray], FloatArray]:
    if piece is None:
        return lambda conf: conf
    part = piece

    def scores(conf: FloatArray) -> FloatArray:
        found = np.asarray(part(conf[None])[0][0], np.float32)
        return found if found.shape == conf.shape else np.ascontiguousarray(found.T)

    return scores


def _activation_name(
    activation: Callable[[FloatArray], FloatArray], conf: FloatArray, params: PostprocessParams
) -> ScoreActivation | None:
    """The activation of ours that an engine's is; None for another."""
    found = activation(conf)
    every: tuple[ScoreActivation, ...] = get_args(ScoreActivation)
    for name in sorted(every, key=lambda name: name != params.activation):
        expected = scores_from_conf(conf, replace(params, activation=name, background_label=-1))
        if np.allclose(found, expected, rtol=_ROUNDING, atol=_ROUNDING):
            return name
    return None


def _boxes_of(piece: Piece) -> Callable[[FloatArray], FloatArray]:
    return lambda loc: np.asarray(piece(loc[None])[0][0], np.float32)


def _decoding(
    boxes: Callable[[FloatArray], FloatArray], told: HeadStages
) -> tuple[FloatArray, tuple[float, float]]:
    """Priors and variances of what decodes: seen by the answer to 0 and to 1.

    With offsets of 0 the box is the prior; with offsets of 1 its centre has moved by the first
    variance of its size, and its size has grown by a factor of ``exp`` of the second.
    """
    priors, variances = told.priors, told.params.variances
    still = _cxcywh(boxes(np.zeros_like(priors)))
    if np.abs(still - priors).max() > _ROUNDING:
        priors = still.astype(np.float32)
    moved = _cxcywh(boxes(np.ones_like(priors)))
    large = still[:, 2:].min(axis=1) > 0.05  # the ratio of small ones is all rounding
    rows = np.flatnonzero(large) if large.any() else np.arange(len(still))
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.median((moved - still)[rows, :2] / still[rows, 2:])
        size = np.median(np.log(moved[rows, 2:] / still[rows, 2:]))
    found = (float(centre), float(size))
    if not all(np.isfinite(v) and v > 0 for v in found):
        return priors, variances
    if np.allclose(found, variances, rtol=1e-3):
        return priors, variances
    return priors, found


def _cxcywh(boxes: FloatArray) -> npt.NDArray[np.float64]:
    corners = boxes.astype(np.float64)
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def _is_ours(
    boxes: Callable[[FloatArray], FloatArray],
    priors: FloatArray,
    variances: tuple[float, float],
    kind: Kind,
) -> bool:
    """Whether an engine decodes as we do, with these priors and variances."""
    loc = np.random.default_rng(0).normal(0, 2, priors.shape).astype(kind).astype(np.float32)
    expected = boxes_xyxy_from_loc(loc, priors, variances)
    scale = np.maximum(np.abs(expected), 1)
    return bool((np.abs(boxes(loc) - expected) <= 1e-3 * scale).all())


def detections_from_heads(
    loc: FloatArray, conf: FloatArray, chosen: Mapping[str, HeadStages]
) -> Detections:
    """Decode + NMS of heads of one picture, each stage by the side chosen for it.

    Args:
        loc: ``[P, 4]``.
        conf: ``[P, C]``.
        chosen: a side per stage of :data:`HEAD_STAGES`.
    """
    nms, names = chosen["nms"], chosen["labels"]
    activation, decoding = chosen["activation"], chosen["decode_boxes"]
    if names.columns is not None:
        conf = np.ascontiguousarray(conf[:, names.columns])
    params = replace(
        nms.params,
        activation=activation.params.activation,
        variances=decoding.params.variances,
        background_label=names.params.background_label,
    )
    priors = chosen["priors"].priors
    if nms.rest is not None:
        return _renamed(nms.rest(loc, conf), names)
    is_ours = activation.activation is None and decoding.boxes is None
    ours = decode_nms(loc[None], conf[None], priors, params)[0] if is_ours else None
    if ours is None or nms.nms is not None:
        own, decode = activation.activation, decoding.boxes
        unmasked = replace(params, background_label=-1)
        scores = scores_from_conf(conf, unmasked) if own is None else own(conf)
        boxes = (
            boxes_xyxy_from_loc(loc, priors, params.variances) if decode is None else decode(loc)
        )
        ours = _kept(boxes, scores, params, nms, ours)
    return _renamed(ours, names)


def _renamed(found: Detections, names: HeadStages) -> Detections:
    """The labels that a side gives for the columns of the scores."""
    moved = None if names.rules is None else names.rules.labels
    if moved is None:
        return found
    return replace(found, labels=moved[found.labels].astype(np.int32))


def _kept(
    boxes: FloatArray,
    scores: FloatArray,
    params: PostprocessParams,
    nms: HeadStages,
    ours: Detections | None,
) -> Detections:
    """What NMS keeps: an engine's own where it is more than rounding that tells it from ours.

    Args:
        boxes, scores: of all priors, ``[P, 4]`` and ``[P, C]``.
        params: of ours.
        nms: the side whose NMS it is.
        ours: what ours keeps, where it is known.
    """
    masked = scores.copy()
    if 0 <= params.background_label < scores.shape[1]:
        masked[:, params.background_label] = np.nan
    if ours is None:
        ours = detections_from_scores(boxes, masked, params)
    if nms.nms is None or nms.rules is None:
        return ours
    theirs = nms.rules.with_our_labels(nms.nms(boxes, scores))
    if _keys(theirs) == _keys(ours):
        return ours
    if nms.rules.is_told and _is_rounding(theirs, boxes, masked, params):
        return ours
    return theirs


def _keys(found: Detections) -> set[tuple[int, int]]:
    return set(zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True))


def _is_rounding(
    found: Detections, boxes: FloatArray, scores: FloatArray, params: PostprocessParams
) -> bool:
    """Whether detections are what NMS may give for these boxes and scores, up to rounding."""
    as_heads = replace(params, activation="none")
    intervals = intervals_from_heads(
        np.zeros_like(boxes),
        scores,
        _cxcywh(boxes),
        as_heads,
        loc_error=0.0,
        conf_error=0.0,
    )
    return not list(faults_of_detections(found, intervals))
