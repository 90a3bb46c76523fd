"""The numpy oracle, against cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ssd_small.errors import UsageError
from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.postprocess.boxes import areas, boxes_xyxy_from_loc, iou_one_to_many
from ssd_small.postprocess.detections import Detections, detections_from_padded
from ssd_small.postprocess.numerics import exp_f32, sigmoid_f32, softmax_f32
from ssd_small.postprocess.oracle import iou_scale_and_offset


def run(boxes, scores, **params):
    """Oracle on one image: corner boxes ``[P, 4]`` and scores ``[P, C]``, no activation."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    priors = np.concatenate(
        [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1
    )
    conf = np.asarray(scores, np.float32).reshape(1, len(boxes), -1)
    defaults = {"activation": "none", "background_label": -1, "score_threshold": 0.1}
    chosen = PostprocessParams(**(defaults | params))
    return decode_nms(
        np.zeros((1, len(boxes), 4), np.float32), conf, priors, chosen, backend="numpy"
    )[0]


# three boxes in a row: 0 and 1 overlap by 3/5 (intersection 0.75, union 1.25), 2 is apart
ROW = [[0, 0, 1, 1], [0.25, 0, 1.25, 1], [4, 0, 5, 1]]


def test_zero_offsets_decode_to_the_prior():
    boxes = boxes_xyxy_from_loc(np.zeros((1, 4)), [[0.5, 0.25, 0.5, 0.25]])
    assert boxes.tolist() == [[0.25, 0.125, 0.75, 0.375]]


def test_offsets_scale_with_variances_and_prior_size():
    # cx = 0.5 + 1 * 0.1 * 2 = 0.7; w = 2 * exp(0.2 * 5 ln 2) = 4
    loc = np.float32([[1, 0, 5 * math.log(2), 0]])
    ((x1, y1, x2, y2),) = boxes_xyxy_from_loc(loc, [[0.5, 0.5, 2, 1]]).tolist()
    # 2 ulp of the exponential at 4 and a rounding or two of numbers up to 4
    assert [x1, y1, x2, y2] == pytest.approx([-1.3, 0, 2.7, 1], abs=2e-6)


def test_iou_by_hand():
    iou = iou_one_to_many(ROW[0], np.float32(ROW))
    assert iou.tolist() == pytest.approx([1, 0.6, 0], abs=1e-7)
    # with offset 1 the row is 2 x 2 boxes: 0 and 1 share 1.75 x 2 of 4 + 4 - 3.5
    assert iou_one_to_many(ROW[0], np.float32(ROW), 1.0)[1] == pytest.approx(3.5 / 4.5, abs=1e-7)
    assert areas(np.float32(ROW), 1.0).tolist() == [4, 4, 4]


def test_boxes_without_area_have_no_iou():
    point = np.float32([0.5, 0.5, 0.5, 0.5])
    assert np.isnan(iou_one_to_many(point, point[None]))[0]


def test_offset_of_one_pixel_is_iou_in_pixels():
    assert iou_scale_and_offset(1 / 300) == (np.float32(1) / np.float32(1 / 300), 1)
    assert iou_scale_and_offset(0) == (1, 0)


def test_a_neighbour_over_the_threshold_is_suppressed():
    found = run(ROW, [[0.9], [0.8], [0.7]], iou_threshold=0.5)
    assert found.prior_indices.tolist() == [0, 2]
    assert found.scores.tolist() == np.float32([0.9, 0.7]).tolist()
    np.testing.assert_array_equal(found.boxes, np.float32([ROW[0], ROW[2]]))


@pytest.mark.parametrize(("nudge", "kept"), [(-1e-5, [0]), (1e-5, [0, 1])])
def test_iou_at_the_threshold(nudge, kept):
    assert run(ROW[:2], [[0.9], [0.8]], iou_threshold=0.6 + nudge).prior_indices.tolist() == kept


