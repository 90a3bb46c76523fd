"""Computing a job's shards on a cluster, replacing workers that are lost, stuck or too slow.

Only the driver writes files, so that a shard computed by two workers is written once.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ... import errors
from ...errors import MissingRequirement, SsdSmallError, reason_from_exception
from .in_process import Seen, Workers
from .job import Job, Shard
from .ray_cluster import Cluster, Share, connected, share_of_worker
from .ray_worker import RayWorker, Ready, Refusal
from .shard import Classes, ShardResult

#: attempts at a shard, or at opening an engine
MOST_TRIES = 4
#: seconds between two checks of the workers
_LOOK = 0.5
#: seconds without any worker after which the user is told, and after which the job is given up
_TOLD, _GIVEN_UP = 30.0, 600.0
#: an idle worker also computes a shard that has taken _LAGS times the longest finished one, and the
#: worker of one that has taken _STANDS times as long is replaced; both after _LEAST seconds or more
_LAGS, _STANDS, _LEAST = 3.0, 20.0, 30.0


@dataclass(eq=False)
class _Worker:
    """A worker as seen by the driver.

    Attributes:
        actor: Ray's actor.
        name: its process; empty until it has opened its engine.
        shard: the shard that it computes; None while it opens its engine or is idle.
        since: when it began its current task.
    """

    actor: Any
    name: str = ""
    shard: Shard | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been at its current task."""
        return time.monotonic() - self.since


