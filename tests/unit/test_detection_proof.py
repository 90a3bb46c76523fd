"""The proof of detections accepts what rounding can do, and nothing that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from detection_proof import faults_of_detections, intervals_from_heads

from ssd_small.bench.synthetic import detector_heads
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
    intervals = intervals_from_heads(*given, PRIORS, params, error, error)
    return list(faults_of_detections(found, intervals, params))


@pytest.mark.parametrize("name", PARAMS)
def test_the_oracle_s_result_needs_no_tolerance(name: str) -> None:
    for seed in range(4):
        found = decoded(heads(seed), PARAMS[name])
        assert len(found) > 4
        assert faults(found, heads(seed), PARAMS[name]) == []


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
    "one left out": (without_the_middle, "is missing, and nothing suppresses it"),
    "one too many": (with_a_suppressed_one, "overlap, and both are kept"),
    "one twice": (twice, "twice"),
    "reversed": (lambda d: d[::-1], "not in the total order"),
    "other scores": (lambda d: replace(d, scores=d.scores * np.float32(1.01)), "outside"),
    "other boxes": (lambda d: replace(d, boxes=d.boxes + np.float32(0.01)), "is not that of prior"),
    "other priors": (
        lambda d: replace(d, prior_indices=d.prior_indices[::-1].copy()),
        "is not that of prior",
    ),
    "other classes": (lambda d: replace(d, labels=d.labels % 5 + 1), "outside"),
    "nothing": (lambda d: d[:0], "is missing"),
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
