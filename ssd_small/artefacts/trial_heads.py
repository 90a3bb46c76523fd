"""Synthetic heads for which each parameter of decode + NMS makes a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..postprocess import PostprocessParams
from .description import Description

Array = npt.NDArray[Any]

#: priors and classes with notable scores in the first picture: more than the usual cuts leave, but
#: few enough to be quick
_PRIORS, _CLASSES = 2000, 6
#: the boxes of the other pictures lie in a grid with this many cells per side, and have this side
_CELLS, _SIDE = 16, 0.03
#: number of IoUs and scores tried around a threshold
_STEPS = 64
#: a logit that gives no detection under any activation
_NOTHING = -12.0


def trial_heads(description: Description) -> Array:
    """Return ``[6, P, 4 + C]`` float32: loc and conf, concatenated, for six pictures.

    Many boxes of all sizes and scores in several classes, NaN and infinity among them; pairs of
    boxes with an IoU below and above the threshold; single boxes with scores below and above it;
    more candidates than enter NMS; more boxes of one class than are kept; a box of each class.
    """
    params, priors = description.postprocess, description.priors
    classes = description.num_classes
    heads = np.full((6, len(priors), 4 + classes), _NOTHING, np.float32)
    heads[:, :, :4] = 0
    if params.background_label >= 0:
        heads[:, :, 4 + params.background_label] = -_NOTHING
    _scatter(heads[0], np.random.default_rng(17))
    label = next(i for i in range(classes) if i != params.background_label or classes == 1)
    # no more boxes than every cap lets through
    caps = [n for n in (params.keep_topk, params.keep_topk_per_class, params.pre_nms_topk) if n > 0]
    most = max(1, min(_STEPS, *caps, *[len(priors)]) // 2)
    made = (
        _pairs(params, most),
        _singles(params, most),
        _crowd(params, len(priors)),
        _apart(params),
    )
    for picture, (boxes, scores) in enumerate(made, 1):
        labels = np.full(len(boxes), label)
        _place(heads[picture], boxes, scores, labels, description)
    boxes, scores = _cells(classes), np.full(classes, _high(params, 0.9))
    _place(heads[5], boxes, scores, np.arange(classes), description)
    return heads


def _high(params: PostprocessParams, share: Any) -> Any:
    """Scores above the threshold, at this fraction of the way to 1."""
    return params.score_threshold + (1 - params.score_threshold) * share


def _scatter(heads: Array, rng: np.random.Generator) -> None:
    priors, classes = len(heads), heads.shape[1] - 4
    rows = rng.permutation(priors)[:_PRIORS]
    heads[rows, :4] = rng.normal(0, 0.7, (len(rows), 4))
    columns = 4 + np.unique([0, classes - 1, *rng.integers(0, classes, _CLASSES - 2)])
    heads[rows[:, None], columns] = rng.normal(0, 2, (len(rows), len(columns)))
    heads[rows[:2], 0] = [np.nan, np.inf][: len(rows[:2])]


def _cells(count: int) -> Array:
    """Centres ``[count, 2]`` of cells, starting over when all cells are used."""
    index = np.arange(count) % _CELLS**2
    return (np.stack([index % _CELLS, index // _CELLS], axis=1) + 0.5) / _CELLS


def _pairs(params: PostprocessParams, most: int) -> tuple[Array, Array]:
    """Two boxes per cell, the second shifted by amounts that move the IoU across the threshold."""
    count = max(1, most)
    near = np.linspace(-0.1, 0.1, count + 1 - count % 2)[:count]  # without the threshold itself
    iou = np.clip(params.iou_threshold + near + 1e-3, 0.05, 0.95)
    # (side + offset - shift) / (side + offset + shift) for boxes of equal height
    shift = (_SIDE + params.pixel_offset) * (1 - iou) / (1 + iou)
    first = _cells(count) - [_SIDE / 4, 0]
    second = first + np.stack([shift, np.zeros(count)], axis=1)
    return np.concatenate([first, second]), _high(params, np.repeat([0.9, 0.8], count))


def _singles(params: PostprocessParams, most: int) -> tuple[Array, Array]:
    """One box per cell, with scores from half the threshold to twice the threshold."""
    ratio = np.geomspace(0.5, 2, 2 * most)
    return _cells(2 * most), np.clip(params.score_threshold * ratio, 1e-6, 1 - 1e-6)


def _crowd(params: PostprocessParams, priors: int) -> tuple[Array, Array]:
    """Boxes at one place by falling score; at regular intervals, one has a place of its own."""
    count = min(priors, max(_PRIORS, 2 * params.pre_nms_topk))
    # as many separate places as the caps leave room for
    room = min([n for n in (params.keep_topk, params.keep_topk_per_class) if n > 0] or [_CELLS**2])
    every = max(8, count // max(1, min(room, _CELLS**2) // 2))
    centres = np.full((count, 2), 0.5 / _CELLS)
    own = np.arange(count) % every == every - 1
    if params.pre_nms_topk > 0:  # the last to enter, and the first that do not
        own[max(0, params.pre_nms_topk - 3) : params.pre_nms_topk + 3] = True
    centres[own] = _cells(int(own.sum()) + 1)[1:]
    return centres, _high(params, np.linspace(0.9, 0.1, count))


def _apart(params: PostprocessParams) -> tuple[Array, Array]:
    """One box in every cell."""
    return _cells(_CELLS**2), _high(params, np.linspace(0.9, 0.1, _CELLS**2))


def _place(
    heads: Array, centres: Array, scores: Array, labels: Array, described: Description
) -> None:
    """Write boxes of one size, each with a score in one class, spread over the priors."""
    params, priors = described.postprocess, described.priors.astype(np.float64)
    rows = np.random.default_rng(len(centres)).permutation(len(priors))[: len(centres)]
    centres, scores, labels = (a[: len(rows)] for a in (centres, scores, labels))
    own = priors[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        heads[rows, :2] = (centres - own[:, :2]) / (own[:, 2:] * params.variances[0])
        heads[rows, 2:4] = np.log(_SIDE / own[:, 2:]) / params.variances[1]
    logits = scores
    if params.activation != "none":
        # the competing class is the background, or has a negligible score
        logits = np.log(scores) - np.log1p(-scores)
    heads[rows, 4:] = _NOTHING * 5
    if params.activation == "softmax":
        # without background, the next class competes
        aside = (labels + 1) % (heads.shape[1] - 4)
        heads[rows, 4 + (params.background_label if params.background_label >= 0 else aside)] = 0
    heads[rows, 4 + labels] = logits
