"""Split what a side of a comparison does with loc and conf into five stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..evaluation.intervals import intervals_from_heads
from ..evaluation.proof import faults_of_detections
from ..postprocess import Detections, PostprocessParams, decode_nms
from ..postprocess.boxes import boxes_xyxy_from_loc
from ..postprocess.detections import detections_from_padded
from ..postprocess.oracle import detections_from_scores, scores_from_conf, without_background
from ..runtimes.cuts import Piece
from .engine_graph import EngineGraph
from .executed import activation_name, activation_of, cxcywh, decoding_of
from .nms_rules import NmsRules, nms_rules

FloatArray = npt.NDArray[np.float32]

HEAD_STAGES = ("activation", "decode_boxes", "priors", "labels", "nms")


@dataclass(frozen=True, eq=False)
class HeadStages:
    """The stages from heads to detections.

    The functions are set only where an engine does something that no parameter expresses.

    Attributes:
        params: the parameters that are executed.
        priors: ``[P, 4]`` (cx, cy, w, h), unit square.
        activation: conf ``[P, C]`` to scores ``[P, C]``.
        boxes: loc ``[P, 4]`` to boxes ``[P, 4]`` (x1, y1, x2, y2), with its own priors inside.
        nms: boxes and scores to detections.
        rest: loc and conf to detections, if an engine cannot be split further.
        rules: the rules that ``nms`` was observed to follow.
        columns: ``[C]`` for each column of this side's conf, the equivalent column of the other's.
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
        """Whether to run an engine's own NMS, which may deviate from its parameters."""
        return self.nms is not None or self.rest is not None


def head_stages(
    description: Description,
    params: PostprocessParams,
    graph: EngineGraph | None,
    conf: FloatArray,
) -> HeadStages:
    """The stages of a side.

    Args:
        description: description of the side.
        params: the parameters it claims to have.
        graph: graph of an ONNX engine; takes precedence over the parameters.
        conf: ``[P, C]`` of a picture, to determine the activation.
    """
    told = HeadStages(params, description.priors)
    if graph is None or graph.rest is None:
        return told
    if graph.boxes is None or graph.nms is None:
        rest = graph.rest
        return replace(told, rest=lambda loc, conf: _detections(rest, loc, conf))
    nms, decode = graph.nms, graph.boxes
    activation = activation_of(graph.activation)
    # rounding by a half-precision engine is attributed to its network, not to the activation
    kind = None if graph.activation is None else graph.activation.takes[0]
    conf = conf.astype(kind or conf.dtype).astype(np.float32)
    name = activation_name(activation, conf, params)
    boxes = _boxes_of(decode)
    decoding = decoding_of(boxes, told.priors, params.variances, decode.takes[0])

    def kept(boxes: FloatArray, scores: FloatArray) -> Detections:
        return _detections(nms, boxes, scores)

    rules = nms_rules(kept, params, conf.shape)
    known = replace(
        params,
        activation=name or params.activation,
        variances=decoding.variances,
        background_label=rules.background,
    )
    return HeadStages(
        known,
        decoding.priors,
        activation=None if name else activation,
        boxes=decoding.boxes,
        nms=kept,
        rules=rules,
    )


def _detections(piece: Piece, *arrays: FloatArray) -> Detections:
    return detections_from_padded(*piece(*(array[None] for array in arrays)))[0]


def _boxes_of(piece: Piece) -> Callable[[FloatArray], FloatArray]:
    return lambda loc: np.asarray(piece(loc[None])[0][0], np.float32)


def detections_from_heads(
    loc: FloatArray, conf: FloatArray, chosen: Mapping[str, HeadStages]
) -> Detections:
    """Decode + NMS of the heads of one picture, each stage as the side chosen for it does it.

    Args:
        loc: ``[P, 4]``.
        conf: ``[P, C]``.
        chosen: a side for each stage of :data:`HEAD_STAGES`.
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
    """Replace columns of the scores by the labels that a side gives for them."""
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
    """What NMS keeps: the engine's own result if it differs from ours by more than rounding.

    Args:
        boxes, scores: ``[P, 4]`` and ``[P, C]`` of all priors.
        params: parameters of our NMS.
        nms: the side whose NMS is used.
        ours: what our NMS keeps, if known.
    """
    masked = without_background(scores, params)
    if ours is None:
        ours = detections_from_scores(boxes, masked, params)
    if nms.nms is None or nms.rules is None:
        return ours
    theirs = nms.rules.with_our_labels(nms.nms(boxes, scores))
    alike = ours
    if nms.params.background_label != params.background_label:  # attributed to the labels stage
        params = replace(params, background_label=nms.params.background_label)
        masked = without_background(scores, params)
        alike = detections_from_scores(boxes, masked, params)
    if theirs.keys == alike.keys:
        return ours
    if nms.rules.is_told and _is_rounding(theirs, boxes, masked, params):
        return ours
    return theirs


def _is_rounding(
    found: Detections, boxes: FloatArray, scores: FloatArray, params: PostprocessParams
) -> bool:
    """Whether our NMS may give these detections for these boxes and scores, up to rounding."""
    as_heads = replace(params, activation="none")
    intervals = intervals_from_heads(
        np.zeros_like(boxes),
        scores,
        cxcywh(boxes),
        as_heads,
        loc_error=0.0,
        conf_error=0.0,
    )
    return not list(faults_of_detections(found, intervals))
