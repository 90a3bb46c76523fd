"""Several instances of an engine: batches at once, results in order, nothing freed at work."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from detection_doubles import MadeUpRuntime, number_of, picture, stream_threads

from ssd_small.detection.detector import Detector
from ssd_small.errors import UsageError
from ssd_small.pictures.tiles import Tiling
from ssd_small.runtimes.several import SeveralRuntimes, open_instances, threads_of_each

PICTURES = [picture(number) for number in range(40)]
#: a small network that ends in its heads
ONNX_FILE = Path(__file__).parents[1] / "artefacts" / "data" / "format-1" / "heads.onnx"
NO_PICTURE = np.zeros((2, 2, 7), np.uint8)


class _Meeting(MadeUpRuntime):
    """Works until so many are at work at the same time, at most a while."""

    def __init__(self, barrier: threading.Barrier | None = None, max_batch: int = 2) -> None:
        super().__init__(max_batch=max_batch)
        self.barrier, self.at_work, self.freed_at_work = barrier, 0, False
        self.most_at_work = 0

    def infer_batch(self, images):  # type: ignore[no-untyped-def]
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        if self.barrier is not None and not self.barrier.broken:
            self.barrier.wait(10)
        # results do not come in the order in which they are asked for
        time.sleep(0.002 * (len(self.batches) % 3))
        found = super().infer_batch(images)
        self.at_work -= 1
        return found

    def close(self) -> None:
        self.freed_at_work |= self.at_work > 0
        super().close()


@pytest.mark.slow
@pytest.mark.parametrize("instances", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_results_are_those_of_one_in_their_order(instances: int, batch_size: int) -> None:
    given = [NO_PICTURE if n % 7 == 3 else one for n, one in enumerate(PICTURES)]
    runtimes = [_Meeting(max_batch=batch_size) for _ in range(instances)]
    outcomes = list(Detector(SeveralRuntimes(runtimes), workers=2).outcomes(given))
    usual = list(Detector(_Meeting(max_batch=batch_size), workers=2).outcomes(given))
    for (outcome, found), (same, expected) in zip(outcomes, usual, strict=True):
        assert (outcome.error is None) == (same.error is None)
        assert np.array_equal(found.boxes, expected.boxes)
        if outcome.error is None:
            assert number_of(found) == number_of(expected)
    # batches are the same, whoever has run them
    assert sum(len(one.batches) for one in runtimes) == -(-34 // batch_size)
    assert all(one.most_at_work == 1 for one in runtimes if one.batches)


def test_batches_are_in_all_instances_at_once() -> None:
    barrier = threading.Barrier(3)
    runtimes = [_Meeting(barrier) for _ in range(3)]
    detector = Detector(SeveralRuntimes(runtimes), workers=2)
    # three batches of two, each of which waits for the two others
    assert [number_of(found) for found in detector.stream(PICTURES[:6])] == list(range(6))
    assert [len(one.batches) for one in runtimes] == [1, 1, 1]


@pytest.mark.parametrize("period", [1, 2, 9])
def test_pictures_under_way_are_bounded(period: int) -> None:
    pulled = 0

    def source():  # type: ignore[no-untyped-def]
        nonlocal pulled
        for number in range(200):
            pulled += 1
            yield picture(number % 250) if number % period == 0 else NO_PICTURE

    runtime = SeveralRuntimes([_Meeting(max_batch=3) for _ in range(3)])
    for number, _ in enumerate(Detector(runtime, workers=16).outcomes(source())):
        assert pulled - number <= 6 * 3 + 16
    assert number == 199


def test_what_one_raises_comes_after_the_results_before_it() -> None:
    runtimes = [_Meeting(max_batch=1) for _ in range(2)]
    seen = iter(range(100))

    def at(number: int) -> None:
        if next(seen) >= 5:
            raise RuntimeError("out of memory")

    for one in runtimes:
        one.at = at
    found: list[int] = []
    with pytest.raises(RuntimeError, match="out of memory"):
        found.extend(map(number_of, Detector(SeveralRuntimes(runtimes)).stream(PICTURES)))
    # of the sixth and seventh batch, which run at once, either is the one that fails
    assert found in ([0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5])
    assert stream_threads() == []


@pytest.mark.parametrize("first", ["stream", "detector"])
def test_none_is_freed_while_it_is_at_work(first: str) -> None:
    runtimes = [_Meeting(max_batch=1) for _ in range(2)]
    one = Detector(SeveralRuntimes(runtimes), workers=1)
    with closing(one.stream(PICTURES)) as stream:  # type: ignore[type-var]
        next(stream)
        if first == "detector":
            one.close()
            with pytest.raises(UsageError, match="closed"):
                list(stream)
    one.close()
    one.close()
    assert not any(runtime.freed_at_work for runtime in runtimes)
    assert stream_threads() == []


def test_cores_are_shared_out_unless_threads_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert [threads_of_each(0, n) for n in (1, 2, 3, 8, 20)] == [0, 4, 2, 1, 1]
    assert threads_of_each(3, 4) == 3
    opened: list[int] = []

    def open_one(*, threads: int) -> MadeUpRuntime:
        opened.append(threads)
        return MadeUpRuntime()

    several = open_instances(open_one, 0, 2)
    assert (opened, several.instances) == ([4, 4], 2)
    assert open_instances(open_one, 0, 1).instances == 1
    for wrong in (0, -1, True, 1.0, "2"):
        with pytest.raises(UsageError, match="instances"):
            threads_of_each(0, wrong)  # type: ignore[arg-type]


def test_those_that_were_opened_are_closed_where_the_next_cannot_be() -> None:
    opened: list[MadeUpRuntime] = []

    class Counted(MadeUpRuntime):
        def close(self) -> None:
            closed.append(self)
            super().close()

    closed: list[MadeUpRuntime] = []

    def open_one(*, threads: int) -> MadeUpRuntime:
        if len(opened) == 2:
            raise UsageError("no room")
        opened.append(Counted())
        return opened[-1]

    with pytest.raises(UsageError, match="no room"):
        open_instances(open_one, 1, 3)
    assert closed == opened


def test_tiles_are_refused() -> None:
    detector = Detector(SeveralRuntimes([_Meeting(), _Meeting()]))
    with pytest.raises(UsageError, match="2 instances of the engine with tiles"):
        detector.outcomes(PICTURES, tiling=Tiling(4, 4))


def test_onnx_runtime_finds_the_same_bits_in_any_of_them() -> None:
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"needs {module}")
    import ssd_small

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (90, 120, 3)).astype(np.uint8) for _ in range(12)]
    with ssd_small.load(ONNX_FILE, threads=1, max_batch=2) as one:
        expected = one(pictures, score_threshold=0.1)
    with ssd_small.load(ONNX_FILE, threads=1, max_batch=2, instances=2) as two:
        assert two.runtime.instances == 2
        found = two(pictures, score_threshold=0.1)
    assert sum(map(len, expected)) > 0
    for own, other in zip(found, expected, strict=True):
        assert np.array_equal(own.boxes, other.boxes)
        assert np.array_equal(own.scores, other.scores)


def test_a_network_in_pytorch_has_one() -> None:
    pytest.importorskip("torch", reason="needs torch")
    import ssd_small

    with pytest.raises(UsageError, match="2 instances of a network in PyTorch"):
        ssd_small.load("digits/mobilenet_v1_s1l0", instances=2)
