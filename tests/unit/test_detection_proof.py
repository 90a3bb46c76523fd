"""The proof of detections accepts what rounding can do, and nothing that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ssd_small.bench.synthetic import detector_heads
from ssd_small.evaluation.intervals import intervals_from_heads
from ssd_small.evaluation.proof import faults_from_heads, faults_of_detections
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec
from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.postprocess.detections import Detections

PRIORS = priors_from_spec(get_spec("mobilenet_v1"))[::5]
CLASSES = 6
PARAMS = {
    "deployment": PostprocessParams(),
    "coco": PostprocessParams.coco(),
    "tight cuts": PostprocessParams(pre_nms_topk=7, keep_topk_per_class=3, keep_topk=5),
    "no cuts": PostprocessParams(pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0),
    "sigmoid": PostprocessParams(activation="sigmoid", score_threshold=0.7, background_label=-1),
    "clipped": PostprocessParams(clip_boxes=True, score_threshold=0.002),
}
Heads = tuple[np.ndarray, np.ndarray]


def heads(seed: int = 0) -> Heads:
    """Boxes of an object agree roughly, so that their IoU lie on both sides of the threshold."""
    loc, conf = detector_heads(PRIORS, CLASSES, objects=12, seed=seed)
    loc += np.random.default_rng(seed).normal(0, 0.8, loc.shape).astype(np.float32)
    return loc[0], conf[0]


def decoded(given: Heads, params: PostprocessParams) -> Detections:
    return decode_nms(given[0][None], given[1][None], PRIORS, params, backend="numpy")[0]


def faults(
    found: Detections, given: Heads, params: PostprocessParams, error: float = 0.0
) -> list[str]:
    intervals = intervals_from_heads(*given, PRIORS, params, loc_error=error, conf_error=error)
    return [str(fault) for fault in faults_of_detections(found, intervals)]


@pytest.mark.parametrize("name", PARAMS)
def test_the_oracle_s_result_needs_no_tolerance(name: str) -> None:
    for seed in range(4):
        found = decoded(heads(seed), PARAMS[name])
        assert len(found) > 4
        assert faults(found, heads(seed), PARAMS[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("error", [1e-4, 1e-2])
def test_what_a_difference_of_the_heads_does_is_proven(name: str, error: float) -> None:
    differing = 0
    for seed in range(8):
        reference, rng = heads(seed), np.random.default_rng(seed)
        loc, conf = (h + rng.uniform(-error, error, h.shape).astype(np.float32) for h in reference)
        found = decoded((loc, conf), PARAMS[name])
        # the rounding of the sum in single precision is part of the difference
        assert faults(found, reference, PARAMS[name], error + 1e-6) == []
        differing += bool(faults(found, reference, PARAMS[name]))
    assert differing == 8


def tiny_heads(
    rng: np.random.Generator, *, at_edge: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nine priors in a row that overlap by steps, three classes, scores of a few values."""
    priors = np.tile(np.float32([0.95 if at_edge else 0.5, 0.5, 0.2, 0.2]), (9, 1))
    priors[:, 0] += np.float32(0.02) * rng.integers(0, 6, 9).astype(np.float32)
    loc = rng.choice([0, 0.25], (9, 4)).astype(np.float32)
    return loc, rng.choice([-2, 0, 1, 1.5], (9, 3)).astype(np.float32), priors


TINY = [
    PostprocessParams(
        score_threshold=threshold,
        iou_threshold=iou,
        activation=activation,
        background_label=background,
        pre_nms_topk=cuts[0],
        keep_topk_per_class=cuts[1],
        keep_topk=cuts[2],
        pixel_offset=offset,
        clip_boxes=clip,
    )
    for activation, threshold, background in (
        ("softmax", 0.2, 0),
        ("sigmoid", 0.5, -1),
        ("none", -1.0, 1),
    )
    for iou, offset, clip in ((0.6, 0.0, False), (2 / 3, 1 / 300, False), (0.5, 0.0, True))
    for cuts in ((0, 0, 0), (5, 0, 0), (0, 2, 0), (0, 0, 3), (6, 3, 5))
]


@pytest.mark.slow
def test_whatever_differing_heads_give_where_everything_ties_is_proven() -> None:
    """Scores, IoU, thresholds and cuts all coincide: each decision may fall either way."""
    rng = np.random.default_rng(0)
    differing = 0
    for round_ in range(40 * len(TINY)):
        params = TINY[round_ % len(TINY)]
        loc, conf, priors = tiny_heads(rng, at_edge=params.clip_boxes)
        error = 10.0 ** -rng.integers(2, 6)
        others = [h + rng.uniform(-error, error, h.shape).astype(np.float32) for h in (loc, conf)]
        found = decode_nms(others[0][None], others[1][None], priors, params, backend="numpy")
        reference = decode_nms(loc[None], conf[None], priors, params, backend="numpy")
        differing += not np.array_equal(found[0].prior_indices, reference[0].prior_indices)
        # the rounding of the sum in single precision is part of the difference
        (of_image,) = faults_from_heads(
            found, loc[None], conf[None], priors, params,
            loc_error=error + 1e-6, conf_error=error + 1e-6,
        )  # fmt: skip
        assert not of_image, (params, [str(fault) for fault in of_image])
    assert differing > 10 * len(TINY)


