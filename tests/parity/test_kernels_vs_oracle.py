"""The CUDA kernels, run by the CPU executor or a GPU, give the oracle's bits.

On the executor every run is also checked for races, divergent barriers, unwritten or
out-of-bounds memory (a fault fails the run), under several orders of threads and blocks; with any
seed but 0, blocks of two kernels overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_networks import NETWORKS, golden_heads, golden_outputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import assert_same, check, grid_priors, random_heads
from kernel_library import KernelLibrary

from ssd_small.evaluation.limits import BOX_ROUNDING, SCORE_ROUNDING
from ssd_small.postprocess import PostprocessParams

pytestmark = pytest.mark.slow

CUTS = st.sampled_from([0, 1, 2, 7, 33, 400])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, ...]:
    """Small heads from a few values, so that ties and exact thresholds are frequent."""
    batch, num_priors = draw(st.integers(1, 3)), draw(st.integers(0, 70))
    num_classes = draw(st.sampled_from([1, 2, 3, 5, 31, 32, 33, 81]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    half = draw(st.booleans())
    dtype = np.float16 if half else np.float32
    levels = draw(st.sampled_from([2, 5, 1000]))
    spread = draw(st.sampled_from([0.0, 1.0, 8.0, 60.0]))
    table = np.round(rng.normal(0, 1, levels) * spread, draw(st.integers(0, 3)))
    conf = rng.choice(table, (batch, num_priors, num_classes)).astype(dtype)
    loc = np.round(rng.normal(0, 1, (batch, num_priors, 4)), 1).astype(dtype)
    priors = np.round(grid_priors(num_priors, draw(st.sampled_from([0.0, 0.3, 1.0]))), 1)
    for array in (conf, loc):
        if draw(st.booleans()) and array.size:
            odd = np.array([np.nan, np.inf, -np.inf, -0.0, 6e4, -6e4], dtype)
            where = rng.random(array.shape) < draw(st.sampled_from([0.01, 0.3]))
            array[where] = rng.choice(odd, int(where.sum()))
    activation = draw(st.sampled_from(["softmax", "sigmoid", "none"]))
    threshold = draw(st.sampled_from([0.01, 0.0, -1.0, 0.5, 0.2, 1.0, float(table[0])]))
    params = PostprocessParams(
        score_threshold=threshold,
        iou_threshold=draw(st.sampled_from([0.0, 0.3, 0.6, 1.0])),
        variances=draw(st.sampled_from([(0.1, 0.2), (1.0, 1.0)])),
        activation=activation,  # type: ignore[arg-type]
        background_label=draw(st.sampled_from([0, -1, 1, 80, 900])),
        pre_nms_topk=draw(CUTS),
        keep_topk_per_class=draw(CUTS),
        keep_topk=draw(CUTS),
        pixel_offset=draw(st.sampled_from([0.0, 1 / 300, 0.5])),
        clip_boxes=draw(st.booleans()),
    )
    edges = draw(st.sampled_from([(1.0, 1.0), (0.4, 2.75)]))
    return loc, conf, priors.astype(np.float32), params, edges, draw(st.integers(0, 5))


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases(), shift=st.integers(0, 7), extra_rows=st.sampled_from([0, 3]))
def test_any_heads_and_parameters(
    kernels: KernelLibrary, case: tuple[Any, ...], shift: int, extra_rows: int
) -> None:
    loc, conf, priors, params, edges, seed = case
    check(kernels, loc, conf, priors, params, (seed,), edges, shift=shift, extra_rows=extra_rows)


@pytest.mark.parametrize("num_classes", [2, 81, 1024])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_classes_types_and_activations(
    kernels: KernelLibrary, num_classes: int, dtype: Any, activation: Any
) -> None:
    loc, conf, priors = random_heads(2, 40 if num_classes > 100 else 150, num_classes, spread=3.0)
    params = PostprocessParams(
        activation=activation, score_threshold=0.01 if activation == "softmax" else 0.95
    )
    found = check(kernels, loc.astype(dtype), conf.astype(dtype), priors, params, (1,))
    assert min(map(len, found)) > 10


def test_empty_and_single_prior(kernels: KernelLibrary) -> None:
    for num_priors in (0, 1):
        loc, conf, priors = random_heads(2, num_priors, 5)
        found = check(kernels, loc, conf, priors, PostprocessParams(), extra_rows=2)
        assert [len(d) > 0 for d in found] == [num_priors > 0] * 2
    loc, conf, priors = random_heads(0, 5, 5)
    assert check(kernels, loc, conf, priors, PostprocessParams()) == []


def test_no_class_but_background(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(2, 9, 1)
    assert [len(d) for d in check(kernels, loc, conf, priors, PostprocessParams())] == [0, 0]


def test_one_image_of_the_batch_is_empty(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(3, 200, 21)
    conf[1, :, 0] = 100
    found = check(kernels, loc, conf, priors, PostprocessParams(), (0, 1, 2))
    assert [len(d) > 0 for d in found] == [True, False, True]
    alone = kernels(loc[2:], conf[2:], priors, PostprocessParams()).detections()
    assert_same(alone, found[2:])  # the batch position does not matter


def test_all_boxes_but_one_suppressed(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 500, 2)
    loc[:], priors[:] = 0, (0.5, 0.5, 0.2, 0.2)
    conf[..., 0] = -20
    found = check(kernels, loc, conf, priors, PostprocessParams())
    assert len(found[0]) == 1


def test_equal_scores_come_in_prior_order(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 300, 4)
    conf[:] = 1.0
    params = PostprocessParams(iou_threshold=1.0, pre_nms_topk=0, keep_topk=0)
    found = check(kernels, loc, conf, priors, params, (0, 1, 2, 3))
    assert found[0].labels.tolist() == [1] * 100 + [2] * 100 + [3] * 100
    assert (np.diff(found[0].prior_indices.reshape(3, 100)) > 0).all()


@pytest.mark.parametrize("model", NETWORKS)
def test_golden_detections(kernels: KernelLibrary, model: str) -> None:
    """Every detection of the published post-processing, exactly."""
    expected = golden_outputs(model)
    loc, scores = golden_heads(model)
    params = PostprocessParams(
        activation="none", pre_nms_topk=0, keep_topk_per_class=100, keep_topk=0,
        pixel_offset=1 / 300,
    )  # fmt: skip
    padded = kernels(loc[None], scores[None], expected["priors"], params, seed=3)
    found = padded.detections()[0]
    order = np.lexsort((found.prior_indices, -found.scores, found.labels))
    found = found[order]
    assert np.array_equal(found.labels, expected["det_label"])
    assert np.array_equal(found.prior_indices, expected["det_prior"])
    np.testing.assert_allclose(found.scores, expected["det_score"], rtol=SCORE_ROUNDING, atol=0)
    np.testing.assert_allclose(found.boxes, expected["det_box"], rtol=0, atol=BOX_ROUNDING)


def test_results_do_not_depend_on_any_order(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(2, 400, 21)
    check(kernels, loc, conf, priors, PostprocessParams(), tuple(range(8)))


@pytest.mark.parametrize("plain", [False, True], ids=["overlapping", "plain"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_kernels_that_may_overlap_give_the_same_as_plain_launches(
    kernels: KernelLibrary, plain: bool, dtype: Any
) -> None:
    loc, conf, priors = random_heads(3, 300, 9)
    for params in (PostprocessParams(), PostprocessParams(keep_topk=0, pre_nms_topk=0)):
        check(kernels, loc.astype(dtype), conf.astype(dtype), priors, params, tuple(range(4)),
              plain=plain)  # fmt: skip


@pytest.mark.parametrize("plain", [False, True], ids=["overlapping", "plain"])
def test_a_captured_graph_gives_the_same(kernels: KernelLibrary, plain: bool) -> None:
    if kernels.kind == "executor":
        pytest.skip("not executed here: graphs need a GPU")
    loc, conf, priors = random_heads(2, 400, 21)
    check(kernels, loc, conf, priors, PostprocessParams(), (0,), graph=True, plain=plain)