def test_iou_equal_to_the_threshold_is_kept():
    # a 2 x 1 box and the 1 x 1 box inside it: exactly 1/2
    found = run([[0, 0, 2, 1], [0, 0, 1, 1]], [[0.9], [0.8]], iou_threshold=0.5)
    assert found.prior_indices.tolist() == [0, 1]


def test_score_equal_to_the_threshold_is_dropped():
    threshold = np.float32(0.3)
    over = np.nextafter(threshold, np.float32(1))
    found = run(ROW, [[threshold], [over], [0.1]], score_threshold=0.3)
    assert found.prior_indices.tolist() == [1]


def test_suppression_is_greedy():
    # 0 suppresses 1; 1 would suppress 2, but is gone
    chain = [[0, 0, 1, 1], [0.25, 0, 1.25, 1], [0.5, 0, 1.5, 1]]
    assert run(chain, [[0.9], [0.8], [0.7]], iou_threshold=0.5).prior_indices.tolist() == [0, 2]


def test_classes_do_not_suppress_each_other():
    found = run(ROW[:1] * 2, [[0.9, 0.1], [0.1, 0.8]], iou_threshold=0.1)
    assert list(zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True)) == [
        (0, 0),
        (1, 1),
    ]


def test_equal_scores_come_by_label_then_prior():
    far = [[10.0 * i, 0, 10.0 * i + 1, 1] for i in range(3)]
    found = run(far, [[0.5, 0.5]] * 3)
    assert list(zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True)) == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip


def test_among_equal_scores_the_first_prior_suppresses():
    assert run(ROW[:1] * 3, [[0.5]] * 3).prior_indices.tolist() == [0]


def test_cuts():
    far = [[10.0 * i, 0, 10.0 * i + 1, 1] for i in range(4)]
    scores = [[0.9, 0.2], [0.8, 0.3], [0.7, 0.4], [0.6, 0.5]]
    assert len(run(far, scores)) == 8
    assert run(far, scores, pre_nms_topk=1).prior_indices.tolist() == [0, 3]
    assert run(far, scores, keep_topk_per_class=2).prior_indices.tolist() == [0, 1, 3, 2]
    assert run(far, scores, keep_topk=3).prior_indices.tolist() == [0, 1, 2]


def test_pre_nms_cut_counts_candidates_before_suppression():
    # the second of the two that enter is suppressed; the third never enters
    assert run([*ROW[:2], ROW[2]], [[0.9], [0.8], [0.7]], iou_threshold=0.5,
               pre_nms_topk=2).prior_indices.tolist() == [0]  # fmt: skip


def test_nothing_above_the_threshold():
    found = run(ROW, [[0.05]] * 3)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_nan_and_infinite_values_never_win():
    scores = [[np.nan], [0.5], [0.4]]
    assert run(ROW, scores).prior_indices.tolist() == [1, 2]
    loc = np.zeros((1, 2, 4), np.float32)
    loc[0, 0, 0] = np.nan
    loc[0, 1, 2] = 1e9  # the width overflows
    params = PostprocessParams(activation="none", background_label=-1)
    priors = np.full((2, 4), 0.5, np.float32)
    assert len(decode_nms(loc, np.ones((1, 2, 1), np.float32), priors, params,
                          backend="numpy")[0]) == 0  # fmt: skip


def test_minus_zero_counts_as_zero():
    far = [[10.0 * i, 0, 10.0 * i + 1, 1] for i in range(2)]
    found = run(far, [[-0.0], [0.0]], score_threshold=-1)
    assert found.prior_indices.tolist() == [0, 1]
    assert not np.signbit(found.scores).any()


def test_background_never_wins():
    found = run(ROW, [[0.9, 0.1]] * 3, background_label=0)
    assert len(found) == 0


def test_softmax_of_a_row_with_infinity_is_nan():
    rows = np.float32([[0, np.inf], [np.nan, 0], [-np.inf, -np.inf]])
    assert np.isnan(softmax_f32(rows)).all()


