"""Two results of one picture are paired, and what is left is explained by rounding or is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ssd_small.bench.synthetic import detector_heads
from ssd_small.evaluation.differences import Comparison, compare_detections
from ssd_small.evaluation.intervals import intervals_from_heads
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec
from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.postprocess.detections import Detections

ERROR = 1e-4
#: scores as they are given, no cuts
PLAIN = PostprocessParams(
    activation="none",
    background_label=-1,
    score_threshold=0.01,
    pre_nms_topk=0,
    keep_topk_per_class=0,
    keep_topk=0,
)
Candidates = dict[int, tuple[float, float]]


def compared(
    reference: Candidates,
    other: Candidates,
    params: PostprocessParams = PLAIN,
    error: float = ERROR,
) -> Comparison:
    """Candidates of one class: prior -> (score, left edge of a square of side 0.2).

    What the other result gives for its own candidates, judged by the reference.
    """
    results, heads = [], []
    for candidates in (reference, other):
        priors = np.tile(np.float32([0.5, 0.5, 0.2, 0.2]), (8, 1))
        priors[:, 1] = np.linspace(0.1, 7.1, 8)  # apart, unless they are candidates
        conf = np.zeros((1, 8, 1), np.float32)
        loc = np.zeros((1, 8, 4), np.float32)
        for prior, (score, left) in candidates.items():
            conf[0, prior] = score
            loc[0, prior, :2] = (left - 0.4) / 0.02, (0.5 - priors[prior, 1]) / 0.02
        results += decode_nms(loc, conf, priors, params, backend="numpy")
        heads.append((loc[0], conf[0], priors))
    # a left edge moves by 0.02 for each 1 of loc
    intervals = intervals_from_heads(*heads[0], params, loc_error=50 * error, conf_error=error)
    return compare_detections(*results, intervals)


def reasons(comparison: Comparison) -> list[tuple[str, int, bool, str]]:
    return [(d.side, d.prior_index, d.explained, d.reason) for d in comparison.differences]


def test_equal_results_are_pairs_and_nothing_else() -> None:
    both = {0: (0.9, 0.1), 1: (0.8, 0.11), 2: (0.7, 0.5)}
    comparison = compared(both, both)
    assert comparison.pairs.tolist() == [[0, 0], [1, 1]]
    assert comparison.differences == comparison.faults == ()


def test_a_score_at_the_threshold_is_named() -> None:
    without, having = {0: (0.9, 0.1), 1: (0.00995, 0.5)}, {0: (0.9, 0.1), 1: (0.01003, 0.5)}
    assert reasons(compared(without, having)) == [
        ("other", 1, True, "score 0.00995 against the threshold 0.01")
    ]
    assert reasons(compared(having, without)) == [
        ("reference", 1, True, "score 0.01003 against the threshold 0.01")
    ]


def test_an_iou_at_the_threshold_is_named() -> None:
    # IoU of squares of side 0.2 that are d apart: (0.2 - d) / (0.2 + d), 0.6 for d = 0.05
    apart, together = ({0: (0.9, 0.1), 1: (0.8, 0.15 + step)} for step in (2e-5, -2e-5))
    (lost,) = reasons(compared(apart, together))
    assert lost == ("reference", 1, True, "IoU 0.599872 with prior 0 against 0.6")
    (gained,) = reasons(compared(together, apart))
    assert gained == ("other", 1, True, "IoU 0.600128 with prior 0 against 0.6")


def test_two_priors_that_tie_for_an_object_are_one_pair() -> None:
    first, second = ({0: (0.5 + s, 0.1), 1: (0.5 - s, 0.11), 2: (0.3, 0.6)} for s in (2e-5, -2e-5))
    comparison = compared(first, second)
    assert sorted(comparison.pairs.tolist()) == [[0, 0], [1, 1]]
    assert comparison.differences == comparison.faults == ()


def test_ties_are_one_to_one() -> None:
    """Of three that tie only two can be a pair; the third is said to lose to one of them."""
    # 0 and 2 do not overlap enough to suppress each other, 1 suppresses both
    first = {0: (0.5, 0.10), 1: (0.49999, 0.14), 2: (0.49998, 0.18)}
    second = {0: (0.49999, 0.10), 1: (0.5, 0.14), 2: (0.49998, 0.18)}
    comparison = compared(first, second)
    assert len(comparison.pairs) == 1
    assert reasons(comparison) == [
        ("reference", 2, True, "score 0.49998 against 0.49999 of prior 1, which overlaps it")
    ]


def test_what_follows_from_another_difference_says_so() -> None:
    """One that is suppressed or not by its IoU at the threshold, and suppresses another."""
    apart, together = (
        {0: (0.9, 0.1), 1: (0.8, 0.15 + step), 2: (0.7, 0.17)} for step in (2e-5, -2e-5)
    )
    assert reasons(compared(apart, together)) == [
        ("reference", 1, True, "IoU 0.599872 with prior 0 against 0.6"),
        ("other", 2, True, "prior 1, which suppresses it, is itself in one result only"),
    ]


@pytest.mark.parametrize("name", ["keep_topk", "keep_topk_per_class"])
def test_a_score_at_a_cut_is_named(name: str) -> None:
    first, second = ({0: (0.9, 0.1), 1: (0.5 + s, 0.4), 2: (0.5 - s, 0.7)} for s in (2e-5, -2e-5))
    assert reasons(compared(first, second, replace(PLAIN, **{name: 2}))) == [
        ("reference", 1, True, f"score 0.50002 against 0.49998, the last of {name} 2"),
        ("other", 2, True, f"score 0.49998 against 0.50002, the last of {name} 2"),
    ]


def test_a_score_at_the_cut_before_nms_is_named() -> None:
    first, second = ({0: (0.9, 0.1), 1: (0.5 + s, 0.4), 2: (0.5 - s, 0.7)} for s in (2e-5, -2e-5))
    assert reasons(compared(first, second, replace(PLAIN, pre_nms_topk=2))) == [
        ("reference", 1, True, "score 0.50002 against 0.49998, the last of pre_nms_topk 2"),
        ("other", 2, True, "score 0.49998 against 0.50002, the last of pre_nms_topk 2"),
    ]


def test_what_rounding_does_not_explain_is_told_apart() -> None:
    first = {0: (0.9, 0.1), 1: (0.5, 0.4), 2: (0.00995, 0.7)}
    second = {0: (0.9, 0.1), 2: (0.01003, 0.7), 3: (0.6, 1.0)}
    comparison = compared(first, second)
    assert reasons(comparison) == [
        ("reference", 1, False, "class 0, prior 1: missing, and nothing suppresses it"),
        ("other", 3, False, "class 0, prior 3: score 0.0001 at most, not above 0.01"),
        ("other", 2, True, "score 0.00995 against the threshold 0.01"),
    ]
    assert [d.prior_index for d in comparison.unexplained] == [1, 3]


def test_a_detection_that_is_there_twice_has_one_partner() -> None:
    both = {0: (0.9, 0.1), 1: (0.8, 0.5)}
    loc, conf = np.zeros((1, 2, 4), np.float32), np.float32([[[0.9], [0.8]]])
    priors = np.float32([[0.2, 0.5, 0.2, 0.2], [0.8, 0.5, 0.2, 0.2]])
    (found,) = decode_nms(loc, conf, priors, PLAIN)
    assert len(found) == len(both)
    intervals = intervals_from_heads(loc[0], conf[0], priors, PLAIN, loc_error=0, conf_error=0)
    comparison = compare_detections(found, found[np.array([0, 0, 1])], intervals)
    assert comparison.pairs.tolist() == [[0, 0], [1, 2]]
    assert reasons(comparison) == [("other", 0, False, "class 0, prior 0: twice")]


@pytest.mark.parametrize("params", [PostprocessParams(keep_topk=60), PostprocessParams.coco()])
def test_every_difference_of_differing_heads_is_explained(params: PostprocessParams) -> None:
    """And each detection of both results is in one pair or one difference."""
    priors = priors_from_spec(get_spec("mobilenet_v1"))[::5]
    differences = 0
    for seed, error in enumerate([1e-4, 1e-3, 1e-2, 5e-2, 0.1, 0.2]):
        loc, conf = detector_heads(priors, 6, objects=30, seed=seed)
        rng = np.random.default_rng(seed)
        loc += rng.normal(0, 0.8, loc.shape).astype(np.float32)
        others = [h + rng.uniform(-error, error, h.shape).astype(np.float32) for h in (loc, conf)]
        (reference,), (other,) = (
            decode_nms(*heads, priors, params, backend="numpy") for heads in ((loc, conf), others)
        )
        # the rounding of the sum in single precision is part of the difference
        intervals = intervals_from_heads(
            loc[0], conf[0], priors, params, loc_error=error + 1e-6, conf_error=error + 1e-6
        )
        comparison = compare_detections(reference, other, intervals)
        assert comparison.faults == comparison.unexplained == ()
        differences += len(comparison.differences)
        check_one_to_one(comparison, reference, other)
    assert differences > 10


def check_one_to_one(comparison: Comparison, reference: Detections, other: Detections) -> None:
    sides = [d.side for d in comparison.differences]
    for column, (name, one) in enumerate((("reference", reference), ("other", other))):
        partners = comparison.pairs[:, column].tolist()
        assert len(set(partners)) == len(partners)
        assert len(partners) + sides.count(name) == len(one)
    first, second = comparison.pairs.T
    assert (reference.labels[first] == other.labels[second]).all()
