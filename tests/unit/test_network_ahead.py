"""A batch is in the network while the one before it is handed over; nothing else changes by it."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest
from detection_doubles import MadeUpRuntime, detector, number_of, picture, stream_threads

from ssd_small.detection import pipeline
from ssd_small.detection.detector import Detector
from ssd_small.detection.inference import Inference
from ssd_small.detection.pipeline import batch_from_levels, detect
from ssd_small.errors import UsageError
from ssd_small.pictures.decoded import Decoded
from ssd_small.pictures.preprocessing import (
    Preprocessing,
    input_from_image,
    inputs_from_levels,
)
from ssd_small.postprocess import Detections
from ssd_small.runtimes.base import HeadOutputs

PICTURES = [picture(number) for number in range(8)]
NO_PICTURE = np.zeros((2, 2, 7), np.uint8)


class _Held(MadeUpRuntime):
    """Ends in heads; has the first of its batches of two until the second one is put together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(max_batch=2)
        self.description = self.description.with_decode_nms(False)
        self.together, self.second = threading.Event(), threading.Event()
        batches: list[int] = []

        def put_together(levels, runtime, spent):  # type: ignore[no-untyped-def]
            batches.append(len(levels))
            if len(batches) == 2:
                self.together.set()
            return batch_from_levels(levels, runtime, spent)

        monkeypatch.setattr(pipeline, "batch_from_levels", put_together)

    def infer_batch(self, images):  # type: ignore[no-untyped-def]
        self.batches.append(len(images))
        if len(self.batches) == 1:
            assert self.together.wait(10)
        else:
            self.second.set()
        priors = len(self.description.priors)
        shape = (len(images), priors)
        return HeadOutputs(np.zeros((*shape, 4), np.float32), np.zeros((*shape, 3), np.float32))


def test_the_next_batch_is_in_the_network_while_one_is_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = _Held(monkeypatch)
    with closing(Detector(runtime, workers=2).stream(PICTURES)) as stream:
        next(stream)
        assert runtime.second.wait(10), "the second batch waits for the first one's outcomes"
        assert len(list(stream)) == 7


def test_post_processing_goes_on_beside_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = _Held(monkeypatch)
    beside: list[bool] = []

    def postprocess(self: Inference, heads: HeadOutputs) -> list[Detections]:
        beside.append(runtime.second.wait(10))
        return [Detections.empty() for _ in heads.loc]

    monkeypatch.setattr(Inference, "postprocess", postprocess)
    assert len(Detector(runtime, workers=2)(PICTURES)) == 8
    assert beside[0], "the second batch waits for the first one's decode + NMS"


