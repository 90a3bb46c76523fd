"""Kernels where a cut or a capacity is reached: nothing is lost, a slower way is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import check, random_heads
from kernel_library import KernelLibrary

from ssd_small.postprocess import PostprocessParams


@pytest.mark.parametrize("cut", ["pre_nms_topk", "keep_topk_per_class", "keep_topk"])
@pytest.mark.parametrize("value", [1, 31, 32, 33, 256, 257, 300])
def test_each_cut_is_reached(kernels: KernelLibrary, cut: str, value: int) -> None:
    loc, conf, priors = random_heads(1, 700, 4, spread=0.5)
    cuts = {"pre_nms_topk": 0, "keep_topk_per_class": 0, "keep_topk": 0, cut: value}
    params = PostprocessParams(iou_threshold=0.9, **cuts)  # type: ignore[arg-type]
    found = check(kernels, loc, conf, priors, params, (1,))
    if cut != "pre_nms_topk":
        assert len(found[0]) == value * (3 if cut == "keep_topk_per_class" else 1)


def test_more_candidates_than_a_sorted_chunk(kernels: KernelLibrary) -> None:
    """1024 candidates are sorted at once; here 2000 of a class all matter."""
    loc, conf, priors = random_heads(1, 2000, 3, spread=0.5)
    for uniform in (False, True):  # equal scores: chunks are cut by the prior alone
        if uniform:
            conf[:] = 0
        params = PostprocessParams(
            iou_threshold=0.8, pre_nms_topk=1500, keep_topk_per_class=0, keep_topk=0
        )
        check(kernels, loc, conf, priors, params)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_prior_a_candidate_of_every_class(
    kernels: KernelLibrary, activation: Any, dtype: Any
) -> None:
    """More than the lists hold (2048): the classes are read from conf again."""
    loc, conf, priors = random_heads(1, 3000, 4, spread=0.3)
    loc[0, ::97, 0] = np.nan  # not candidates, so not counted either
    params = PostprocessParams(
        activation=activation, score_threshold=-5.0, pre_nms_topk=0, keep_topk=0
    )
    found = check(kernels, loc.astype(dtype), conf.astype(dtype), priors, params)
    assert len(found[0]) == 300
    if kernels.traces:  # the slow way was taken
        assert kernels.traffic("conf").bytes_read > 1.5 * conf.astype(dtype).nbytes


def test_more_rows_than_one_block_sorts(kernels: KernelLibrary) -> None:
    """Over 16384 possible rows: places are found by binary search."""
    loc, conf, priors = random_heads(2, 150, 120, spread=2.0)
    conf[1, :, 0] = 100  # nothing in the second image
    for keep_topk in (0, 16500):
        params = PostprocessParams(
            score_threshold=0.02, pre_nms_topk=0, keep_topk_per_class=0, keep_topk=keep_topk
        )
        found = check(kernels, loc, conf, priors, params, (1,))
        assert len(found[0]) > 1000
    launched = kernels.launches()[-1] if kernels.kind == "executor" else "rank_kernel"
    assert "rank_kernel" in launched


def test_more_kept_than_one_sorted_merge(kernels: KernelLibrary) -> None:
    """4096 keys are merged at once; here about 8000 are kept."""
    loc, conf, priors = random_heads(1, 300, 81, spread=1.0)
    params = PostprocessParams(
        score_threshold=0.0, iou_threshold=1.0, pre_nms_topk=0, keep_topk_per_class=100,
        keep_topk=0,
    )  # fmt: skip
    assert len(check(kernels, loc, conf, priors, params)[0]) == 8000
