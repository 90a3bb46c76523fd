"""``clip_boxes``: boxes cut to the picture before NMS, by hand; a parameter among the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from same_detections import assert_same

from ssd_small.errors import UsageError
from ssd_small.postprocess import Detections, PostprocessParams, decode_nms
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc, clipped_boxes, edges_from_scale
from ssd_small.postprocess.oracle import boxes_from_loc
from ssd_small.postprocess.protocol import (
    params_from_preset,
    params_under_protocol,
    protocol_name,
    text_from_params,
)

#: everything above 0.1 enters NMS, and all of it that is not suppressed comes out
PARAMS = PostprocessParams(0.1, 0.5, (0.1, 0.2), "none", -1, 0, 0, 0, clip_boxes=True)
CLIPPED = PostprocessParams(clip_boxes=True)


def run(boxes: list[list[float]], params: PostprocessParams = PARAMS, edges=(1.0, 1.0)):
    """The oracle on corner boxes by falling score, one class."""
    corners = np.float32(boxes)
    priors = np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )
    conf = np.linspace(0.9, 0.5, len(corners), dtype=np.float32)[None, :, None]
    loc = np.zeros((1, len(corners), 4), np.float32)
    return decode_nms(loc, conf, priors, params, edges=edges, backend="numpy")[0]


def test_what_comes_out_is_cut_at_every_edge() -> None:
    boxes = [[-0.5, 0.25, 0.5, 0.5], [0.75, -1, 1.5, 0.25], [0.5, 0.75, 0.75, 2]]
    expected = [[0, 0.25, 0.5, 0.5], [0.75, 0, 1, 0.25], [0.5, 0.75, 0.75, 1]]
    assert run(boxes).boxes.tolist() == expected
    assert run(boxes, replace(PARAMS, clip_boxes=False)).boxes.tolist() == boxes


def test_overlaps_are_those_of_the_cut_boxes() -> None:
    # 1 of 3 whole, all of each other inside the picture
    boxes = [[-1, 0, 0.5, 1], [0, 0, 0.5, 1]]
    assert len(run(boxes, replace(PARAMS, clip_boxes=False))) == 2
    assert run(boxes).prior_indices.tolist() == [0]
    # and the other way round: 5 of 7 whole, 1 of 3 inside
    boxes = [[-1, 0, 0.25, 1], [-1, 0, 0.75, 1]]
    assert run(boxes, replace(PARAMS, clip_boxes=False)).prior_indices.tolist() == [0]
    assert len(run(boxes)) == 2


def test_a_box_beside_the_picture_has_no_area_and_stays() -> None:
    boxes = [[1.25, 0.25, 1.5, 0.5], [1.25, 0.25, 1.5, 0.5], [-2, -2, -1, -1]]
    found = run(boxes)
    assert found.boxes.tolist() == [[1, 0.25, 1, 0.5]] * 2 + [[0] * 4]


def test_there_is_one_zero() -> None:
    assert not np.signbit(clipped_boxes(np.float32([[-0.0, -1, 0.5, 1]]), (1, 1))).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_is_cut_to_nothing_that_could_win(value: float) -> None:
    loc = np.zeros((1, 2, 4), np.float32)
    loc[0, 0, 0] = value
    priors = np.full((2, 4), 0.5, np.float32)
    conf = np.ones((1, 2, 1), np.float32)
    for backend in ("numpy", "auto"):
        found = decode_nms(loc, conf, priors, PARAMS, backend=backend)[0]  # type: ignore[arg-type]
        assert found.prior_indices.tolist() == [1]


def test_the_picture_may_end_elsewhere_in_the_unit_of_the_priors() -> None:
    found = run([[2, -1, 4, 1], [0.5, 0.25, 3, 0.75]], edges=(2.5, 0.5))
    assert found.boxes.tolist() == [[2, 0, 2.5, 0.5], [0.5, 0.25, 2.5, 0.5]]


@pytest.mark.parametrize("edges", [(0, 1), (1, -1), (1, np.nan), (np.inf, 1), (1,), (1e-60, 1)])
def test_edges_that_are_none_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"edges: got .*, expected two positive numbers"):
        run([[0, 0, 1, 1]], edges=edges)


@settings(deadline=None, max_examples=300)
@given(
    scale=st.tuples(*[st.floats(2**-12, 1, width=32)] * 2),
    boxes=st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4),
)
def test_cut_boxes_lie_in_the_unit_square_after_scaling(
    scale: tuple[float, float], boxes: list[float]
) -> None:
    factors = np.float32(scale * 2)
    edges = edges_from_scale(factors)
    # the nearest float32 to the quotient, or the next one below, and its product is rounded once
    assert np.all(np.abs(np.float32(edges) * factors[:2] - 1) <= 2.0**-22)
    cut = clipped_boxes(np.float32([boxes]), edges)
    assert cut.min() >= 0
    assert (cut * factors).max() <= 1
    assert clipped_boxes(cut, edges).tobytes() == cut.tobytes()


def test_edges_of_a_picture_that_is_one_tile_are_1() -> None:
    assert edges_from_scale(np.ones(4, np.float32)) == (1.0, 1.0)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), clip=st.booleans())
def test_a_picture_with_nothing_at_its_edges_does_not_change(seed: int, clip: bool) -> None:
    """Of boxes inside the picture, and of those cut already, nothing is cut."""
    rng = np.random.default_rng(seed)
    priors = np.concatenate(
        [rng.uniform(0.3, 0.7, (40, 2)), rng.uniform(0.05, 0.2, (40, 2))], axis=1
    ).astype(np.float32)
    loc = rng.uniform(-2, 2, (1, 40, 4)).astype(np.float32)
    conf = rng.normal(0, 2, (1, 40, 3)).astype(np.float32)
    boxes = boxes_xyxy_from_loc(loc, priors)
    assert boxes.min() > 0
    assert boxes.max() < 1
    found = [
        decode_nms(loc, conf, priors, PostprocessParams(clip_boxes=each))[0]
        for each in (clip, not clip)
    ]
    assert_same(found[:1], found[1:])


def test_it_is_written_where_it_is_true_alone() -> None:
    assert "clip_boxes" not in PostprocessParams().to_dict()
    assert CLIPPED.to_dict() == PostprocessParams().to_dict() | {"clip_boxes": True}
    for params in (PostprocessParams(), CLIPPED):
        assert PostprocessParams.from_dict(params.to_dict()) == params
    assert (PostprocessParams().operator_version, CLIPPED.operator_version) == (1, 2)


def test_it_belongs_to_the_network_and_every_protocol_keeps_it() -> None:
    for preset in ("deploy", "coco"):
        params = params_from_preset(preset, replace(CLIPPED, keep_topk=7))
        assert params.clip_boxes
        assert protocol_name(params) == preset
        assert not params_from_preset(preset, PostprocessParams()).clip_boxes
    # what is compared with it is judged by its rule
    assert params_under_protocol(PostprocessParams(), CLIPPED).clip_boxes
    assert not params_under_protocol(CLIPPED, PostprocessParams()).clip_boxes


def test_people_are_told() -> None:
    assert text_from_params(CLIPPED).endswith(", pixel offset 0, boxes cut to the picture")


def test_numpy_has_truth_values_too() -> None:
    assert PostprocessParams(clip_boxes=np.bool_(True)).clip_boxes is True  # type: ignore[arg-type]


def test_boxes_of_the_oracle_are_those_that_come_out() -> None:
    rng = np.random.default_rng(3)
    priors = rng.uniform(0.1, 0.9, (50, 4)).astype(np.float32)
    loc = rng.normal(0, 2, (50, 4)).astype(np.float32)
    conf = rng.normal(0, 2, (50, 4)).astype(np.float32)
    boxes = boxes_from_loc(loc, priors, CLIPPED)
    found: Detections = decode_nms(loc[None], conf[None], priors, CLIPPED)[0]
    assert len(found) > 20
    assert found.boxes.tobytes() == boxes[found.prior_indices].tobytes()
    assert boxes.min() == 0
    assert boxes.max() == 1
