"""Determine an engine's activation and decoding from its outputs for chosen inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ..evaluation.limits import BOX_ROUNDING, SCORE_ROUNDING
from ..postprocess import PostprocessParams
from ..postprocess.boxes import boxes_xyxy_from_loc
from ..postprocess.oracle import scores_from_conf
from ..postprocess.params import ScoreActivation
from ..runtimes.cuts import Kind, Piece

FloatArray = npt.NDArray[np.float32]
Function = Callable[[FloatArray], FloatArray]

#: tolerance of scores and boxes, relative to 1, since ONNX Runtime's exponential is not ours
_ROUNDING = 10 * max(SCORE_ROUNDING, BOX_ROUNDING)
#: divisor by which boxes are shrunk to see where they are without being clipped
_SHRINK = 64


class Decoding(NamedTuple):
    """How an engine decodes: priors ``[P, 4]``, variances, and its function if it is not ours."""

    priors: FloatArray
    variances: tuple[float, float]
    boxes: Function | None


def activation_of(piece: Piece | None) -> Function:
    """A function from conf to scores, both ``[P, C]``; the identity without an activation."""
    if piece is None:
        return lambda conf: conf
    part = piece

    def scores(conf: FloatArray) -> FloatArray:
        found = np.asarray(part(conf[None])[0][0], np.float32)
        return found if found.shape == conf.shape else np.ascontiguousarray(found.T)

    return scores


def activation_name(
    activation: Function, conf: FloatArray, params: PostprocessParams
) -> ScoreActivation | None:
    """The name of our activation that equals an engine's; None if none does."""
    found = activation(conf)
    every: tuple[ScoreActivation, ...] = get_args(ScoreActivation)
    for name in sorted(every, key=lambda name: name != params.activation):
        expected = scores_from_conf(conf, replace(params, activation=name, background_label=-1))
        if np.allclose(found, expected, rtol=_ROUNDING, atol=_ROUNDING):
            return name
    return None


def decoding_of(
    boxes: Function, told: FloatArray, variances: tuple[float, float], kind: Kind
) -> Decoding:
    """Determine how an engine decodes: by our arithmetic with some priors and variances, or not.

    With offsets of 0 the box is the prior. With offsets of 1 its centre moves by its size times
    the first variance, and its size grows by a factor of ``exp`` of the second variance.
    """
    still = cxcywh(boxes(np.zeros_like(told)))
    moved = cxcywh(boxes(np.ones_like(told)))
    # ratios of small boxes are mostly rounding
    rows = np.flatnonzero(still[:, 2:].min(axis=1) > min(0.05, np.median(still[:, 2:])))
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = float(np.median((moved - still)[rows, :2] / still[rows, 2:]))
        size = float(np.median(np.log(moved[rows, 2:] / still[rows, 2:])))
    if min(centre, size) > 0 and not np.allclose((centre, size), variances, rtol=1e-3):
        variances = (centre, size)
    small = np.zeros_like(told)
    small[:, 2:] = np.asarray(-math.log(_SHRINK) / variances[1], kind)
    larger = math.exp(-float(small[0, 2]) * variances[1])
    # boxes that the engine clips at the edge of the picture are not clipped while they are small
    shrunk = cxcywh(boxes(small)) * (1, 1, larger, larger)
    for priors in (told, still.astype(np.float32), shrunk.astype(np.float32)):
        if _is_ours(boxes, priors, variances, kind):
            return Decoding(priors, variances, None)
    # except those whose centre lies at the edge
    inside = np.minimum(told[:, :2], 1 - told[:, :2]) > told[:, 2:] / _SHRINK
    rows = np.flatnonzero(inside.all(axis=1))
    is_told = np.abs(shrunk - told)[rows].max(initial=0.0) <= _ROUNDING
    return Decoding(told if is_told else shrunk.astype(np.float32), variances, boxes)


def cxcywh(boxes: FloatArray) -> npt.NDArray[np.float64]:
    """Centres and sizes ``[P, 4]`` of boxes (x1, y1, x2, y2), in double precision."""
    corners = boxes.astype(np.float64)
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def _is_ours(
    boxes: Function,
    priors: FloatArray,
    variances: tuple[float, float],
    kind: Kind,
) -> bool:
    """Whether an engine decodes as we do, with these priors and variances."""
    loc = np.random.default_rng(0).normal(0, 2, priors.shape).astype(kind).astype(np.float32)
    expected = boxes_xyxy_from_loc(loc, priors, variances)
    scale = np.maximum(np.abs(expected), 1)
    return bool((np.abs(boxes(loc) - expected) <= 1e-4 * scale).all())
