"""The CUDA kernels, run by the CPU executor or a GPU, give the oracle's bits.

On the executor every run is also checked for races, divergent barriers, unwritten or
out-of-bounds memory (a fault fails the run), under several orders of threads and blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_library import KernelLibrary, Padded, load

from ssd_small.boxes import boxes_xyxy_from_loc, iou_one_to_many
from ssd_small.detections import Detections
from ssd_small.numerics import softmax_f32
from ssd_small.postprocess import PostprocessParams, decode_nms

FloatArray = npt.NDArray[np.float32]


@pytest.fixture(params=["executor", pytest.param("device", marks=pytest.mark.gpu)], scope="module")
def kernels(request: pytest.FixtureRequest) -> KernelLibrary:
    library = load(request.param)
    if library is None and request.param == "executor":
        pytest.skip("the executor library is not built (cmake -DSSD_SMALL_BUILD_TESTS=ON)")
    if library is None:
        pytest.skip("not executed here: no GPU, or no library for it (cmake -DSSD_SMALL_CUDA=ON)")
    return library


def grid_priors(num: int, size: float = 0.2, seed: int = 0) -> FloatArray:
    """``[num, 4]`` random centres, sizes from half of ``size`` to ``size``."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.uniform(0, 1, (num, 2)), rng.uniform(size / 2, size, (num, 2))], axis=1
    ).astype(np.float32)


def random_heads(
    batch: int, num_priors: int, num_classes: int, spread: float = 2.0, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Heads with many candidates: ``loc [N, P, 4]``, ``conf [N, P, C]``, ``priors [P, 4]``."""
    rng = np.random.default_rng(seed)
    loc = rng.normal(0, 0.5, (batch, num_priors, 4)).astype(np.float32)
    conf = rng.normal(0, spread, (batch, num_priors, num_classes)).astype(np.float32)
    return loc, conf, grid_priors(num_priors, seed=seed)


def assert_same(found: list[Detections], expected: list[Detections]) -> None:
    assert len(found) == len(expected)
    for image, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert len(a) == len(b), f"image {image}: {len(a)} detections, expected {len(b)}"
        for name in ("priors", "labels", "scores", "boxes"):
            x, y = getattr(a, name), getattr(b, name)
            assert x.tobytes() == y.tobytes(), f"image {image}: {name} differ\n{x}\n{y}"


def assert_padding(padded: Padded) -> None:
    for i, n in enumerate(padded.num_detections):
        assert not padded.boxes[i, n:].any()
        assert not padded.scores[i, n:].any()
        assert not padded.labels[i, n:].any()
        assert (padded.prior_indices[i, n:] == -1).all()


def check(
    kernels: KernelLibrary,
    loc: npt.NDArray[Any],
    conf: npt.NDArray[Any],
    priors: FloatArray,
    params: PostprocessParams,
    seeds: tuple[int, ...] = (0, 1),
    **how: Any,
) -> list[Detections]:
    expected = decode_nms(loc, conf, priors, params, backend="numpy")
    for seed in seeds:
        padded = kernels(loc, conf, priors, params, seed=seed, **how)
        assert_same(padded.detections(), expected)
        assert_padding(padded)
    return expected


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
    )
    return loc, conf, priors.astype(np.float32), params, draw(st.integers(0, 5))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases(), shift=st.integers(0, 7), extra_rows=st.sampled_from([0, 3]))
def test_any_heads_and_parameters(
    kernels: KernelLibrary, case: tuple[Any, ...], shift: int, extra_rows: int
) -> None:
    loc, conf, priors, params, seed = case
    check(kernels, loc, conf, priors, params, (seed,), shift=shift, extra_rows=extra_rows)


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
    assert (np.diff(found[0].priors.reshape(3, 100)) > 0).all()


def test_score_at_the_threshold_and_one_step_beside(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 400, 11)
    scores = softmax_f32(conf[0])
    for exact in scores[[3, 50, 200], [2, 5, 9]]:
        for threshold in (np.nextafter(exact, np.float32(0)), exact, np.nextafter(exact, 2)):
            params = PostprocessParams(score_threshold=float(threshold), iou_threshold=1.0)
            check(kernels, loc, conf, priors, params, (1,))


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
    assert set(range(64)) - set(found[0].priors) == {0, 1, 2, 4, 5, 6}


def test_zero_size_priors(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(1, 64, 3)
    priors[:, 2:] = 0
    for pixel_offset in (0.0, 1 / 300):
        params = PostprocessParams(pixel_offset=pixel_offset, iou_threshold=0.0)
        check(kernels, loc, conf, priors, params)


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
    if kernels.kind == "executor":  # the slow way was taken
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


@pytest.mark.parametrize("model", ["vgg16", "mobilenet_v1_s1l0_dual"])
def test_golden_detections(
    kernels: KernelLibrary, model: str, golden: Path, golden_heads: Any
) -> None:
    """Every detection of the published post-processing, exactly."""
    expected = np.load(golden / f"{model}.npz")
    loc, scores = golden_heads(model)
    params = PostprocessParams(
        activation="none", pre_nms_topk=0, keep_topk_per_class=100, keep_topk=0,
        pixel_offset=1 / 300,
    )  # fmt: skip
    padded = kernels(loc[None], scores[None], expected["priors"], params, seed=3)
    found = padded.detections()[0]
    order = np.lexsort((found.priors, -found.scores, found.labels))
    found = found[order]
    assert np.array_equal(found.labels, expected["det_label"])
    assert np.array_equal(found.priors, expected["det_prior"])
    np.testing.assert_allclose(found.scores, expected["det_score"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.boxes, expected["det_box"], rtol=0, atol=1e-6)


def test_results_do_not_depend_on_any_order(kernels: KernelLibrary) -> None:
    loc, conf, priors = random_heads(2, 400, 21)
    check(kernels, loc, conf, priors, PostprocessParams(), tuple(range(8)))


def test_a_captured_graph_gives_the_same(kernels: KernelLibrary) -> None:
    if kernels.kind == "executor":
        pytest.skip("not executed here: graphs need a GPU")
    loc, conf, priors = random_heads(2, 400, 21)
    check(kernels, loc, conf, priors, PostprocessParams(), (0,), graph=True)
