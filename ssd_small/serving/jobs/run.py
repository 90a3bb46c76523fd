"""A job from its first missing shard to its summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from ...datasets.coco import Annotations
from ...errors import BadFile
from .folder import JobFolder
from .in_process import Workers
from .job import Job, Shard
from .merging import (
    places_by_themselves,
    places_of_truth,
    write_coco,
    write_errors,
    write_summary,
)


@dataclass(frozen=True)
class Plan:
    """A job with its pictures and what is to be made of it.

    Attributes:
        job: engine and options.
        images: paths and addresses.
        shard_size: pictures in a shard.
        folder: where all is written.
        coco: write COCO results too.
        truth: whose ids these have; None for ids of their own.
    """

    job: Job
    images: Sequence[str]
    shard_size: int
    folder: JobFolder
    coco: bool = False
    truth: Annotations | None = None

    def shard(self, index: int) -> Shard:
        """The shard of this number."""
        start = index * self.shard_size
        return Shard(index, tuple(self.images[start : start + self.shard_size]))


@dataclass(frozen=True)
class Watch:
    """Who looks on.

    Attributes:
        note: takes a line for the user.
        begins: told how many pictures are still to be done.
        seen: told of so many pictures more.
    """

    note: Callable[[str], None]
    begins: Callable[[int], AbstractContextManager[Callable[[int], None]]]


def run_job(
    plan: Plan, workers: AbstractContextManager[Workers], *, resume: bool, watch: Watch
) -> dict[str, Any]:
    """Do what is missing, put all together; what ``summary.json`` holds.

    Args:
        plan: the job.
        workers: not entered where nothing is missing.
        resume: the folder may hold a part of it.
        watch: who looks on.

    Raises:
        UsageError: the folder is another job's.
        LockHeld: another process is at work on it.
        OutputError: a file cannot be written; shards that are there stay.
        MissingRequirement: workers were lost again and again.
    """
    started = time.perf_counter()
    folder = plan.folder
    with folder.at_work(resume=resume):
        missing = folder.missing()
        if missing or folder.classes() is None:
            _compute(plan, missing, workers, watch)
        totals = write_errors(folder)
        if plan.coco:
            _write_coco(plan, watch)
        return write_summary(folder, totals, time.perf_counter() - started)


def _compute(
    plan: Plan, missing: list[int], workers: AbstractContextManager[Workers], watch: Watch
) -> None:
    folder, images = plan.folder, len(plan.images)
    if len(missing) < folder.shards:
        watch.note(f"{folder.shards - len(missing)} of {folder.shards} shards are done already")
    with workers as open_workers:
        if folder.classes() is None:
            folder.begin(plan.job, open_workers.classes, images, plan.shard_size)
        shards = map(plan.shard, missing)
        pictures = sum(len(plan.shard(index).images) for index in missing)
        with watch.begins(pictures) as seen:
            results = open_workers.results(shards, seen)
            with closing(results):  # type: ignore[type-var]
                for result in results:
                    folder.put(result)


def _write_coco(plan: Plan, watch: Watch) -> None:
    images = list(plan.images)
    if plan.truth is None:
        write_coco(plan.folder, places_by_themselves(images))
        return
    classes = plan.folder.classes()
    if classes is None:
        raise BadFile(f"{plan.folder.path} lost its job.json; choose another --output")
    places, notes = places_of_truth(plan.truth, images, classes)
    for line in notes:
        watch.note(line)
    write_coco(plan.folder, places)
