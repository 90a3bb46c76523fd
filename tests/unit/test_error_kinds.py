"""Kinds of errors and the confusion matrix, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hotcoco", reason="needs hotcoco")

from test_score import CAT, COW, DOG, FAR, A, B, found, truth

from ssd_small.evaluation.error_kinds import confusion_matrix, error_kinds

NEAR = [10.0, 10.0, 20.0, 8.0]  # IoU 0.4 with A


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (found(DOG, A, 0.9), "wrong class"),
        (found(CAT, NEAR, 0.9), "badly placed"),
        (found(DOG, NEAR, 0.9), "wrong class and badly placed"),
        (found(CAT, FAR, 0.9), "background"),
    ],
)
def test_a_single_error_is_named(entry, kind: str) -> None:
    annotations = truth((CAT, A), (DOG, B))
    kinds = {one.name: one.count for one in error_kinds(annotations, [entry])}
    assert kinds.pop("missed") >= 1
    assert {name for name, count in kinds.items() if count} == {kind}


def test_a_duplicate_is_one_and_costs_what_it_stands_before() -> None:
    annotations = truth((CAT, A), (CAT, B))
    entries = [found(CAT, A, 0.9), found(CAT, A, 0.8), found(CAT, B, 0.7)]
    first, *others = error_kinds(annotations, entries)
    assert (first.name, first.count) == ("duplicate", 1)
    # precision is 2/3 from recall 0.51 on, 50 of the 101 points; without it 1
    assert first.cost == pytest.approx(50 / 101 / 3)
    assert all((one.count, one.cost) == (0, 0) for one in others)


def test_classes_that_are_taken_for_others_are_counted() -> None:
    annotations = truth((CAT, A), (DOG, B))
    entries = [found(DOG, A, 0.9), found(COW, FAR, 0.8), found(DOG, B, 0.3)]
    # CAT, DOG, COW, nothing
    expected = [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert np.array_equal(confusion_matrix(annotations, entries, 0.5), expected)
    expected[1] = [0, 1, 0, 0]
    assert np.array_equal(confusion_matrix(annotations, entries, 0.2), expected)
    assert confusion_matrix(annotations, [], 0.5)[:, 3].tolist() == [1, 1, 0, 0]
