"""Scores by feature level: which prior fits a box best, and what counts at its level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssd_small.artefacts.description import description_from_spec
from ssd_small.datasets.coco import Annotations
from ssd_small.evaluation.feature_levels import grids_from_description, levels_from_boxes
from ssd_small.evaluation.score import Scores, score
from ssd_small.models.priors import priors_from_levels
from ssd_small.models.registry import get_spec
from ssd_small.models.spec import ListedLevel


def grid(rows: int, columns: int, *shapes: tuple[float, float]) -> np.ndarray[Any, Any]:
    """Priors of these widths and heights on every cell, unit square."""
    priors = np.empty((rows, columns, len(shapes), 4), np.float32)
    priors[..., 0] = ((np.arange(columns) + 0.5) / columns)[None, :, None]
    priors[..., 1] = ((np.arange(rows) + 0.5) / rows)[:, None, None]
    priors[..., 2:] = shapes
    return priors


FINE, COARSE, WHOLE = grid(10, 10, (0.1, 0.1)), grid(2, 2, (0.5, 0.5)), grid(1, 1, (1.0, 1.0))


@pytest.mark.parametrize(
    ("box", "level"),
    [
        ([0.3, 0.2, 0.1, 0.1], 0),
        ([0.5, 0.0, 0.5, 0.5], 1),
        ([0.0, 0.0, 0.9, 0.9], 2),
        # 0.2 x 0.2 on four fine cells: IoU 0.01 / 0.04 with any; 0.04 / 0.25 with the coarse one
        ([0.2, 0.2, 0.2, 0.2], 0),
        # 0.26 x 0.26 in a coarse cell: 0.01 / 0.0676 = 0.148; 0.0676 / 0.25 = 0.27
        ([0.12, 0.12, 0.26, 0.26], 1),
        # nothing overlaps a box without area, nor one outside
        ([0.3, 0.3, 0.0, 0.0], 0),
        ([3.0, 3.0, 0.2, 0.2], 0),
    ],
)
def test_the_prior_of_highest_iou_tells_the_level(box: list[float], level: int) -> None:
    found = levels_from_boxes(np.array([box]), (FINE, COARSE, WHOLE))
    assert found.tolist() == [level]


def test_of_equal_overlaps_the_finer_level_counts() -> None:
    boxes = np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]])
    assert levels_from_boxes(boxes, (COARSE, COARSE)).tolist() == [0, 0]


GRIDS = {
    name: grids_from_description(description_from_spec(get_spec(name), 3, 1.0))
    for name in ("vgg16_s1l2_dual", "mobilenet_v1_s1l0")
}
_LISTED = [
    (ListedLevel((20, 40), ((16, 33.5), (80, 12))), (5, 7)),
    (ListedLevel((90, 70), ((150, 260),)), (2, 4)),
]
_LISTED_PRIORS = priors_from_levels(_LISTED, (100, 280), "all")
GRIDS["listed"] = (
    _LISTED_PRIORS[:70].reshape(5, 7, 2, 4),
    _LISTED_PRIORS[70:].reshape(2, 4, 1, 4),
)


@pytest.mark.parametrize("name", list(GRIDS))
@settings(max_examples=25, deadline=None)
@given(boxes=arrays(np.float64, (4, 4), elements=st.floats(0.001, 1.0)))
def test_no_other_prior_overlaps_more(name: str, boxes: np.ndarray[Any, Any]) -> None:
    """The nearest cell against all priors, by corners."""
    grids = GRIDS[name]
    best = np.stack([iou(boxes, one.reshape(-1, 4)).max(axis=1) for one in grids], axis=1)
    chosen = levels_from_boxes(boxes, grids)
    # both in float64; some ten operations on numbers of at most 2
    assert (best[np.arange(len(boxes)), chosen] >= best.max(axis=1) - 1e-12).all()


def iou(boxes_xywh: np.ndarray[Any, Any], priors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``[N, P]``."""
    priors = priors.astype(np.float64)
    low, high = boxes_xywh[:, None, :2], boxes_xywh[:, None, :2] + boxes_xywh[:, None, 2:]
    their_low, their_high = priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2
    shared = (np.minimum(high, their_high) - np.maximum(low, their_low)).clip(0).prod(axis=-1)
    areas = boxes_xywh[:, None, 2:].prod(axis=-1) + priors[:, 2:].prod(axis=-1)
    return np.asarray(shared / (areas - shared))


def scored(boxes: list[tuple[list[float], int]], found: list[tuple[list[float], float]]) -> Scores:
    """One class, one picture of 200x100 pixels: boxes with iscrowd, and boxes with scores."""
    pytest.importorskip("hotcoco", reason="needs hotcoco")
    truth = Annotations(
        Path("truth"),
        ({"id": 7, "file_name": "a.png", "width": 200, "height": 100},),
        ({"id": 1, "name": "cat"},),
        tuple(
            {"id": i + 1, "image_id": 7, "category_id": 1, "bbox": box, "area": 1.0, "iscrowd": no}
            for i, (box, no) in enumerate(boxes)
        ),
        0,
    )
    entries = [
        {"image_id": 7, "category_id": 1, "bbox": box, "score": value} for box, value in found
    ]
    return score(truth, entries, (300, 300), (FINE, COARSE, WHOLE))


def test_a_level_has_its_objects_and_the_detections_of_its_size() -> None:
    small, other, crowd = [0.0, 0.0, 20.0, 10.0], [40.0, 20.0, 20.0, 10.0], [80.0, 0.0, 20.0, 10.0]
    large = [0.0, 50.0, 100.0, 50.0]
    # the better one of the small detections is wrong; nothing is on the large object
    scores = scored(
        [(small, 0), (large, 0), (crowd, 1)], [(other, 0.9), (small, 0.8), ([100, 0, 100, 50], 0.7)]
    )
    assert scores.by_level is not None
    rows = [
        (one.boxes, one.median_px, one.ap, one.recall, one.rows, one.columns)
        for one in scores.by_level
    ]
    # 20x10 of 200x100 is 30x30 of 300x300; precision is 1 / 2 wherever recall is
    assert rows[0] == (1, pytest.approx(30), pytest.approx(0.5), 1, 10, 10)
    assert rows[1] == (1, pytest.approx(150), 0, 0, 2, 2)
    assert rows[2] == (0, None, None, None, 1, 1)
    assert [one.to_dict()["level"] for one in scores.by_level] == [0, 1, 2]


def test_a_match_across_levels_counts_at_the_object_s() -> None:
    # 0.22 of the picture: 0.01 / 0.0484 with a fine prior, 0.0484 / 0.25 with a coarse one
    detection = [0.0, 0.0, 44.0, 22.0]
    assert levels_from_boxes(np.array([[0, 0, 0.22, 0.22]]), (FINE, COARSE)).tolist() == [0]
    scores = scored([([0.0, 0.0, 50.0, 25.0], 0)], [(detection, 0.9)])
    assert scores.by_level is not None
    fine, coarse, _ = scores.by_level
    assert (fine.boxes, fine.ap) == (0, None)
    # the IoU is 0.7744: enough for 0.50 to 0.75, six of ten
    assert (coarse.boxes, coarse.recall) == (1, pytest.approx(0.6))


def test_without_a_network_there_are_no_levels() -> None:
    truth = Annotations(
        Path("truth"),
        ({"id": 7, "file_name": "a.png", "width": 200, "height": 100},),
        ({"id": 1, "name": "cat"},),
        (),
        0,
    )
    pytest.importorskip("hotcoco", reason="needs hotcoco")
    assert score(truth, []).by_level is None
