"""Work in threads beside the source of its items: in order, bounded, as soon as it is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from detection_doubles import stream_threads

from ssd_small.pictures.ahead import map_beside


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("window", [1, 2, 6])
def test_results_are_in_order_and_items_under_way_are_bounded(workers: int, window: int) -> None:
    given = 0

    def source() -> Iterator[int]:
        nonlocal given
        for number in range(30):
            given += 1
            yield number

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    for number, result in enumerate(map_beside(work, source(), workers=workers, window=window)):
        assert result == number * number
        assert given - number <= window + 1
    assert number == 29
    assert stream_threads() == []


def test_a_result_that_is_there_waits_for_no_item() -> None:
    seen = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        assert seen.wait(10), "the next item was waited for"
        yield 1

    results = map_beside(lambda number: number, source(), workers=2, window=50)
    assert next(results) == 0
    seen.set()
    assert list(results) == [1]


def test_what_work_raises_is_raised_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="three"):
        found.extend(map_beside(work, range(100), workers=2, window=4))
    assert found == [0, 1, 2]
    assert stream_threads() == []


def test_what_the_source_raises_comes_after_the_results_before_it() -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no more")

    def work(number: int) -> int:
        time.sleep(0.01)
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="no more"):
        found.extend(map_beside(work, source(), workers=1, window=8))
    assert found == [0, 1, 2]


def test_closing_it_ends_the_threads_and_starts_nothing_more() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        return number

    with closing(map_beside(work, range(100), workers=1, window=10)) as results:  # type: ignore[type-var]
        next(results)
    assert len(begun) <= 10
    seen = len(begun)
    time.sleep(0.05)
    assert len(begun) == seen
    assert stream_threads() == []
