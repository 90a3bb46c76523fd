"""Workers of a cluster that are lost, stand still or lag behind, over a double of Ray."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ssd_small.errors import BadFile, MissingRequirement
from ssd_small.serving.jobs import on_ray
from ssd_small.serving.jobs.job import Job, Shard
from ssd_small.serving.jobs.ray_cluster import Share
from ssd_small.serving.jobs.ray_worker import Ready, Refusal
from ssd_small.serving.jobs.shard import Classes, ShardResult

JOB = Job("x.engine", "0" * 64, "jsonl", None, (), None, None, False, None, 100)
READY = Ready(Classes(("cat",), 0), "1 of here")


class _Lost(Exception):
    """A worker is gone."""


class _Ray:
    """Calls are answered at once by ``answer(worker, shard)``; None: never."""

    exceptions = SimpleNamespace(RayError=_Lost)

    def __init__(self, answer: Callable[[int, Shard | None], object]) -> None:
        self.answer, self.made, self.killed = answer, 0, []
        self.answers: dict[object, object] = {}

    def remote(self, **resources: object) -> Callable[[type], Any]:
        assert resources["max_restarts"] == resources["max_task_retries"] == 0
        return lambda kind: SimpleNamespace(remote=self._actor)

    def _actor(self, folder: str, threads: int) -> Any:
        self.made += 1
        number = self.made

        def call(what: object) -> object:
            reference = object()
            self.answers[reference] = self.answer(number, what if isinstance(what, Shard) else None)
            return reference

        method = SimpleNamespace(remote=call)
        return SimpleNamespace(open=method, run=method, number=number)

    def wait(self, references: list[object], **how: object) -> tuple[list[object], list[object]]:
        ready = [one for one in references if self.answers[one] is not None]
        return ready[:1], []

    def get(self, reference: object) -> object:
        answer = self.answers[reference]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Any) -> None:
        self.killed.append(actor.number)


def _done(shard: Shard) -> ShardResult:
    return ShardResult(shard.index, b"", b"", len(shard.images), 0, ())


def _results(
    answer: Callable[[int, Shard | None], object], workers: int, count: int = 4
) -> tuple[list[int], list[str], int, Any]:
    """Shards that were done, lines that were said, pictures seen, and the fault at the end."""
    said: list[str] = []
    pictures = 0

    def seen(number: int) -> None:
        nonlocal pictures
        pictures += number

    done: list[int] = []
    fault = None
    try:
        crew = on_ray._OnRay(_Ray(answer), JOB, Share(workers, 1, 0, 1), said.append)
        assert crew.classes == READY.classes
        shards = [Shard(index, ("a", "b")) for index in range(count)]
        done.extend(one.index for one in crew.results(shards, seen))
    except (MissingRequirement, BadFile) as error:
        fault = error
    return done, said, pictures, fault


def test_all_shards_are_done_once() -> None:
    answer = lambda worker, shard: READY if shard is None else _done(shard)  # noqa: E731
    assert _results(answer, 2) == ([0, 1, 2, 3], [], 8, None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_always_loses_its_worker_is_given_up_after_all_others(workers: int) -> None:
    def answer(worker: int, shard: Shard | None) -> object:
        if shard is None:
            return READY
        return _Lost("gone") if shard.index == 1 else _done(shard)

    done: list[int] = []
    done, said, _, fault = _results(answer, workers)
    assert sorted(done) == [0, 2, 3]
    assert len(said) == 4
    assert "shard 00001: its worker, process 1 of here, was lost (gone)" in said[0]
    assert "(2 of 4)" in said[0]
    assert "given up after 4 times" in said[-1]
    assert "1 shards (00001) lost their workers 4 times" in str(fault)


def test_a_worker_that_is_lost_once_is_replaced() -> None:
    def answer(worker: int, shard: Shard | None) -> object:
        if shard is None:
            return READY
        return _Lost("gone") if worker == 1 else _done(shard)

    done, said, pictures, fault = _results(answer, 1)
    assert (sorted(done), len(said), pictures, fault) == ([0, 1, 2, 3], 1, 8, None)


def test_workers_that_end_while_they_open_the_engine_are_given_up() -> None:
    done, said, _, fault = _results(lambda worker, shard: _Lost("no memory"), 2)
    assert (done, len(said)) == ([], 7)
    assert "workers end while they open the engine (no memory)" in str(fault)


def test_an_engine_that_is_refused_is_not_tried_again() -> None:
    done, said, _, fault = _results(lambda worker, shard: Refusal("BadFile", "no engine"), 2)
    assert (done, said) == ([], [])
    assert isinstance(fault, BadFile)
    assert str(fault) == "no engine"


def test_what_lags_is_taken_over_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "_LEAST", 0.0)
    monkeypatch.setattr(on_ray, "_LAGS", 0.0)

    def answer(worker: int, shard: Shard | None) -> object:
        if shard is None:
            return READY
        return None if worker == 1 else _done(shard)  # which never answers

    done, said, pictures, fault = _results(answer, 2)
    assert (sorted(done), pictures, fault) == ([0, 1, 2, 3], 8, None)
    assert "another worker does it too" in said[0]


def test_what_stands_still_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "_LEAST", 0.0)
    monkeypatch.setattr(on_ray, "_STANDS", 0.0)

    def answer(worker: int, shard: Shard | None) -> object:
        if shard is None:
            return READY
        return None if shard.index == 2 and worker == 1 else _done(shard)

    done, said, _, fault = _results(answer, 1)
    assert (sorted(done), fault) == ([0, 1, 2, 3], None)
    assert "it stood still" in said[0]
