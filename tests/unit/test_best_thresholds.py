"""The score threshold of best F1, beside every threshold there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_small.evaluation.operating_point import (
    Counts,
    Matches,
    best_threshold,
    best_thresholds,
)


def matches(scores: list[float], verdicts: str, boxes: int) -> Matches:
    """Of each detection: right (+), wrong (-) or neither (0)."""
    kinds = np.array(list(verdicts), "U1")
    return Matches(np.array(scores, np.float32), kinds == "+", kinds == "-", boxes)


_ONE = st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.9]), st.sampled_from("+-0"))
_CLASS = st.tuples(st.lists(_ONE, max_size=12), st.integers(0, 3))


@given(st.lists(_CLASS, min_size=1, max_size=3))
def test_no_threshold_has_a_higher_f1(classes: list[tuple[list[tuple[float, str]], int]]) -> None:
    every = [
        matches([s for s, _ in some], v := "".join(v for _, v in some), v.count("+") + missed)
        for some, missed in classes
    ]
    best = best_threshold(every, 0.05)

    def f1(threshold: float) -> float:
        return sum((one.above(threshold) for one in every), Counts(0, 0, 0)).f1 or 0.0

    thresholds = [0.05, 0.15, 0.25, 0.4, 0.6, 0.8, 0.95]
    highest = max(map(f1, thresholds))
    if best is None:
        assert highest == 0
        return
    assert f1(best) == highest
    # of equal ones the highest: without the lowest score that is kept it is lower
    lowest = min(float(s) for one in every for s in one.scores if s > best)
    assert all(f1(higher) < highest for higher in thresholds if higher > lowest)


def test_it_lies_midway_between_what_is_kept_and_what_is_not() -> None:
    assert best_threshold([matches([0.75, 0.25], "+-", 1)], 0.0) == 0.5
    # below the last one lies the threshold with which the scores came about, or nothing
    assert best_threshold([matches([0.75], "+", 1)], 0.25) == 0.5
    assert best_threshold([matches([-2.0], "+", 1)], 0.0) == -2.5
    one = np.float32(0.5)
    after = float(np.nextafter(one, np.float32(1)))
    # nothing lies between neighbours
    assert best_threshold([matches([after, 0.5], "+-", 1)], 0.0) == 0.5


def test_where_nothing_is_right_there_is_none() -> None:
    for one in (matches([], "", 2), matches([0.5], "-", 2), matches([0.5], "0", 0)):
        assert best_threshold([one], 0.0) is None


def test_each_class_has_its_own_and_those_of_one_name_are_one() -> None:
    first, second = matches([0.75], "+", 1), matches([0.5, 0.25], "+-", 1)
    found = best_thresholds(["a", "b", "a"], [first, matches([], "", 0), second], 0.0)
    assert found.by_class == {"a": pytest.approx(0.375), "b": None}
    assert found.overall == pytest.approx(0.375)
