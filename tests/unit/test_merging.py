"""Heads of many tiles, merged: the same as one call of decode + NMS over all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from same_detections import assert_same

from ssd_small.detection.merging import (
    TileMerger,
    priors_of_view,
    rows_of_candidates,
    tile_of_picture,
)
from ssd_small.errors import UsageError
from ssd_small.pictures.tiles import Tiling, Window
from ssd_small.postprocess import Detections, PostprocessParams, decode_nms
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc, edges_from_scale
from ssd_small.postprocess.oracle import detections_from_scores, scores_from_conf
from ssd_small.postprocess.params import WHOLE

PRIORS = np.array(
    [[0.2, 0.2, 0.2, 0.2], [0.7, 0.3, 0.3, 0.2], [0.5, 0.5, 0.9, 0.9], [0.9, 0.8, 0.1, 0.4]],
    np.float32,
)
CLASSES, MOST = 4, 10**6
#: what would be cut away is seen; nothing is left that one call of decode + NMS refuses
PARAMS = PostprocessParams(0.05, 0.4, pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0)
SIZE, TILING = (130, 230), Tiling(60, 40, 0.25)


def run(
    loc: Any,
    conf: Any,
    priors: Any,
    params: PostprocessParams,
    edges: tuple[float, float] = WHOLE,
) -> Detections:
    """One call of decode + NMS, by the oracle."""
    return decode_nms(loc[None], conf[None], priors, params, edges=edges, backend="numpy")[0]


def heads(views: int, seed: int = 0, spread: float = 3) -> tuple[np.ndarray, np.ndarray]:
    """``loc [T, P, 4]`` and ``conf [T, P, C]`` of which some score above, many below."""
    random = np.random.default_rng(seed)
    shape = (views, len(PRIORS))
    loc = random.normal(0, 1, (*shape, 4)).astype(np.float32)
    conf = random.normal(0, spread, (*shape, CLASSES)).astype(np.float32)
    return loc, conf


def windows(tiling: Tiling = TILING, size: tuple[int, int] = SIZE) -> list[Window]:
    return list(tiling.windows(*size))


def merged(
    loc: np.ndarray,
    conf: np.ndarray,
    params: PostprocessParams = PARAMS,
    tiling: Tiling = TILING,
    size: tuple[int, int] = SIZE,
    most_rows: int = MOST,
) -> Detections:
    merger = TileMerger(size, tiling, PRIORS, params, most_rows)
    for own_loc, own_conf, window in zip(loc, conf, windows(tiling, size), strict=True):
        merger.add(own_loc, own_conf, window)
    return merger.detections(run)


def all_priors(tiling: Tiling = TILING, size: tuple[int, int] = SIZE) -> np.ndarray:
    unit = tile_of_picture(tiling, size)
    return np.concatenate([priors_of_view(PRIORS, w, unit) for w in windows(tiling, size)])


def edges_of(size: tuple[int, int] = SIZE) -> tuple[float, float]:
    unit = tile_of_picture(TILING, size)
    scale = [unit[0] / size[1], unit[1] / size[0]]
    return edges_from_scale(np.float32(scale * 2))


def in_unit_square(found: Detections) -> Detections:
    """Detections in tile units as parts of the picture."""
    height, width = SIZE
    scale = np.array([TILING.width / width, TILING.height / height], np.float32)
    return replace(found, boxes=found.boxes * np.tile(scale, 2))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    threshold=st.sampled_from([-1.0, 0.0, 0.01, 0.3, 0.5, 0.9, 0.9999999, 1.0]),
    activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    background=st.sampled_from([-1, 0, 2]),
    caps=st.sampled_from([(0, 0, 0), (3, 2, 4), (1, 0, 0)]),
    clip=st.booleans(),
)
def test_tiles_are_merged_as_one_call_over_all_their_rows_would(
    seed: int,
    threshold: float,
    activation: Any,
    background: int,
    caps: tuple[int, int, int],
    clip: bool,
) -> None:
    params = PostprocessParams(
        threshold, 0.4, (0.1, 0.2), activation, background, *caps, 1 / 60, clip
    )
    loc, conf = heads(len(windows()), seed, spread=8)
    random = np.random.default_rng(seed)
    conf[random.random(conf.shape) < 0.02] = np.nan
    conf[random.random(conf.shape) < 0.02] = np.inf
    conf[random.random(conf.shape) < 0.02] = -np.inf
    loc[random.random(loc.shape) < 0.02] = np.nan
    every = run(loc.reshape(-1, 4), conf.reshape(-1, CLASSES), all_priors(), params, edges_of())
    assert_same([merged(loc, conf, params)], [in_unit_square(every)])


def test_boxes_are_clipped_to_the_picture_and_not_to_its_tiles() -> None:
    """Those that reach over a seam stay whole, those that reach over the picture do not."""
    loc, conf = heads(len(windows()), 7)
    params = replace(PARAMS, iou_threshold=1.0)
    whole, cut = merged(loc, conf, params), merged(loc, conf, replace(params, clip_boxes=True))
    assert cut.keys == whole.keys
    assert (whole.boxes.min(), whole.boxes.max()) < (0, 1)
    assert cut.boxes.min() == 0
    assert 1 - 1e-6 < cut.boxes.max() <= 1
    inside = ((whole.boxes >= 0) & (whole.boxes <= 1)).all(axis=1)
    assert 10 < inside.sum() < len(inside) - 10
    assert cut.boxes[inside].tobytes() == whole.boxes[inside].tobytes()
    np.testing.assert_allclose(cut.boxes, whole.boxes.clip(0, 1), rtol=0, atol=2.0**-23)


def test_tiles_in_one_call_are_each_tile_decoded_and_one_nms_over_all_candidates() -> None:
    loc, conf = heads(len(windows()), 1)
    params = replace(PARAMS, iou_threshold=0.1)
    boxes, scores = [], []
    for own_loc, own_conf, window in zip(loc, conf, windows(), strict=True):
        shifted = priors_of_view(PRIORS, window, (TILING.width, TILING.height))
        boxes.append(boxes_xyxy_from_loc(own_loc, shifted, params.variances))
        scores.append(scores_from_conf(own_conf, params))
    every = detections_from_scores(np.concatenate(boxes), np.concatenate(scores), params)
    assert len(every) > 20
    assert_same([merged(loc, conf, params)], [in_unit_square(every)])
    # NMS in two stages is another result: what a tile has dropped suppresses nothing
    tiles = [detections_from_scores(*one, params) for one in zip(boxes, scores, strict=True)]
    staged = sum(map(len, tiles))
    assert staged > len(every)


@pytest.mark.parametrize("clip", [False, True])
def test_native_library_and_oracle_merge_alike(clip: bool) -> None:
    loc, conf = heads(len(windows()), 2)
    params = replace(PARAMS, clip_boxes=clip)
    merger = TileMerger(SIZE, TILING, PRIORS, params, MOST)
    for own_loc, own_conf, window in zip(loc, conf, windows(), strict=True):
        merger.add(own_loc, own_conf, window)
    native = merger.detections(
        lambda *given: decode_nms(
            *(h[None] for h in given[:2]), *given[2:4], edges=given[4], backend="native"
        )[0]
    )
    assert_same([native], [merged(loc, conf, params)])


def test_a_picture_of_one_tile_is_what_it_is_without_tiles() -> None:
    for size in ((40, 60), (17, 31), (40, 13)):
        loc, conf = heads(1, 3, spread=1)
        for params in (PARAMS, replace(PARAMS, clip_boxes=True)):
            plain = run(loc[0], conf[0], PRIORS, params)
            assert len(plain) > 2
            assert_same([merged(loc, conf, params, size=size)], [plain])


def test_priors_of_tiles_are_shifted_and_keep_the_bits_of_their_sizes() -> None:
    moved = priors_of_view(PRIORS, Window(45, 90, 60, 40), (60, 40))
    assert moved.dtype == np.float32
    assert moved[:, 2:].tobytes() == PRIORS[:, 2:].tobytes()
    assert moved[:, :2].tolist() == (PRIORS[:, :2] + np.float32([0.75, 2.25])).tolist()
    assert priors_of_view(PRIORS, Window(0, 0, 60, 40), (60, 40)).tobytes() == PRIORS.tobytes()


def test_priors_of_the_whole_picture_are_scaled() -> None:
    moved = priors_of_view(PRIORS, Window(0, 0, 230, 130), (60, 40))
    np.testing.assert_array_equal(moved, PRIORS * np.float32([230 / 60, 130 / 40] * 2))


def test_order_of_tiles_changes_prior_indices_alone() -> None:
    views = windows()
    loc, conf = heads(len(views), 4)
    turned = TileMerger(SIZE, TILING, PRIORS, PARAMS, MOST)
    for place in reversed(range(len(views))):
        turned.add(loc[place], conf[place], views[place])
    first, second = merged(loc, conf), turned.detections(run)
    assert len(np.unique(first.scores)) == len(first)  # no ties
    mirrored = len(views) - 1 - second.prior_indices // len(PRIORS)
    indices = mirrored * len(PRIORS) + second.prior_indices % len(PRIORS)
    assert_same([replace(second, prior_indices=indices.astype(np.int32))], [first])


def test_equal_scores_are_in_the_order_of_tiles_then_of_priors() -> None:
    views = windows()
    loc = np.zeros((len(views), len(PRIORS), 4), np.float32)
    conf = np.zeros((len(views), len(PRIORS), CLASSES), np.float32)
    conf[:, :2, 1] = 3  # the same score, of boxes apart from each other
    found = merged(loc, conf, replace(PARAMS, score_threshold=0.5, iou_threshold=1.0))
    expected = [view * len(PRIORS) + prior for view in range(len(views)) for prior in (0, 1)]
    assert found.prior_indices.tolist() == expected


def test_of_equal_scores_on_one_object_the_earlier_tile_stays() -> None:
    size, tiling = (40, 75), Tiling(60, 40, 0.75)
    loc = np.zeros((2, 4, 4), np.float32)
    conf = np.full((2, 4, CLASSES), [9, 0, 0, 0], np.float32)
    conf[:, 2, 1] = 18
    # a quarter of a tile to the left is the same place in the second one
    loc[1, 2, 0] = -0.25 / 0.9 / 0.1
    assert merged(loc, conf, tiling=tiling, size=size).prior_indices.tolist() == [2]
    loc[1, 2, 0] = 0
    both = merged(loc, conf, replace(PARAMS, iou_threshold=0.9), tiling, size)
    assert both.prior_indices.tolist() == [2, 6]


def test_caps_count_for_the_picture() -> None:
    own = PostprocessParams(pre_nms_topk=400, keep_topk_per_class=0, keep_topk=200)
    grown = own.of_views(36)
    assert (grown.pre_nms_topk, grown.keep_topk_per_class, grown.keep_topk) == (14400, 0, 7200)
    assert own.of_views(1) == own
    most = replace(own, keep_topk=2**31 - 1).of_views(2)
    assert most.keep_topk == 2**31 - 1


@pytest.mark.parametrize("most", [8, 9, 20])
def test_more_rows_than_enter_nms_are_cut_as_nms_would(most: int) -> None:
    params = replace(PARAMS, pre_nms_topk=2)
    loc, conf = heads(len(windows()), 5, spread=1)
    assert_same([merged(loc, conf, params, most_rows=most)], [merged(loc, conf, params)])


def test_more_candidates_than_can_be_merged_are_refused_with_what_to_do() -> None:
    loc, conf = heads(len(windows()), 6, spread=1)
    with pytest.raises(UsageError, match=r"at most 8 are merged; raise the score threshold"):
        merged(loc, conf, most_rows=8)


def test_prior_indices_do_not_overflow() -> None:
    merger = TileMerger(SIZE, TILING, PRIORS, PARAMS, MOST)
    merger._views = 2**29  # of four priors each
    loc, conf = heads(1)
    with pytest.raises(UsageError, match="use larger tiles"):
        merger.add(loc[0], conf[0], windows()[0])


def test_rows_that_hold_no_candidate_do_not_travel() -> None:
    conf = np.full((1000, 3), [9, 0, 0], np.float32)
    conf[[3, 700], 2] = 8
    assert rows_of_candidates(conf, PostprocessParams(0.01)).tolist() == [3, 700]


def test_of_the_whole_picture_large_boxes_count() -> None:
    tiling = Tiling(60, 40, 0.25, whole=True)
    views = windows(tiling)
    assert views[-1] == Window(0, 0, 230, 130)
    loc = np.zeros((len(views), 4, 4), np.float32)
    conf = np.full((len(views), 4, CLASSES), [9, 0, 0, 0], np.float32)
    # 0.1 of the width is 23 pixels, less than half a tile, 0.4 of the height 52, more than one
    conf[-1, :, 1] = [0, 0, 12, 12]
    found = merged(loc, conf, PARAMS, tiling)
    offset = (len(views) - 1) * len(PRIORS)
    assert (found.prior_indices - offset).tolist() == [2, 3]
    # a side of half a tile: 30 pixels of 230, 20 of 130
    loc[-1, 3, 2:] = np.log([30 / 230 / 0.1 * 1.01, 1e-3]) / 0.2
    assert len(merged(loc, conf, PARAMS, tiling)) == 2
    loc[-1, 3, 2:] = np.log([30 / 230 / 0.1 * 0.99, 20 / 130 / 0.4 * 0.99]) / 0.2
    assert len(merged(loc, conf, PARAMS, tiling)) == 1
    np.testing.assert_allclose(found.boxes[0], [0.05, 0.05, 0.95, 0.95], rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_higher_threshold_before_nms_is_the_same_as_after(activation: str) -> None:
    """Which a huge picture needs: most of what is found in it is never shown."""
    loc, conf = heads(len(windows()), 5)
    params = replace(PARAMS, activation=activation, pre_nms_topk=40, keep_topk_per_class=30)
    every = merged(loc, conf, params)
    high = float(np.median(every.scores))
    shown = every.scores > np.float32(high)
    fields = ("boxes", "scores", "labels", "prior_indices")
    cut = Detections(*(getattr(every, name)[shown] for name in fields))
    assert 10 < len(cut) < len(every)
    assert_same([merged(loc, conf, replace(params, score_threshold=high))], [cut])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_best_score_is_told_whatever_the_threshold(activation: str) -> None:
    loc, conf = heads(len(windows()), 6)
    conf[0, 0] = np.nan
    params = replace(PARAMS, activation=activation, score_threshold=0.9999)
    best = merged(loc, conf, replace(params, score_threshold=0.01)).scores.max()
    high = replace(params, score_threshold=float(best))

    def told(params: PostprocessParams, floor: float | None) -> float | None:
        merger = TileMerger(SIZE, TILING, PRIORS, params, MOST, floor)
        for own_loc, own_conf, window in zip(loc, conf, windows(), strict=True):
            merger.add(own_loc, own_conf, window)
        return merger.best_score

    assert told(high, 0.01) == best
    assert told(high, float(best)) is None
    assert told(high, None) is None
    assert told(replace(params, score_threshold=0.01), 0.01) == best
