"""Running a job, from its first missing shard to its summary."""

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
    """A job with its pictures and its outputs.

    Attributes:
        job: engine and options.
        images: paths and addresses of the pictures.
        shard_size: pictures per shard.
        folder: folder of all outputs.
        coco: whether to write COCO results too.
        truth: ground truth whose ids the results use; None for ids of their own.
    """

    job: Job
    images: Sequence[str]
    shard_size: int
    folder: JobFolder
    coco: bool = False
    truth: Annotations | None = None

    def shard(self, index: int) -> Shard:
        """The shard with this index."""
        start = index * self.shard_size
        return Shard(index, tuple(self.images[start : start + self.shard_size]))


@dataclass(frozen=True)
class Watch:
    """Functions that report progress.

    Attributes:
        note: called with a line for the user.
        begins: called with the number of pictures still to be done; its context provides a
            function that is called with the number of further pictures done.
    """

    note: Callable[[str], None]
    begins: Callable[[int], AbstractContextManager[Callable[[int], None]]]


def run_job(
    plan: Plan, workers: AbstractContextManager[Workers], *, resume: bool, watch: Watch
) -> dict[str, Any]:
    """Compute the missing shards, merge all, and return the content of ``summary.json``.

    Args:
        plan: the job.
        workers: context that provides the workers; not entered if nothing is missing.
        resume: whether the folder may already hold part of the job.
        watch: reports progress.

    Raises:
        UsageError: the folder belongs to another job.
        LockHeld: another process is working on it.
        OutputError: a file cannot be written; finished shards are kept.
        MissingRequirement: workers were lost repeatedly.
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