@pytest.mark.parametrize("batch_size", [1, 2])
def test_results_do_not_wait_for_pictures_that_are_slow_to_read(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a pipe that is written to once the results before are known."""
    seen, in_time = threading.Event(), []

    def read(given: np.ndarray, *rest: object) -> Decoded:
        if given[0, 0, 0] == batch_size:
            in_time.append(seen.wait(10))
        return Decoded(given)

    monkeypatch.setattr(pipeline, "decoded_from_picture", read)
    stream = detector(max_batch=batch_size).stream(PICTURES)
    for number, found in enumerate(stream):
        assert number_of(found) == number
        if number == batch_size - 1:
            seen.set()
    assert in_time == [True]


def test_what_befalls_a_reading_thread_comes_after_the_results_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(given: np.ndarray, *rest: object) -> Decoded:
        if given[0, 0, 0] == 3:
            raise MemoryError("no room")
        return Decoded(given)

    monkeypatch.setattr(pipeline, "decoded_from_picture", read)
    found: list[int] = []
    stream = detector(max_batch=2).stream(PICTURES)
    with pytest.raises(MemoryError, match="no room"):
        found.extend(map(number_of, stream))
    assert found == [0, 1, 2]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_outcomes_before_an_error_of_the_network_are_handed_over(
    workers: int, batch_size: int
) -> None:
    runtime = MadeUpRuntime(max_batch=batch_size)

    def at(number: int) -> None:
        if number == 2:
            raise RuntimeError("out of memory")

    runtime.at = at
    found: list[int] = []
    inference = Inference(runtime, runtime.description.postprocess)
    outcomes = detect(inference, PICTURES, batch_size=batch_size, workers=workers)
    with pytest.raises(RuntimeError, match="out of memory"):
        found.extend(number_of(outcome.detections) for outcome in outcomes)
    assert found == list(range(2 * batch_size))
    assert stream_threads() == []


@pytest.mark.parametrize("period", [1, 2, 4, 9])
def test_pictures_in_the_network_are_among_those_that_are_bounded(period: int) -> None:
    """Unreadable pictures lengthen a batch, of which two are under way."""
    pulled = 0

    def source():  # type: ignore[no-untyped-def]
        nonlocal pulled
        for number in range(300):
            pulled += 1
            yield picture(number % 250) if number % period == 0 else NO_PICTURE

    outcomes = detector(max_batch=3, workers=16).outcomes(source())
    for number, (outcome, found) in enumerate(outcomes):
        assert (outcome.error is None) == (number % period == 0)
        assert outcome.error is not None or number_of(found) == number % 250
        assert pulled - number <= 4 * 3 + 16
    assert number == 299


class _AtWork(MadeUpRuntime):
    """Tells whether it was freed while it was at work."""

    at_work = freed_at_work = False

    def infer_batch(self, images):  # type: ignore[no-untyped-def]
        self.at_work = True
        time.sleep(0.05)
        found = super().infer_batch(images)
        self.at_work = False
        return found

    def close(self) -> None:
        self.freed_at_work |= self.at_work
        super().close()


@pytest.mark.parametrize("first", ["stream", "detector"])
def test_an_engine_is_not_freed_while_it_is_at_work(first: str) -> None:
    runtime = _AtWork(max_batch=1)
    one = Detector(runtime, workers=1)
    stream = one.stream(PICTURES)
    next(stream)
    begun = len(runtime.batches)
    if first == "stream":
        stream.close()
        assert not runtime.at_work
        assert len(runtime.batches) <= begun + 1
        one.close()
    else:
        one.close()
        with pytest.raises(UsageError, match="closed"):
            list(stream)
    assert not runtime.freed_at_work
    assert stream_threads() == []


def test_a_single_picture_needs_no_thread() -> None:
    one, threads = detector(), set()
    one.runtime.at = lambda number: threads.add(threading.get_ident())
    one(picture(1))
    assert threads == {threading.get_ident()}
    one(PICTURES)
    assert len(threads) == 2  # the network has one thread for all of its batches


@pytest.mark.parametrize("std", [(1.0, 1.0, 1.0), (58.4, 1.0, 57.1)])
@pytest.mark.parametrize("order", ["BGR", "RGB"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_batch_has_the_bits_of_the_formula(
    std: tuple[float, float, float], order: str, kind: type
) -> None:
    """(level - mean) / std of each channel, rounded to float32 twice."""
    preprocessing = Preprocessing(5, 7, order, std=std)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (3, 5, 7, 3)).astype(kind)
    if kind == np.float32:
        levels *= np.float32(0.77)
    mean = np.array(preprocessing.mean, np.float32)
    turned = levels[..., ::-1] if order == "RGB" else levels
    expected = (turned.astype(np.float32) - mean) / np.array(std, np.float32)
    made = inputs_from_levels(list(levels), preprocessing)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, expected.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_network_is_given_what_one_picture_alone_becomes(batch_size: int) -> None:
    given: list[np.ndarray] = []

    class Remembers(MadeUpRuntime):
        def infer_batch(self, images):  # type: ignore[no-untyped-def]
            given.extend(images)
            return super().infer_batch(images)

    runtime = Remembers(max_batch=batch_size)
    Detector(runtime, workers=2)(PICTURES)
    for own, one in zip(given, PICTURES, strict=True):
        alone = input_from_image(one, runtime.description.preprocessing)
        np.testing.assert_array_equal(own, alone)
