"""Kernels where a cut or a capacity is reached: nothing is lost, a slower way is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import check, random_heads
from kernel_library import KernelLibrary

from ssd_small.postprocess import PostprocessParams

pytestmark = pytest.mark.slow

#: as the executor names kernels
HEAD_TYPES = {np.float32: "float", np.float16: "__half"}


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


def bytes_of_full_lists(conf: Any) -> int:
    """Room for every prior in the list of every class: 8 bytes each."""
    return int(8 * conf.size)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_prior_a_candidate_on_both_sides_of_the_bound(
    kernels: KernelLibrary, activation: Any, dtype: Any
) -> None:
    """With room for all of them conf is read once; one byte less, and it is read again."""
    loc, conf, priors = random_heads(1, 2100, 4, spread=0.3)
    loc, conf = loc.astype(dtype), conf.astype(dtype)
    params = PostprocessParams(
        activation=activation, score_threshold=-5.0, pre_nms_topk=0, keep_topk=0
    )
    full = bytes_of_full_lists(conf)
    for list_bytes, least, most in ((full, 1.0, 1.0), (full - 1, 1.5, 5.0)):
        found = check(kernels, loc, conf, priors, params, list_bytes=list_bytes)
        assert len(found[0]) == 300
        if kernels.traces:
            times_read = kernels.traffic("conf").bytes_read / conf.nbytes
            assert least <= times_read <= most, (list_bytes, times_read)


def test_only_a_list_that_overflows_is_read_again(kernels: KernelLibrary) -> None:
    """Of 2 images x 3 classes one has 2100 candidates; lists hold 2048 at the least."""
    loc, conf, priors = random_heads(2, 2100, 4, spread=0.3)
    loc[1, ::97, 0] = np.nan  # no candidates, and not counted: 2078 are left
    conf[0] = (9, 0, 0, 0)
    conf[1] = (0, 0, 9, 0)
    params = PostprocessParams(pre_nms_topk=0, keep_topk=0)
    found = check(kernels, loc, conf, priors, params, list_bytes=1)
    assert [len(image) for image in found] == [0, 100]
    if kernels.traces:
        again = kernels.traffic("conf").bytes_read - conf.nbytes
        # one class: 4 bytes a prior, for six digits of equal scores and to gather
        assert again == 7 * 4 * 2100
    loc[1, 1::43, 0] = np.inf
    candidates = np.isfinite(loc[1]).all(axis=1).sum()
    assert candidates < 2048
    check(kernels, loc, conf, priors, params, list_bytes=1)
    if kernels.traces:
        assert kernels.traffic("conf").bytes_read == conf.nbytes


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_more_rows_than_one_block_sorts(kernels: KernelLibrary, dtype: Any) -> None:
    """Over 16384 possible rows: places are found by binary search."""
    loc, conf, priors = random_heads(2, 150, 120, spread=2.0)
    conf[1, :, 0] = 100  # nothing in the second image
    loc, conf = loc.astype(dtype), conf.astype(dtype)
    for keep_topk in (0, 16500):
        params = PostprocessParams(
            score_threshold=0.02, pre_nms_topk=0, keep_topk_per_class=0, keep_topk=keep_topk
        )
        found = check(kernels, loc, conf, priors, params, (1,))
        assert len(found[0]) > 1000
    if kernels.kind == "executor":
        assert f"rank_kernel<{HEAD_TYPES[dtype]}>" in kernels.launches()[-1]


def test_more_kept_than_one_sorted_merge(kernels: KernelLibrary) -> None:
    """4096 keys are merged at once; here about 8000 are kept."""
    loc, conf, priors = random_heads(1, 300, 81, spread=1.0)
    params = PostprocessParams(
        score_threshold=0.0, iou_threshold=1.0, pre_nms_topk=0, keep_topk_per_class=100,
        keep_topk=0,
    )  # fmt: skip
    assert len(check(kernels, loc, conf, priors, params)[0]) == 8000
