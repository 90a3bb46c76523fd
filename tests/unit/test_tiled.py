"""Pictures in tiles: what is found in them, and that they pass as streams of pictures do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import detection_doubles
import numpy as np
import pytest
from detection_doubles import stream_threads
from hypothesis import given, settings
from hypothesis import strategies as st
from tiled_doubles import SIDE, SpottingRuntime, detector, spots

from ssd_small.detection.detector import Detector
from ssd_small.detection.picture_detections import PictureDetections
from ssd_small.detection.tiled import SeenView
from ssd_small.errors import BadFile, UsageError
from ssd_small.pictures.preprocessing import PictureInput, Preprocessing, resized_from_image
from ssd_small.pictures.tiles import Tiling
from ssd_small.pictures.windows import PictureInMemory
from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.params import MAX_PRIORS

TILES: dict[str, Any] = {"tiles": (8, 8), "overlap": 0.25}
#: 7 x 4 tiles of 8 pixels, 6 from one to the next, the last ones moved inwards
PICTURE = spots((3, 3, 250), (7, 3, 240), (20, 10, 230), (39, 23, 220), (33, 14, 210), height=24)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    if stream_threads():
        gc.collect()
    assert stream_threads() == []


def middles(found: PictureDetections) -> list[tuple[float, float]]:
    """Middle of each box before it was clipped to the picture, best first."""
    boxes = found.boxes
    return [(float(x2) - 1, float(y2) - 1) for _, _, x2, y2 in boxes]


def test_objects_of_all_tiles_are_found_where_they_lie_and_once() -> None:
    found = detector()(PICTURE, **TILES)[0]
    assert found.tiles == 28
    # two tiles see those at 7 and at 20, the last ones those at the right and at the bottom
    np.testing.assert_allclose(
        found.boxes,
        [
            *([2.5, 2.5, 4.5, 4.5], [6.5, 2.5, 8.5, 4.5], [19.5, 9.5, 21.5, 11.5]),
            *([38.5, 22.5, 40, 24], [32.5, 13.5, 34.5, 15.5]),
        ],
        # seven tiles in single precision, times 40 pixels
        rtol=0,
        atol=40 * 8 * 2**-24,
    )
    assert detector()(PICTURE)[0].tiles == 1


def test_without_nms_every_tile_gives_what_it_sees() -> None:
    """So that the test above is one of NMS."""
    found = detector(PostprocessParams(0.25, 1.0))(PICTURE, **TILES)[0]
    assert len(found) == 7  # at x = 7 and at x = 33 two tiles see an object


def test_a_picture_of_one_tile_is_what_it_is_without_tiles_to_the_bit() -> None:
    one = detector()
    for height, width in ((8, 8), (5, 7), (3, 8)):
        picture = np.random.default_rng(0).integers(180, 256, (height, width, 3), np.uint8)
        plain = one(picture)[0]
        assert len(plain) > 4
        for whole in (False, True):
            assert one(picture, **TILES, whole=whole)[0] == plain


@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, 1), (2, 1)])
def test_a_picture_shifted_by_the_stride_has_its_detections_shifted(across: int, down: int) -> None:
    random = np.random.default_rng(0)
    inner = np.zeros((20, 20, 3), np.uint8)
    inner[random.integers(2, 18, 12), random.integers(2, 18, 12)] = np.arange(200, 248, 4)[:, None]
    # 8 + 6 * n pixels: all tiles lie on the grid, in both pictures
    pictures = []
    for x, y in ((0, 0), (6 * across, 6 * down)):
        picture = np.zeros((38, 38, 3), np.uint8)
        picture[6 + y : 26 + y, 6 + x : 26 + x] = inner
        pictures.append(picture)
    before, after = detector()(pictures, **TILES)
    assert len(before) == 8
    assert before.scores.tobytes() == after.scores.tobytes()
    assert before.labels.tobytes() == after.labels.tobytes()
    moved = before.boxes + np.float32([6 * across, 6 * down] * 2)
    # of 38 pixels in single precision, through three roundings
    np.testing.assert_allclose(after.boxes, moved, rtol=0, atol=3 * 38 * 2**-23)
    tiles = 6
    shift = (across + tiles * down) * SIDE * SIDE
    assert after.prior_indices.tolist() == (before.prior_indices + shift).tolist()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), overlap=st.sampled_from([0, 0.25, 0.5]), whole=st.booleans())
def test_no_two_detections_overlap_by_more_than_nms_allows(
    seed: int, overlap: float, whole: bool
) -> None:
    from ssd_small.postprocess.boxes import iou_one_to_many

    random = np.random.default_rng(seed)
    picture = random.choice([0, 200, 255], (19, 26, 1), p=[0.8, 0.1, 0.1]).astype(np.uint8)
    one = detector()
    outcome, _ = next(one.outcomes(picture, tiling=Tiling(8, 8, overlap, whole)))
    boxes = outcome.detections.boxes * np.float32([26, 19] * 2)
    for place, box in enumerate(boxes):
        # seen in pixels, an IoU has other roundings: of sides of 2 at coordinates up to 26
        assert (iou_one_to_many(box, boxes[place + 1 :]) <= 0.3 + 1e-4).all()


@pytest.mark.parametrize("max_batch", [1, 3, 8, 64])
@pytest.mark.parametrize("workers", [1, 16])
def test_results_do_not_depend_on_what_shares_a_batch(max_batch: int, workers: int) -> None:
    others = [spots((x, 3, 255), width=x + 5) for x in (2, 13, 9)]
    given = [others[0], PICTURE, others[1], PICTURE, others[2]]
    found = detector(max_batch=max_batch, workers=workers)(given, **TILES)
    for picture, own in zip(given, found, strict=True):
        assert detector(max_batch=1, workers=1)(picture, **TILES) == [own]


def test_batches_are_filled_across_pictures() -> None:
    one = detector(max_batch=10)
    assert [found.tiles for found in one([PICTURE] * 3, **TILES)] == [28] * 3
    assert one.runtime.batches == [10] * 8 + [4]


def test_networks_that_take_pictures_are_given_tiles_of_them() -> None:
    small = np.random.default_rng(0).integers(180, 256, (5, 6, 3), np.uint8)
    given = [PICTURE, small, PICTURE]
    any_size = Detector(SpottingRuntime(pictures=PictureInput()), workers=2)
    assert any_size(given, **TILES) == detector()(given, **TILES)
    assert any_size.runtime.batches == [4] * 7 + [1] + [4] * 7  # a batch is of one size
    one_size = Detector(SpottingRuntime(pictures=PictureInput(8, 8)), workers=2)
    found = one_size(given, **TILES)
    assert (found[0], found[2]) == (any_size(PICTURE, **TILES)[0],) * 2
    # what is smaller than a tile is shown in the size that the network takes
    larger = resized_from_image(small, Preprocessing(height=8, width=8))
    assert found[1].scores.tobytes() == one_size(larger)[0].scores.tobytes()
    assert len(found[1]) > 4
    with pytest.raises(UsageError, match="6x5 pixels; this network takes pictures of 8x8 only"):
        one_size(small)


def test_caps_count_for_the_picture_unless_they_are_given() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[1::4, 1::4] = 255  # four objects of each of the 16 tiles
    params = PostprocessParams(0.25, 0.3, pre_nms_topk=4, keep_topk_per_class=3, keep_topk=2)

    def count(found: Detector) -> int:
        return len(found(picture, tiles=(8, 8), overlap=0)[0])

    # caps of 2 of one tile are 32 of 16; with the whole there are 17 views
    assert count(Detector(SpottingRuntime(params))) == 32
    assert count(Detector(SpottingRuntime(params), params)) == 2
    assert count(Detector(SpottingRuntime(params), params, caps_grow=True)) == 32
    free = PostprocessParams(0.25, 0.3, pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0)
    assert count(Detector(SpottingRuntime(free))) == 64


def test_the_whole_picture_is_a_view_but_no_tile() -> None:
    one = detector(max_batch=64)
    assert one(PICTURE, **TILES, whole=True)[0].tiles == 28
    assert one.runtime.batches == [29]
    # a bright picture of a fifth of the size of its tiles' sum: what fills it is seen in the whole
    large = np.zeros((64, 64, 3), np.uint8)
    large[24:32, 24:32] = 255  # a pixel of the whole at 8 x 8, its prior of 16 pixels is 2 tiles
    boxes = one(large, tiles=(8, 8), overlap=0, whole=True)[0].boxes
    assert [20, 20, 36, 36] in boxes.tolist()
    assert [20, 20, 36, 36] not in one(large, tiles=(8, 8), overlap=0)[0].boxes.tolist()


@pytest.mark.slow
def test_there_may_be_more_priors_than_one_call_takes() -> None:
    runtime = SpottingRuntime(max_batch=16, priors=64)
    tiles = MAX_PRIORS // len(runtime.description.priors) + 2
    picture = spots((0, 0, 255), (8 * tiles - 1, 7, 250), height=8, width=8 * tiles)
    found = Detector(runtime)(picture, tiles=(8, 8), overlap=0)[0]
    assert found.tiles == tiles
    assert found.prior_indices.tolist() == [0, 4096 * tiles - 64]
    assert found.prior_indices[1] > MAX_PRIORS
    # the coordinates of a thousand tiles in single precision, in pixels
    np.testing.assert_allclose(found.boxes[1, :2], [8 * tiles - 1.5, 6.5], rtol=0, atol=0.002)


class Source:
    """Pictures numbered from 0; counts how many were pulled, and how many are alive."""

    def __init__(self, side: int, unreadable: bool = False, fails_at: int = -1) -> None:
        self.side, self.unreadable, self.fails_at = side, unreadable, fails_at
        self.pulled = 0
        self._made: list[weakref.ref[np.ndarray]] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            if self.pulled == self.fails_at:
                raise RuntimeError("the camera is gone")
            made = spots((self.pulled % 7, 3, 255), height=self.side, width=self.side)
            if self.unreadable and self.pulled % 3 == 1:
                made = np.zeros((2, 2, 7), np.uint8)
            self.pulled += 1
            self._made.append(weakref.ref(made))
            yield made
            del made

    @property
    def alive(self) -> int:
        return sum(reference() is not None for reference in self._made)


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize(("side", "max_batch"), [(8, 1), (8, 8), (26, 4)])
def test_memory_is_bounded_while_results_come_in_order(
    side: int, max_batch: int, workers: int
) -> None:
    source, bound = Source(side, unreadable=True), 4 * max_batch + 16
    found = detector(max_batch=max_batch, workers=workers)
    with closing(found.outcomes(source, tiling=Tiling(8, 8, 0.25))) as outcomes:
        for number, (outcome, result) in zip(range(60), outcomes, strict=False):
            if number % 3 == 1:
                assert isinstance(outcome.error, UsageError)
                assert outcome.size == (0, 0)
            else:
                assert outcome.error is None
                assert (side != 8) or middles(result)[0][0] == pytest.approx(number % 7 + 0.5)
                assert result.tiles == (1 if side == 8 else 16)
            assert source.pulled - number <= bound
            del outcome, result
            assert source.alive <= source.pulled - number
            if side > 8:  # a handful of large pictures, however large the batches
                assert source.alive <= 2 * 4 + 2
    assert source.alive == 0


def test_what_the_source_raises_comes_after_the_results_before_it() -> None:
    source, found = Source(26, fails_at=5), []
    with pytest.raises(RuntimeError, match="the camera is gone"):
        found.extend(detector().stream(source, **TILES))
    assert [one.tiles for one in found] == [16] * 5


@pytest.mark.slow
def test_what_the_network_raises_ends_the_stream() -> None:
    one = detector()

    def at(number: int) -> None:
        if number == 6:
            raise RuntimeError("out of memory")

    one.runtime.at = at
    source, found = Source(26), []
    with pytest.raises(RuntimeError, match="out of memory"):
        found.extend(one.stream(source, **TILES))
    assert len(found) == 1
    gc.collect()
    assert source.alive == 0


def test_a_closed_stream_pulls_no_more() -> None:
    source = Source(26)
    stream = detector().stream(source, **TILES)
    assert next(stream).tiles == 16
    pulled = source.pulled
    stream.close()
    assert source.pulled == pulled
    assert source.alive == 0


def test_a_part_that_cannot_be_read_is_an_error_of_its_picture_alone(monkeypatch: Any) -> None:
    pixels = PictureInMemory.pixels

    def torn(self: PictureInMemory, window: Any) -> Any:
        part = pixels(self, window)
        if part[0, 0, 0] == 13:
            raise BadFile("tile 7 of the file is torn")
        return part

    monkeypatch.setattr(PictureInMemory, "pixels", torn)
    damaged = PICTURE.copy()
    damaged[6, 12] = 13  # the corner of a tile in the midst
    one = detector(max_batch=8)
    outcomes = [o for o, _ in one.outcomes([PICTURE, damaged, PICTURE], tiling=Tiling(8, 8, 0.25))]
    assert [o.error is None for o in outcomes] == [True, False, True]
    assert str(outcomes[1].error) == "tile 7 of the file is torn"
    assert len(outcomes[0].detections) == len(outcomes[2].detections) == 5
    assert len(outcomes[1].detections) == 0


def test_what_is_known_of_a_file_at_its_end_is_an_error_of_its_picture(monkeypatch: Any) -> None:
    closed: list[int] = []

    @contextmanager
    def opened(picture: np.ndarray, *reading: Any) -> Iterator[PictureInMemory]:
        try:
            yield PictureInMemory(picture)
        finally:
            closed.append(len(picture))
        if len(picture) == 23:
            raise BadFile("no 16 bits after all")

    monkeypatch.setattr("ssd_small.detection.tiled.open_windows", opened)
    given = [PICTURE, PICTURE[:23], PICTURE[:22]]
    outcomes = [o for o, _ in detector().outcomes(given, tiling=Tiling(8, 8, 0.25))]
    assert [str(o.error or "") for o in outcomes] == ["", "no 16 bits after all", ""]
    assert closed == [24, 23, 22]
    # whoever stops in between closes what is open
    stream = detector(workers=4).stream([PICTURE[:22]] * 9, **TILES)
    next(stream)
    stream.close()
    assert set(closed[3:]) == {22}
    assert 1 < len(closed[3:]) < 9


def test_more_candidates_than_can_be_merged_are_an_error_of_their_picture(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("ssd_small.detection.tiled.MOST_ROWS", 9)
    bright = np.full((24, 40, 3), 255, np.uint8)
    params = PostprocessParams(0.25, 0.3, pre_nms_topk=0)
    one = Detector(SpottingRuntime(params))
    outcomes = [o for o, _ in one.outcomes([bright, PICTURE], tiling=Tiling(8, 8, 0))]
    assert "raise the score threshold" in str(outcomes[0].error)
    assert len(outcomes[1].detections) == 5


def test_views_are_told_as_they_are_done() -> None:
    told: list[SeenView] = []
    one = detector(max_batch=4)
    tiling = Tiling(8, 8, 0.25, whole=True)
    list(one.outcomes([PICTURE], tiling=tiling, seen=told.append))
    assert [view.window for view in told] == list(tiling.windows(24, 40))
    assert {view.views for view in told} == {29}
    assert [view.conf[:, 1].max() > 10 for view in told[:3]] == [True, True, False]


def test_pictures_are_handed_over_where_they_are_asked_for() -> None:
    outcome, _ = next(detector().outcomes(PICTURE, tiling=Tiling(8, 8), keep_pixels=True))
    assert outcome.pixels is not None
    np.testing.assert_array_equal(outcome.pixels, PICTURE)


def test_an_engine_with_nms_inside_for_good_is_refused_and_told_what_to_build() -> None:
    one = detection_doubles.detector()
    with pytest.raises(UsageError, match=r"decode \+ NMS inside.*build-engine .*heads"):
        one(detection_doubles.picture(3), tiles=(3, 3))
    assert len(one(detection_doubles.picture(3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 0.2}, "overlap goes with tiles"),
        ({"whole": True}, "whole goes with tiles"),
        ({"object_size": 20}, "object_size goes with tiles"),
        ({"tiles": (8, 8), "object_size": 20}, "object_size goes with tiles auto"),
        ({"tiles": "automatic"}, "tiles 'automatic': expected width and height"),
        ({"tiles": (8,)}, r"tiles \(8,\): expected width and height"),
        ({"tiles": 8}, "tiles 8: expected width and height"),
        ({"tiles": (0, 8)}, r"tiles \(0, 8\): expected width and height"),
        ({"tiles": (8.5, 8)}, r"tiles \(8.5, 8\): expected width and height"),
        ({"tiles": (8, 8), "overlap": 1.0}, "overlap 1: expected a share"),
        ({"tiles": (8, 8), "overlap": "a"}, "overlap 'a': expected a number"),
        ({"tiles": (8, 8), "overlap": float("nan")}, "overlap nan: expected a number"),
        ({"tiles": "auto"}, "does not record how large the objects"),
        ({"tiles": "auto", "object_size": 20}, "give the tile in pixels"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        detector()(PICTURE, **options)
