"""``enqueue`` of the plugin, its kernels run by the CPU executor, against the numpy oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plugin_driver as driver
import pytest
from plugin_driver import FLOAT, Library, extents_of
from plugin_run import run
from same_detections import assert_same

from ssd_small.postprocess import PostprocessParams, decode_nms

NUM_PRIORS, NUM_CLASSES = 70, 7


def heads(
    batch: int, dtype: type = np.float32, num_priors: int = NUM_PRIORS, classes: int = NUM_CLASSES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes in clusters, so that they suppress each other, and scores with many ties."""
    rng = np.random.default_rng(batch * 1000 + num_priors)
    centres = rng.uniform(0, 1, (5, 2))[rng.integers(0, 5, num_priors)]
    priors = np.concatenate(
        [centres + rng.normal(0, 0.02, (num_priors, 2)), rng.uniform(0.1, 0.3, (num_priors, 2))], 1
    ).astype(np.float32)
    loc = rng.normal(0, 0.5, (batch, num_priors, 4)).astype(dtype)
    conf = np.round(rng.normal(0, 2, (batch, num_priors, classes)) * 2) / 2
    return loc, conf.astype(dtype), priors


def check(library: Library, params: PostprocessParams, arrays: tuple[np.ndarray, ...]) -> int:
    """Runs and compares; returns the number of detections."""
    loc, conf, priors = arrays
    rows = params.max_detections(conf.shape[1], conf.shape[2])
    results = run(library.create_for(params), loc, conf, priors, rows, max_batch=8)
    expected = decode_nms(loc, conf, priors, params, backend="numpy")
    assert_same(results, expected)
    return sum(len(result.scores) for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("batch", range(1, 9))
def test_every_batch_equals_the_oracle(library: Library, batch: int, dtype: type) -> None:
    params = PostprocessParams(score_threshold=0.1, iou_threshold=0.5)
    assert check(library, params, heads(batch, dtype)) > 10 * batch


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "sigmoid", "background_label": -1},
        {"activation": "none", "score_threshold": 1.5},
        {"background_label": 3},
        {"background_label": 900},
        {"variances": (0.3, 0.05)},
        {"pre_nms_topk": 5},
        {"keep_topk_per_class": 2},
        {"keep_topk": 9},
        {"pre_nms_topk": 0, "keep_topk_per_class": 0, "keep_topk": 0},
        {"pixel_offset": 1 / 300},
        {"clip_boxes": True},
        {"iou_threshold": 0.0},
        {"score_threshold": 2.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_field_reaches_the_kernels(library: Library, changes: dict, dtype: type) -> None:
    base = PostprocessParams(score_threshold=0.1, iou_threshold=0.5)
    params = replace(base, **changes)
    arrays = heads(2, dtype)
    check(library, params, arrays)
    before = decode_nms(*arrays, base, backend="numpy")
    after = decode_nms(*arrays, params, backend="numpy")
    assert any(
        one.boxes.tobytes() != other.boxes.tobytes() or one.labels.tolist() != other.labels.tolist()
        for one, other in zip(before, after, strict=True)
    ) or changes.keys() == {"pre_nms_topk", "keep_topk_per_class", "keep_topk"}


def test_the_published_protocol(library: Library) -> None:
    assert check(library, PostprocessParams.coco(), heads(2)) > 0


def test_priors_and_logits_that_are_not_finite(library: Library) -> None:
    loc, conf, priors = heads(2)
    conf[0, 3, 2], conf[0, 4, 1], loc[1, 5, 0], loc[1, 6, 2] = np.nan, np.inf, np.nan, 1e30
    check(library, PostprocessParams(score_threshold=0.1), (loc, conf, priors))


def test_a_single_prior_and_class(library: Library) -> None:
    params = PostprocessParams(background_label=-1, activation="sigmoid")
    assert check(library, params, heads(1, num_priors=1, classes=1)) == 1


def test_a_network_of_background_alone_detects_nothing(library: Library) -> None:
    """Then K is 0: outputs without rows, no workspace."""
    assert PostprocessParams().max_detections(NUM_PRIORS, 1) == 0
    assert check(library, PostprocessParams(), heads(2, classes=1)) == 0


def test_images_do_not_depend_on_their_neighbours(library: Library) -> None:
    """One image eight times over gives one result eight times over."""
    loc, conf, priors = heads(1)
    params = PostprocessParams(score_threshold=0.1)
    plugin = library.create_for(params)
    rows = params.max_detections(NUM_PRIORS, NUM_CLASSES)
    alone = run(plugin, loc, conf, priors, rows)
    stacked = run(plugin, np.repeat(loc, 8, 0), np.repeat(conf, 8, 0), priors, rows)
    assert_same(stacked, alone * 8)


@pytest.mark.parametrize("clip", [False, True])
def test_a_rebuilt_plugin_and_a_context_give_the_same(library: Library, clip: bool) -> None:
    loc, conf, priors = heads(2)
    params = PostprocessParams(score_threshold=0.1, keep_topk=20, clip_boxes=clip)
    original = library.create_for(params)
    rebuilt = original.library.create(original.serialized(), driver.RUNTIME)
    assert rebuilt is not None
    expected = decode_nms(loc, conf, priors, params, backend="numpy")
    for plugin in (original.clone(), rebuilt, rebuilt.attach()):
        assert_same(run(plugin, loc, conf, priors, 20), expected)


def test_boxes_are_cut_where_the_fields_say(library: Library) -> None:
    loc, conf, priors = heads(2)
    params = PostprocessParams(score_threshold=0.1, keep_topk=20, clip_boxes=True)
    edges = (0.5, 0.375)
    expected = decode_nms(loc, conf, priors, params, edges=edges, backend="numpy")
    found = run(library.create_for(params, edges), loc, conf, priors, 20)
    assert_same(found, expected)
    assert [one.boxes.max(axis=0).tolist() for one in found] == [[*edges, *edges]] * 2


def test_an_empty_batch_is_fine(library: Library) -> None:
    loc, conf, priors = heads(1)
    rows = PostprocessParams().max_detections(NUM_PRIORS, NUM_CLASSES)
    plugin = library.create_for(PostprocessParams())
    assert run(plugin, loc[:0], conf[:0], priors, rows, max_batch=8) == []


def test_a_launch_that_cannot_work_returns_an_error_and_says_why(library: Library) -> None:
    loc, conf, priors = heads(1)
    plugin = library.create_for(PostprocessParams())
    extents = extents_of(1, NUM_PRIORS, NUM_CLASSES)
    workspace = np.zeros(plugin.workspace_bytes(extents) + 256, np.uint8)
    pointers = [array.ctypes.data for array in (loc, conf, priors)]
    results = np.zeros((5, 200, 4), np.float32)
    outputs: list[int | None] = [result.ctypes.data for result in results]
    types = [FLOAT] * 3
    start = workspace.ctypes.data + -workspace.ctypes.data % 256
    for number, name in enumerate(("loc", "conf", "priors")):
        faulty: list[int | None] = list(pointers)
        faulty[number] = None
        assert plugin.enqueue(types, extents, faulty, outputs, start) != 0
        (message,) = library.take_messages()
        assert message.startswith("1 DecodeNms: launch failed: ")
        assert name in message
    assert plugin.enqueue(types, extents, pointers, [*outputs[:4], None], start) != 0
    assert "prior_indices" in library.take_messages()[0]
    assert plugin.enqueue(types, extents, pointers, outputs, None) != 0
    assert "workspace" in library.take_messages()[0]
    assert plugin.enqueue(types, [1, 70, 5, *extents[3:]], pointers, outputs, start) != 0
    assert "do not fit together" in library.take_messages()[0]
