"""The native library gives the bits of the numpy oracle.

No tolerance anywhere: both sides perform the same IEEE operations in the same order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from same_detections import assert_same

from ssd_small.bench.synthetic import detector_heads
from ssd_small.errors import UsageError
from ssd_small.postprocess import PostprocessParams, decode_nms, native
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc, iou_one_to_many
from ssd_small.postprocess.head_types import BFLOAT16
from ssd_small.postprocess.numerics import softmax_f32
from ssd_small.postprocess.params import WHOLE

pytestmark = pytest.mark.skipif(
    not native.is_available(), reason="the native library is not built (pip install .)"
)


def check(loc, conf, priors, params, edges=WHOLE):
    """Native with 1 and 3 threads against the oracle, bit by bit; returns the detections."""
    expected = decode_nms(loc, conf, priors, params, edges=edges, backend="numpy")
    for num_threads in (1, 3):
        found = native.decode_nms(loc, conf, priors, params, edges=edges, num_threads=num_threads)
        assert_same(found, expected)
    return expected


def random_priors(rng, count):
    centres = rng.uniform(0, 1, (count, 2))
    return np.concatenate([centres, rng.uniform(0.02, 0.4, (count, 2))], 1).astype(np.float32)


def random_heads(rng, batch, priors, classes, spread=2.0):
    loc = rng.normal(0, 1, (batch, len(priors), 4)).astype(np.float32)
    conf = rng.normal(0, spread, (batch, len(priors), classes)).astype(np.float32)
    return loc, conf


HALF_TYPES = [None, "float16", "bfloat16"]


def as_type(values, name):
    """float32 values in 16 bits; to bfloat16 by leaving out the lower half."""
    if name == "bfloat16":
        bits = np.ascontiguousarray(values).view(np.uint32) >> np.uint32(16)
        return bits.astype(np.uint16).view(BFLOAT16)
    with np.errstate(over="ignore"):
        return values.astype(name)


SPECIAL = np.float32([0, -0.0, np.nan, np.inf, -np.inf, 1, 88.8, -87.5, 1e-40, 3e38, -3e38])

params_strategy = st.builds(
    PostprocessParams,
    score_threshold=st.sampled_from([0.0, 0.01, 0.3, 1e-38, 1.0, 2.0, -0.5]),
    iou_threshold=st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]),
    variances=st.sampled_from([(0.1, 0.2), (1.0, 1.0), (0.5, 3.0)]),
    activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    background_label=st.sampled_from([-1, 0, 1, 2, 1023]),
    pre_nms_topk=st.sampled_from([0, 1, 3, 400]),
    keep_topk_per_class=st.sampled_from([0, 1, 2, 100]),
    keep_topk=st.sampled_from([0, 1, 5, 200]),
    pixel_offset=st.sampled_from([0.0, 1 / 300, 0.1, 1e-38, 1e9]),
    clip_boxes=st.booleans(),
)
edges_strategy = st.sampled_from([(1.0, 1.0), (0.4, 2.75), (1e-40, 3e38)])


@settings(max_examples=300, deadline=None)
@given(
    params=params_strategy,
    edges=edges_strategy,
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 4), st.integers(0, 40), st.sampled_from([1, 2, 3, 21, 33, 70])),
    half=st.sampled_from(HALF_TYPES),
    distinct=st.sampled_from([0, 3, 1000]),
    specials=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_any_heads_and_parameters(params, edges, seed, shape, half, distinct, specials):
    rng = np.random.default_rng(seed)
    batch, count, classes = shape
    priors = random_priors(rng, count)
    loc, conf = random_heads(rng, batch, priors, classes)
    if distinct:  # few different values: ties everywhere
        conf = np.round(conf * distinct / 4) * np.float32(4 / distinct)
        loc = np.round(loc * 2) / np.float32(2)
        priors = np.round(priors * 8) / np.float32(8)  # some without area
    for array in (loc, conf):
        at = rng.random(array.shape) < specials
        array[at] = rng.choice(SPECIAL, at.sum())
    if half:
        loc, conf = as_type(loc, half), as_type(conf, half)
    check(loc, conf, priors, params, edges)


@pytest.mark.slow
@pytest.mark.parametrize("half", HALF_TYPES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("classes", [1, 2, 31, 32, 81, 1024])
def test_class_counts(classes, activation, half):
    rng = np.random.default_rng(classes)
    priors = random_priors(rng, 60 if classes < 100 else 7)
    loc, conf = random_heads(rng, 2, priors, classes, 3)
    if half:
        loc, conf = as_type(loc, half), as_type(conf, half)
    for background in (-1, 0, classes - 1):
        params = PostprocessParams(activation=activation, background_label=background)
        found = check(loc, conf, priors, params)
        assert classes == 1 or any(len(image) for image in found)


@pytest.mark.parametrize("params", [PostprocessParams(), PostprocessParams.coco()])
@pytest.mark.parametrize("num_priors", [0, 1, 2, 1023, 1025, 11_620])
def test_detector_heads(num_priors, params):
    rng = np.random.default_rng(1)
    priors = random_priors(rng, num_priors)
    if num_priors:
        loc, conf = detector_heads(priors, 81, batch=2, objects=8)
    else:
        loc, conf = np.zeros((2, 0, 4), np.float32), np.zeros((2, 0, 81), np.float32)
    check(loc, conf, priors, params)


@pytest.mark.slow
def test_every_prior_is_a_candidate_of_every_class():
    rng = np.random.default_rng(2)
    priors = random_priors(rng, 3000)
    loc, conf = random_heads(rng, 1, priors, 9, 0.3)
    for params in (
        PostprocessParams(),
        PostprocessParams.coco(),
        PostprocessParams(pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0, iou_threshold=0.9),
        PostprocessParams(pre_nms_topk=2000, keep_topk_per_class=700, keep_topk=900),
    ):
        (found,) = check(loc, conf, priors, params)
        if params.keep_topk_per_class:
            assert len(found) == params.max_detections(3000, 9)  # every cap is reached


def test_score_threshold_within_one_ulp():
    rng = np.random.default_rng(3)
    priors = random_priors(rng, 60)
    loc, conf = random_heads(rng, 1, priors, 21)
    conf[..., 0] += 3
    scores = softmax_f32(conf[0])[:, 1:].ravel()
    for score in rng.choice(scores[scores > 1e-3], 20):
        counts = []
        for threshold in (np.nextafter(score, np.float32(0)), score):
            params = PostprocessParams(float(threshold), iou_threshold=1.0, keep_topk=0)
            counts.append(len(check(loc, conf, priors, params)[0]))
        assert counts[0] > counts[1]


@pytest.mark.parametrize("pixel_offset", [0.0, 1 / 300])
def test_iou_threshold_within_one_ulp(pixel_offset):
    rng = np.random.default_rng(4)
    base = PostprocessParams(activation="none", background_label=-1, pixel_offset=pixel_offset)
    scale, offset = np.float32(1), 0.0
    if pixel_offset:
        scale, offset = np.float32(1) / np.float32(pixel_offset), 1.0
    for _ in range(20):
        priors = np.tile(random_priors(rng, 1), (2, 1))
        loc = rng.normal(0, 0.5, (1, 2, 4)).astype(np.float32)
        conf = np.float32([[[0.9], [0.8]]])
        boxes = boxes_xyxy_from_loc(loc[0], priors) * scale
        overlap = iou_one_to_many(boxes[0], boxes[1:], offset)[0]
        kept = [
            len(check(loc, conf, priors, replace(base, iou_threshold=float(at)))[0])
            for at in (np.nextafter(overlap, np.float32(0)), overlap)
        ]
        assert kept == [1, 2]


def test_empty_image_in_a_batch():
    rng = np.random.default_rng(5)
    priors = random_priors(rng, 500)
    loc, conf = detector_heads(priors, 21, batch=5)
    conf[1, :, 0] += 100
    conf[3] = np.nan
    counts = [len(image) for image in check(loc, conf, priors, PostprocessParams())]
    assert counts[1] == counts[3] == 0
    assert min(counts[0], counts[2], counts[4]) > 0


def test_all_boxes_the_same():
    priors = np.tile(np.float32([0.5, 0.5, 0.2, 0.2]), (700, 1))
    conf = np.zeros((1, 700, 3), np.float32)
    params = PostprocessParams(background_label=-1)
    (found,) = check(np.zeros((1, 700, 4), np.float32), conf, priors, params)
    assert found.prior_indices.tolist() == [0, 0, 0]


def test_inputs_that_are_not_contiguous_or_of_mixed_types():
    rng = np.random.default_rng(6)
    priors = random_priors(rng, 64)
    loc, conf = random_heads(rng, 2, priors, 21)
    strided = np.ascontiguousarray(conf.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert not strided.flags.c_contiguous
    check(loc, strided, priors, PostprocessParams())
    check(loc, conf.astype(np.float16), priors[::-1], PostprocessParams())


def test_thread_count_comes_from_the_environment(monkeypatch):
    rng = np.random.default_rng(7)
    priors = random_priors(rng, 4000)
    loc, conf = detector_heads(priors, 81)
    one = native.decode_nms(loc, conf, priors, PostprocessParams())
    for value in ("1", "3", "many", "-1"):
        monkeypatch.setenv("SSD_SMALL_NUM_THREADS", value)
        (found,) = native.decode_nms(loc, conf, priors, PostprocessParams())
        assert found.scores.tobytes() == one[0].scores.tobytes()


def test_a_forked_child_can_use_it():
    code = (
        "import os, numpy as np\n"
        "from ssd_small.postprocess import PostprocessParams as Params, native\n"
        "heads = np.zeros((1, 9000, 4), np.float32), np.ones((1, 9000, 81), np.float32)\n"
        "call = lambda: native.decode_nms(*heads, np.ones((9000, 4), np.float32), Params(),"
        " num_threads=3)\n"
        "call(); child = os.fork()\n"
        "if child == 0: call(); os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
    )
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_the_library_names_what_is_wrong():
    params = PostprocessParams()
    object.__setattr__(params, "iou_threshold", 7.0)
    arrays = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 3), np.float32)
    with pytest.raises(UsageError, match="iou_threshold: got 7, expected a number from 0 to 1"):
        native.decode_nms(*arrays, np.zeros((2, 4), np.float32), params)