class _OnRay:
    """See :class:`~.in_process.Workers`."""

    classes: Classes

    def __init__(self, ray: Any, job: Job, share: Share, say: Callable[[str], None]) -> None:
        self._ray, self._job, self._share, self._say = ray, job, share, say
        how: dict[str, Any] = {"num_cpus": share.cpus, "num_gpus": share.gpus}
        # lost work is retried by us, with a message
        how |= {"max_restarts": 0, "max_task_retries": 0}
        self._actor = ray.remote(**how)(RayWorker)
        self._working: dict[Any, _Worker] = {}
        self._idle: deque[_Worker] = deque()
        self._openings = 0
        for _ in range(share.workers):
            self._hire()
        while not self._idle:
            self._look()

    def results(self, shards: Iterable[Shard], seen: Seen) -> Iterator[ShardResult]:
        """See :class:`~.in_process.Workers`; ``seen`` is called once per shard.

        Raises:
            MissingRequirement: shards were lost :data:`MOST_TRIES` times; all others are done.
        """
        self._source, self._exhausted = iter(shards), False
        self._again: deque[Shard] = deque()
        self._tries: dict[int, int] = {}
        self._done: set[int] = set()
        self._failed: list[int] = []
        self._longest = 0.0
        while True:
            self._assign()
            if self._exhausted and not self._again and not self._at_work():
                break
            for result in self._look():
                if result.index not in self._done:
                    self._done.add(result.index)
                    seen(result.pictures)
                    yield result
            self._replace_those_that_stand()
        if self._failed:
            named = ", ".join(f"{index:05}" for index in sorted(self._failed)[:5])
            more = ", ..." if len(self._failed) > 5 else ""
            raise MissingRequirement(
                f"{len(self._failed)} shards ({named}{more}) lost their workers {MOST_TRIES} times "
                "each, all others are done; see to the memory of the machines, and --resume"
            )

    def close(self) -> None:
        """End all workers, including busy ones."""
        for worker in (*self._idle, *self._working.values()):
            with suppress(Exception):
                self._ray.kill(worker.actor)

    def _hire(self) -> None:
        """Start another worker, which opens its engine."""
        worker = _Worker(self._actor.remote(os.getcwd(), self._share.threads))
        self._working[worker.actor.open.remote(self._job)] = worker

    def _assign(self) -> None:
        """Give each idle worker a shard: a lost one, the next, or one that another is slow at."""
        while self._idle:
            shard = self._next()
            if shard is None:
                return
            worker = self._idle.popleft()
            worker.shard, worker.since = shard, time.monotonic()
            self._working[worker.actor.run.remote(shard)] = worker

    def _next(self) -> Shard | None:
        while self._again:
            lost = self._again.popleft()
            if lost.index not in self._done:
                return lost
        if (shard := next(self._source, None)) is not None:
            return shard
        self._exhausted = True
        at_work = self._at_work()
        indices = [shard.index for _, shard in at_work]
        for worker, shard in at_work:
            index = shard.index
            if self._lags(worker, _LAGS) and index not in self._done and indices.count(index) == 1:
                self._say(
                    f"shard {index:05} has taken {worker.seconds:.0f} s of process {worker.name}; "
                    "another worker does it too"
                )
                return shard
        return None

    def _at_work(self) -> list[tuple[_Worker, Shard]]:
        """Workers and their current shards, except shards already done by others."""
        found = [(one, one.shard) for one in self._working.values() if one.shard is not None]
        return [(worker, shard) for worker, shard in found if shard.index not in self._done]

    def _look(self) -> list[ShardResult]:
        """Wait for workers briefly; return the results of shards that they have done."""
        if not self._working:
            time.sleep(_LOOK)
            return []
        self._check_patience()
        ready, _ = self._ray.wait(list(self._working), num_returns=1, timeout=_LOOK)
        found = []
        for one in ready:
            worker = self._working.pop(one)
            try:
                outcome = self._ray.get(one)
            except (MemoryError, self._ray.exceptions.RayError) as error:
                # the reason that the worker itself raised, without Ray's wrapping
                self._lost(worker, reason_from_exception(getattr(error, "cause", None) or error))
                continue
            if isinstance(outcome, Refusal):
                raise _error_from(outcome)
            if isinstance(outcome, Ready):
                self.classes, worker.name = outcome.classes, outcome.process
                self._openings = 0
            else:
                self._longest = max(self._longest, worker.seconds)
                found.append(outcome)
            worker.shard = None
            self._idle.append(worker)
        return found

    def _lost(self, worker: _Worker, reason: str) -> None:
        """Replace a lost worker, and queue its shard again."""
        shard = worker.shard
        if shard is None:
            self._openings += 1
            if self._openings >= MOST_TRIES * self._share.workers:
                raise MissingRequirement(
                    f"workers end while they open the engine ({reason}); see to the memory of the "
                    "machines, and that ssd-small is installed on each"
                )
            self._say(f"a worker ended while it opened the engine ({reason}); another one is made")
        elif shard.index not in self._done:
            tries = self._tries[shard.index] = self._tries.get(shard.index, 0) + 1
            what = f"shard {shard.index:05}: its worker, process {worker.name}, was lost ({reason})"
            if tries < MOST_TRIES:
                self._again.append(shard)
                self._say(f"{what}; it is tried again ({tries + 1} of {MOST_TRIES})")
            else:
                self._failed.append(shard.index)
                self._say(f"{what}; given up after {tries} times")
        with suppress(Exception):
            self._ray.kill(worker.actor)
        self._hire()

    def _lags(self, worker: _Worker, times: float) -> bool:
        return self._longest > 0 and worker.seconds > max(_LEAST, times * self._longest)

    def _replace_those_that_stand(self) -> None:
        """Replace stuck workers: one that is suspended or waits for a dead disk would never end."""
        for one, worker in list(self._working.items()):
            if worker.shard is not None and self._lags(worker, _STANDS):
                del self._working[one]
                self._lost(worker, "it stood still")

    def _check_patience(self) -> None:
        """Tell the user while no worker is ready, and eventually give up.

        Raises:
            MissingRequirement: no worker became ready.
        """
        opening = [worker for worker in self._working.values() if worker.shard is None]
        if self._idle or len(opening) < len(self._working):
            return
        waited = min(worker.seconds for worker in opening)
        if waited > _GIVEN_UP:
            raise MissingRequirement(
                f"no worker was ready after {_GIVEN_UP:.0f} s; the cluster may be busy, see 'ray "
                "status'"
            )
        if _TOLD < waited < _TOLD + 2 * _LOOK:
            self._say("waiting for the first worker; the cluster may be busy, see 'ray status'")


@contextmanager
def on_ray(job: Job, cluster: Cluster, say: Callable[[str], None]) -> Iterator[Workers]:
    """Compute a job on a cluster; ``say`` is called with a line for each retry.

    Raises:
        MissingRequirement: Ray is not installed or does not start, or workers end at once.
        SsdSmallError: the engine cannot be opened.
    """
    with connected(cluster) as ray:
        share = share_of_worker(ray, cluster)
        workers = _OnRay(ray, job, share, say)
        try:
            yield workers
        finally:
            workers.close()


def _error_from(refusal: Refusal) -> SsdSmallError:
    kind = getattr(errors, refusal.kind, SsdSmallError)
    error: SsdSmallError = kind(refusal.message)
    return error