def test_softmax_and_exponential_against_double_precision():
    rng = np.random.default_rng(5)
    x = rng.uniform(-86, 88, 10_000).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    # 2 ulp, as documented: one ulp is at most 2^-23 of the value
    assert (np.abs(exp_f32(x) - exact) / exact).max() < 2 * 2.0**-23
    assert exp_f32([0, -88, 89, -np.inf]).tolist() == [1, 0, np.inf, 0]
    logits = rng.normal(0, 4, (200, 81)).astype(np.float32)
    wide = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    wide /= wide.sum(1, keepdims=True)
    # 2 ulp of the exponential, its argument's rounding (2^-24 of at most 40), sum and quotient
    np.testing.assert_allclose(softmax_f32(logits), wide, rtol=40 * 2.0**-24 + 8 * 2.0**-23)
    assert sigmoid_f32(np.float32([0, -200, 200])).tolist() == [0.5, 0, 1]


def test_max_detections():
    params = PostprocessParams(pre_nms_topk=0, keep_topk_per_class=100, keep_topk=0)
    assert params.max_detections(11_620, 81) == 8000
    assert params.max_detections(7, 81) == 560
    assert PostprocessParams().max_detections(11_620, 81) == 200
    assert PostprocessParams(background_label=-1, keep_topk=0).max_detections(50, 2) == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score_threshold", math.nan),
        ("iou_threshold", 1.5),
        ("variances", (0.1, 0)),
        ("activation", "relu"),
        ("background_label", -2),
        ("pre_nms_topk", -1),
        ("keep_topk_per_class", 2**31),
        ("keep_topk", -5),
        ("pixel_offset", -0.1),
        # beyond float32, in which every backend computes: infinite or 0 there
        ("score_threshold", 1e300),
        ("variances", (1e-60, 0.2)),
        ("variances", (0.1, 1e300)),
        ("pixel_offset", 1e-60),
        ("pixel_offset", 1e300),
        ("clip_boxes", 1),
        ("clip_boxes", "false"),
        ("clip_boxes", None),
        # of a type that no backend takes
        ("score_threshold", "high"),
        ("iou_threshold", None),
        ("variances", 0.1),
        ("background_label", 0.5),
        ("pre_nms_topk", 1.5),
        ("keep_topk", "200"),
    ],
)
def test_wrong_parameters_are_named(field, value):
    with pytest.raises(UsageError, match=f"{field}: got .*expected"):
        PostprocessParams(**{field: value})


def test_numbers_of_numpy_are_parameters_too():
    params = PostprocessParams(keep_topk=np.int64(7), score_threshold=np.float32(0.5))
    assert type(params.keep_topk) is int
    assert params == PostprocessParams(keep_topk=7, score_threshold=0.5)


@pytest.mark.parametrize(
    ("loc", "conf", "priors", "named"),
    [
        ((1, 3, 5), (1, 3, 2), (3, 4), "loc"),
        ((1, 3, 4), (1, 4, 2), (3, 4), "conf"),
        ((1, 3, 4), (1, 3, 0), (3, 4), "conf"),
        ((1, 3, 4), (1, 3, 2), (2, 4), "priors"),
        ((1, 1, 4), (1, 1, 1025), (1, 4), "limit"),
    ],
)
def test_shapes_that_do_not_fit_are_named(loc, conf, priors, named):
    arrays = [np.zeros(shape, np.float32) for shape in (loc, conf, priors)]
    with pytest.raises(UsageError, match=named):
        decode_nms(*arrays)


def test_padded_outputs_are_split():
    boxes = np.zeros((2, 3, 4), np.float32)
    rows = np.arange(6, dtype=np.int32).reshape(2, 3)
    first, second = detections_from_padded(np.int32([2, 0]), boxes, boxes[..., 0], rows, rows)
    assert isinstance(first, Detections)
    assert (first.labels.tolist(), len(second)) == ([0, 1], 0)
