"""Arrays handed from process to process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler

import numpy as np
import numpy.typing as npt
import pytest

from ssd_small.training.unnamed_memory import SentArrays

ARRAYS: list[npt.NDArray[np.generic]] = [
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.zeros((0, 4), np.float32),
    np.array([True, False, True]),
    np.arange(12, dtype=np.int64).reshape(3, 4).T,
    np.array(7.5),
]


@contextmanager
def sent(arrays: list[npt.NDArray[np.generic]], *, lives: bool = True) -> Iterator[bytes]:
    """Arrays as another process sends them; it lives meanwhile, or has ended by then."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def send() -> None:
        theirs.send_bytes(ForkingPickler.dumps(SentArrays(arrays)))
        if lives:
            theirs.recv()

    process = context.Process(target=send)
    process.start()
    content = ours.recv_bytes()
    if not lives:
        process.join()
    try:
        yield content
    finally:
        ours.send(None)
        process.join()


def received(content: bytes) -> list[npt.NDArray[np.generic]]:
    arrays: list[npt.NDArray[np.generic]] = ForkingPickler.loads(content).arrays()
    return arrays


def assert_as_sent(found: list[npt.NDArray[np.generic]]) -> None:
    assert len(found) == len(ARRAYS)
    for one, expected in zip(found, ARRAYS, strict=True):
        assert (one.dtype, one.shape) == (expected.dtype, expected.shape)
        assert np.array_equal(one, expected)
        assert one.flags.writeable
        assert one.flags.aligned


def test_arrays_of_every_shape_come_as_they_were_sent_and_outlive_the_sender() -> None:
    with sent(ARRAYS) as content:
        found = received(content)
    assert_as_sent(found)
    with sent([]) as content:
        assert received(content) == []


def test_without_memory_as_a_file_a_removed_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with sent(ARRAYS) as content:
        assert_as_sent(received(content))


def test_what_travels_is_small() -> None:
    with sent([np.zeros(1 << 20)]) as content:
        assert len(content) < 1000


def test_a_process_that_is_gone_is_an_error_and_no_wait() -> None:
    with sent(ARRAYS, lives=False) as content:
        handed_over = ForkingPickler.loads(content)
    with pytest.raises((OSError, EOFError)):
        handed_over.arrays()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are not listed here")
def test_no_file_stays_open() -> None:
    held = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with sent(ARRAYS) as content:
            received(content)
    assert len(os.listdir("/proc/self/fd")) <= held
