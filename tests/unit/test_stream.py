"""Streams of pictures: lazy, bounded, in order, and let go of whatever happens to them."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest
from detection_doubles import MadeUpRuntime, detector, number_of, picture, stream_threads

from ssd_small.detection.detector import Detector
from ssd_small.errors import UsageError
from ssd_small.pictures.ahead import map_ahead

Numbers = list[int]
NO_PICTURE = np.zeros((2, 2, 7), np.uint8)


class Source:
    """Pictures numbered from 0; counts how far it was pulled and how many of them are alive.

    Args:
        length: of the source; by default far beyond what a test takes.
        unreadable: which of them are no pictures.
        at: called before a picture is made; may raise.
    """

    def __init__(
        self,
        length: int = 5000,
        unreadable: Callable[[int], bool] = lambda number: False,
        at: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.length, self.unreadable, self.at = length, unreadable, at
        self.pulled = 0
        self._made: list[weakref.ref[np.ndarray]] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        for number in range(self.length):
            self.at(number)
            made = NO_PICTURE.copy() if self.unreadable(number) else picture(number % 250)
            self.pulled += 1
            self._made.append(weakref.ref(made))
            yield made
            del made

    @property
    def alive(self) -> int:
        return sum(reference() is not None for reference in self._made)


def raises_at(number: int, error: BaseException) -> Callable[[int], None]:
    """What raises when its turn has come."""

    def at(turn: int) -> None:
        if turn == number:
            raise error

    return at


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    if stream_threads():
        gc.collect()  # a stream that an exception held on to
    assert stream_threads() == []


@pytest.mark.parametrize("workers", [1, 2, 16, 40])
@pytest.mark.parametrize("max_batch", [1, 2, 8])
def test_memory_is_bounded_while_results_come_in_order(max_batch: int, workers: int) -> None:
    source, bound = Source(), 4 * max_batch + 16
    with closing(detector(max_batch=max_batch, workers=workers).stream(source)) as stream:
        for number, found in zip(range(120), stream, strict=False):
            assert number_of(found) == number
            assert source.pulled - number <= bound
            # what was answered is let go
            assert source.alive <= source.pulled - number
    assert source.pulled < 120 + bound
    assert source.alive == 0


def test_unreadable_pictures_do_not_pile_up() -> None:
    for workers in (1, 16):
        source, found = Source(unreadable=lambda number: True), detector(workers=workers)
        with closing(found.outcomes(source)) as outcomes:
            for number, (outcome, result) in zip(range(200), outcomes, strict=False):
                assert isinstance(outcome.error, UsageError)
                assert len(result) == 0
                assert max(source.alive, source.pulled - number) <= 4 * 4 + 16
        assert found.runtime.batches == []
        del outcome
        assert source.alive == 0


def test_readable_pictures_fill_their_batches_past_unreadable_ones() -> None:
    found = detector(max_batch=4)
    outcomes = list(found.outcomes(Source(24, unreadable=lambda number: number % 3 == 1)))
    numbers = [None if o.error else number_of(result) for o, result in outcomes]
    assert numbers == [None if number % 3 == 1 else number for number in range(24)]
    assert found.runtime.batches == [4, 4, 4, 4]


def test_nothing_is_pulled_before_the_first_result_is_wanted() -> None:
    source = Source()
    stream = detector().stream(source)
    assert source.pulled == 0
    stream.close()
    assert source.pulled == 0
    assert list(stream) == []


def test_a_closed_stream_pulls_no_more() -> None:
    source = Source()
    stream = detector().stream(source)
    assert number_of(next(stream)) == 0
    stream.close()
    pulled = source.pulled
    time.sleep(0.05)
    assert source.pulled == pulled
    assert source.alive == 0
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.slow
def test_a_stream_that_nobody_holds_is_closed() -> None:
    source = Source()
    for found in detector().stream(source):
        assert number_of(found) == 0
        break
    del found
    gc.collect()
    assert source.alive == 0


@pytest.mark.parametrize("at", [0, 1, 3, 4, 10, 40])
@pytest.mark.parametrize("workers", [1, 16])
def test_what_the_source_raises_comes_after_the_results_before_it(at: int, workers: int) -> None:
    error = RuntimeError("the camera is gone")
    source = Source(at=raises_at(at, error))
    found: Numbers = []
    with pytest.raises(RuntimeError) as caught:
        found.extend(number_of(one) for one in detector(workers=workers).stream(source))
    assert caught.value is error
    assert found == list(range(at))


def test_an_unreadable_picture_is_raised_in_its_place() -> None:
    source = Source(unreadable=lambda number: number == 5)
    found: Numbers = []
    with pytest.raises(UsageError, match=r"shape \[2, 2, 7\]"):
        found.extend(number_of(one) for one in detector().stream(source))
    assert found == [0, 1, 2, 3, 4]
    assert source.pulled < 5 + 32


def test_what_the_network_raises_ends_the_stream() -> None:
    one = detector()
    one.runtime.at = raises_at(1, RuntimeError("out of memory"))
    found: Numbers = []
    with pytest.raises(RuntimeError, match="out of memory"):
        found.extend(map(number_of, one.stream(Source())))
    assert found == [0, 1, 2, 3]
    one.runtime.at = lambda number: None
    assert number_of(one(picture(7))[0]) == 7


@pytest.mark.slow
def test_an_exception_of_the_consumer_is_its_own() -> None:
    one, source = detector(), Source()

    def consume() -> None:
        for found in one.stream(source):
            if number_of(found) == 6:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        consume()
    gc.collect()
    assert source.alive == 0
    assert number_of(one(picture(8))[0]) == 8


@pytest.mark.parametrize("where", ["source", "network", "consumer"])
def test_ctrl_c_ends_a_stream_at_once(where: str) -> None:
    one = detector()
    strike = raises_at(9, KeyboardInterrupt())
    source = Source(at=strike if where == "source" else lambda number: None)
    if where == "network":
        one.runtime.at = raises_at(2, KeyboardInterrupt())
    found: Numbers = []

    def consume() -> None:
        for result in one.stream(source):
            found.append(number_of(result))
            if where == "consumer" and len(found) == 6:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert found == list(range({"source": 0, "network": 8, "consumer": 6}[where]))
    one.runtime.at = lambda number: None
    assert number_of(one(picture(3))[0]) == 3


def test_results_come_before_the_source_is_at_its_end() -> None:
    wanted = threading.Event()

    def at(number: int) -> None:
        # the window of a batch of one and one thread is three pictures
        if number > 3:
            assert wanted.wait(10), "the first result waits for the whole source"

    stream = detector(max_batch=1, workers=1).stream(Source(20, at=at))
    assert number_of(next(stream)) == 0
    wanted.set()
    assert [number_of(one) for one in stream] == list(range(1, 20))


def test_the_source_is_pulled_in_the_thread_of_the_consumer() -> None:
    threads: set[int] = set()
    source = Source(30, at=lambda number: threads.add(threading.get_ident()))
    assert len(list(detector().stream(source))) == 30
    assert threads == {threading.get_ident()}


def test_calling_gives_what_the_stream_gives() -> None:
    pictures = [picture(number) for number in range(10)]
    called = detector()(pictures, score_threshold={"cat": 0.6})
    streamed = list(detector().stream(iter(pictures), score_threshold={"cat": 0.6}))
    assert isinstance(called, list)
    assert [one.to_dict() for one in called] == [one.to_dict() for one in streamed]
    assert list(map(number_of, called)) == list(map(number_of, streamed)) == list(range(10))


def test_two_streams_of_one_detector_take_turns() -> None:
    one = detector()
    streams = [one.stream(Source(12)), one.stream(Source(12))]
    pairs = [(number_of(a), number_of(b)) for a, b in zip(*streams, strict=True)]
    assert pairs == [(number, number) for number in range(12)]


def test_two_detectors_serve_two_threads_at_once() -> None:
    found: dict[int, Numbers] = {}
    both = threading.Barrier(2, timeout=10)

    def work(index: int) -> None:
        one = detector(max_batch=2)
        one.runtime.at = lambda number: both.wait() and None
        found[index] = [number_of(r) for r in one.stream(Source(20))]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {0: list(range(20)), 1: list(range(20))}


def test_a_stream_ends_when_its_detector_is_closed() -> None:
    one = detector()
    stream = one.stream(Source())
    next(stream)
    one.close()
    with pytest.raises(UsageError, match="closed"):
        list(stream)
    with pytest.raises(UsageError, match="closed; load it again"):
        one.stream(Source())


def test_arguments_are_checked_before_anything_is_pulled() -> None:
    source = Source()
    for wrong in ({"score_threshold": 0.1}, {"score_threshold": {"bird": 0.9}}):
        with pytest.raises(UsageError):
            detector().stream(source, **wrong)
    with pytest.raises(UsageError, match="color"):
        detector().stream(source, color="rgb")
    assert source.pulled == 0


class _Slow(MadeUpRuntime):
    """Takes a hundredth of a second a batch."""

    def infer_batch(self, images):  # type: ignore[no-untyped-def]
        time.sleep(0.01)
        return super().infer_batch(images)


def test_the_seconds_spent_are_those_of_the_last_call() -> None:
    one = Detector(_Slow(), workers=2)
    stages = {"read", "preprocess", "network", "decode_nms"}
    assert one.spent == dict.fromkeys(stages, 0.0)
    for number in (12, 1):
        started = time.perf_counter()
        one([picture(1)] * number)
        elapsed = time.perf_counter() - started
        spent = one.spent
        assert set(spent) == stages
        # in batches of four
        assert 0.01 * (number // 4 or 1) <= spent["network"] <= elapsed
        assert spent["decode_nms"] == 0  # inside of the engine
        assert spent["preprocess"] > 0
    assert one([]) == []
    assert sum(one.spent.values()) == 0


def test_the_seconds_of_a_stream_grow_and_stay_after_an_error() -> None:
    one = Detector(_Slow(), workers=2)
    seen: list[float] = []
    source = Source(at=raises_at(10, RuntimeError("gone")))
    with pytest.raises(RuntimeError, match="gone"):
        seen.extend(one.spent["network"] for _ in one.stream(source))
    assert sorted(seen) == seen
    assert len(set(seen)) == 3  # of 4, 4 and 2 pictures
    assert one.spent["network"] == seen[-1] >= 0.03


def test_what_the_work_raises_is_raised_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number * number

    for workers in (0, 2):
        done: Numbers = []
        with pytest.raises(ValueError, match="three"):
            done.extend(map_ahead(work, iter(range(9)), workers=workers, window=4))
        assert done == [0, 1, 4]
