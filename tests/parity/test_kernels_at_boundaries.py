"""Kernels at the edge: scores and IoU one step beside a threshold, NaN, boxes without a size."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import check, random_heads
from kernel_library import KernelLibrary

from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc, iou_one_to_many
from ssd_small.postprocess.numerics import softmax_f32


def test_score_at_the_threshold_and_one_step_beside(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 400, 11)
    scores = softmax_f32(conf[0])
    for exact in scores[[3, 50, 200], [2, 5, 9]]:
        for threshold in (np.nextafter(exact, np.float32(0)), exact, np.nextafter(exact, 2)):
            params = PostprocessParams(score_threshold=float(threshold), iou_threshold=1.0)
            check(kernels, loc, conf, priors, params, (1,))


@pytest.mark.slow
@pytest.mark.parametrize("pixel_offset", [0.0, 1 / 300])
def test_iou_at_the_threshold_and_one_step_beside(
    kernels: KernelLibrary, pixel_offset: float
) -> None:
    loc, conf, priors = random_heads(1, 40, 2)
    boxes = boxes_xyxy_from_loc(loc[0], priors)
    scale = np.float32(1) if pixel_offset == 0 else np.float32(1) / np.float32(pixel_offset)
    pairs = [iou_one_to_many(box * scale, boxes * scale, float(pixel_offset != 0)) for box in boxes]
    values = np.unique(np.concatenate(pairs))
    values = values[(values > 0.05) & (values < 0.95)]
    counts = set()
    for exact in values[:: max(1, len(values) // 12)]:
        for threshold in (np.nextafter(exact, np.float32(0)), exact, np.nextafter(exact, 1)):
            params = PostprocessParams(iou_threshold=float(threshold), pixel_offset=pixel_offset)
            counts.add(len(check(kernels, loc, conf, priors, params, (1,))[0]))
    assert len(counts) > 3  # the thresholds mattered


def test_nan_and_infinity_never_win(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 64, 5)
    loc[0, 0, 0], loc[0, 1, 1], loc[0, 2, 2], loc[0, 3, 3] = np.nan, np.inf, 1e30, -np.inf
    conf[0, 4, 2], conf[0, 5, 2], conf[0, 6] = np.nan, np.inf, -np.inf
    params = PostprocessParams(score_threshold=0.0, iou_threshold=1.0)
    found = check(kernels, loc, conf, priors, params)
    # exp(-inf) = 0: prior 3 has a finite box without height
    assert set(range(64)) - set(found[0].prior_indices) == {0, 1, 2, 4, 5, 6}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_clipped_boxes(kernels: KernelLibrary, dtype: type) -> None:
    """Boxes over every edge and beyond it, in lists that fit and in one that overflows."""
    loc, conf, priors = random_heads(2, 300, 5, spread=3.0)
    loc, conf = (4 * loc).astype(dtype), conf.astype(dtype)
    loc[0, :3, 2], loc[0, 3, 0] = (np.inf, np.nan, -np.inf), np.inf
    for params in (PostprocessParams(clip_boxes=True), PostprocessParams(0.3, clip_boxes=True)):
        for edges in ((1.0, 1.0), (0.5, 0.75)):
            found = check(kernels, loc, conf, priors, params, (1,), edges)
            boxes = np.concatenate([one.boxes for one in found])
            assert boxes[:, :2].min(axis=0).tolist() == [0, 0]
            assert boxes[:, 2:].max(axis=0).tolist() == list(edges)
            check(kernels, loc, conf, priors, params, (1,), edges, list_bytes=64)
    # what is judged is what is cut: a box that is not finite is no candidate
    assert not set(found[0].prior_indices.tolist()) & {0, 1, 3}


def test_zero_size_priors(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 64, 3)
    priors[:, 2:] = 0
    for pixel_offset in (0.0, 1 / 300):
        params = PostprocessParams(pixel_offset=pixel_offset, iou_threshold=0.0)
        check(kernels, loc, conf, priors, params)