@pytest.mark.slow
def test_without_a_difference_only_the_greedy_result_is_proven() -> None:
    """Any other choice among the candidates is refused, in values that do not tie."""
    rng = np.random.default_rng(1)
    for round_ in range(20 * len(TINY)):
        params = TINY[round_ % len(TINY)]
        loc, conf, priors = tiny_heads(rng, at_edge=params.clip_boxes)
        loc += rng.uniform(-0.1, 0.1, loc.shape).astype(np.float32)
        conf += rng.uniform(-0.1, 0.1, conf.shape).astype(np.float32)
        everything = replace(
            params, iou_threshold=1.0, pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0
        )
        heads = loc[None], conf[None], priors
        (found,) = decode_nms(*heads, params, backend="numpy")
        (candidates,) = decode_nms(*heads, everything, backend="numpy")
        intervals = intervals_from_heads(loc, conf, priors, params, loc_error=0, conf_error=0)
        assert not list(faults_of_detections(found, intervals))
        keys = {*zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True)}
        for _ in range(5):
            chosen = candidates[rng.random(len(candidates)) < rng.choice([0.2, 0.5, 0.9])]
            own = {*zip(chosen.labels.tolist(), chosen.prior_indices.tolist(), strict=True)}
            assert bool(list(faults_of_detections(chosen, intervals))) == (own != keys)


def test_what_is_not_a_number_is_no_candidate() -> None:
    loc, conf = heads()
    loc[:40], conf[40:80] = np.nan, np.nan
    loc[80:120, 2] = 1000  # a box without end
    for name, params in PARAMS.items():
        assert faults(decoded((loc, conf), params), (loc, conf), params) == [], name


def test_classes_and_priors_that_there_are_not_are_refused() -> None:
    found = decoded(heads(), PARAMS["no cuts"])
    labels, priors = found.labels.copy(), found.prior_indices.copy()
    labels[0], priors[1] = CLASSES, -1
    said = faults(replace(found, labels=labels, prior_indices=priors), heads(), PARAMS["no cuts"])
    assert sum(f"there are {CLASSES} classes and {len(PRIORS)} priors" in one for one in said) == 2


def without_the_middle(found: Detections) -> Detections:
    return found[np.arange(len(found)) != len(found) // 2]


def with_a_suppressed_one(found: Detections) -> Detections:
    """What the same heads give without suppression, at the place of its score."""
    every = decoded(heads(), replace(PARAMS["no cuts"], iou_threshold=1.0))
    known = set(zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True))
    new = next(
        i
        for i, key in enumerate(zip(every.labels, every.prior_indices, strict=True))
        if key not in known
    )
    joined = [
        np.concatenate([getattr(found, name), getattr(every, name)[[new]]])
        for name in ("boxes", "scores", "labels", "prior_indices")
    ]
    both = Detections(*joined)
    return both[np.lexsort((both.prior_indices, both.labels, -both.scores))]


def twice(found: Detections) -> Detections:
    return found[np.sort(np.r_[0, np.arange(len(found))])]


FORGERIES: dict[str, tuple[Callable[[Detections], Detections], str]] = {
    "one left out": (without_the_middle, "missing, and nothing suppresses it"),
    "one too many": (with_a_suppressed_one, "overlap, and both are kept"),
    "one twice": (twice, "twice"),
    "reversed": (lambda d: d[::-1], "not in the total order"),
    "other scores": (lambda d: replace(d, scores=d.scores * np.float32(1.01)), "outside"),
    "other boxes": (
        lambda d: replace(d, boxes=d.boxes + np.float32(0.01)),
        "is not that of the prior",
    ),
    "other priors": (
        lambda d: replace(d, prior_indices=d.prior_indices[::-1].copy()),
        "is not that of the prior",
    ),
    "other classes": (lambda d: replace(d, labels=d.labels % 5 + 1), "outside"),
    "nothing": (lambda d: d[:0], "missing"),
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("error", [0.0, 1e-4])
def test_a_result_that_rounding_cannot_give_is_refused(name: str, error: float) -> None:
    forge, text = FORGERIES[name]
    found = decoded(heads(), PARAMS["no cuts"])
    assert faults(found, heads(), PARAMS["no cuts"], error) == []
    said = faults(forge(found), heads(), PARAMS["no cuts"], error)
    assert any(text in one for one in said), said[:5]


def test_every_single_omission_is_noticed() -> None:
    found = decoded(heads(), PARAMS["no cuts"])
    for i in range(len(found)):
        assert faults(found[np.arange(len(found)) != i], heads(), PARAMS["no cuts"], 1e-4)


CUT = PostprocessParams(pre_nms_topk=30, keep_topk_per_class=9, keep_topk=20)


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        (PARAMS["no cuts"], {"score_threshold": 0.02}),
        (PARAMS["no cuts"], {"iou_threshold": 0.55}),
        (PARAMS["no cuts"], {"iou_threshold": 0.65}),
        (PARAMS["no cuts"], {"variances": (0.11, 0.2)}),
        (PARAMS["no cuts"], {"activation": "sigmoid"}),
        (PARAMS["no cuts"], {"background_label": -1}),
        (PARAMS["no cuts"], {"pixel_offset": 0.05}),
        (PARAMS["no cuts"], {"clip_boxes": True}),
        (PARAMS["clipped"], {"clip_boxes": False}),
        (CUT, {"pre_nms_topk": 5}),
        (CUT, {"keep_topk_per_class": 4}),
        (CUT, {"keep_topk": 0}),
        (CUT, {"keep_topk": 6}),
    ],
    ids=lambda value: "" if isinstance(value, PostprocessParams) else str(value),
)
def test_other_parameters_are_noticed(params: PostprocessParams, changes: dict) -> None:
    """What an engine gives that lost or mixed up one of its attributes."""
    assert faults(decoded(heads(), replace(params, **changes)), heads(), params, 1e-4)
