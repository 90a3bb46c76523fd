"""The folder of a job: which job it belongs to, which shards are done, and adding a shard.

``job.json`` identifies the job, ``shards/NNNNN.parquet`` (or ``.jsonl``) hold the rows,
``records/NNNNN.json`` the counts and errors of a shard, ``records/NNNNN.npy`` the unrounded boxes
and scores of its rows. A shard is done when all its files exist, of which the rows are written
last. Files are written completely or not at all, whenever a process is killed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import BadFile, UsageError
from ...files import atomic_output, check_writable
from ...json_files import json_bytes, read_json
from ...system.locks import held
from ...system.temporary import remove_leftovers
from .job import Job
from .shard import Classes, ShardResult

_JOB, _LOCK = "job.json", ".ssd-small-batch.lock"
#: files that a killed process may leave before ``job.json`` is written
_LEFTOVER = re.compile(r"\.ssd-small-.*")


class JobFolder:
    """The folder of one job.

    Attributes:
        path: path of the folder.
        fingerprint: fingerprint of the job.
        rows: format of the rows.
        shards: total number of shards.
    """

    def __init__(self, path: Path, fingerprint: str, rows: str, shards: int) -> None:
        self.path, self.fingerprint, self.rows, self.shards = path, fingerprint, rows, shards

    @property
    def errors(self) -> Path:
        """File with a line for each picture without a result."""
        return self.path / "errors.jsonl"

    @property
    def results(self) -> Path:
        """File of COCO results."""
        return self.path / "results.json"

    @property
    def summary(self) -> Path:
        """File with the totals of the whole job; written last."""
        return self.path / "summary.json"

    def rows_of(self, index: int) -> Path:
        """File of the rows of a shard."""
        return self.path / "shards" / f"{index:05}.{self.rows}"

    def record_of(self, index: int) -> Path:
        """File of the counts and errors of a shard."""
        return self.path / "records" / f"{index:05}.json"

    def exact_of(self, index: int) -> Path:
        """File of the boxes and scores of a shard's rows, neither clipped nor rounded."""
        return self.path / "records" / f"{index:05}.npy"

    def check(self, *, resume: bool) -> None:
        """Check that the folder is new, or belongs to this job and is resumed; changes nothing.

        Raises:
            UsageError: it is not; the message says why, and what to do.
            OutputError: the folder cannot be written to.
        """
        own = self._job()
        if own is None:
            if (other := self._foreign()) is not None:
                raise UsageError(
                    f"{self.path} holds {other}, which is of no job of ssd-small batch; choose an "
                    "empty or new --output"
                )
        elif own.get("fingerprint") != self.fingerprint:
            raise UsageError(
                f"{self.path} holds another job (other engine, options or pictures); choose an "
                "empty or new --output"
            )
        elif not resume:
            raise UsageError(
                f"{self.path} holds this very job, {self._state()}; pass --resume to go on with "
                "it, or choose another --output"
            )
        check_writable(self.summary)

    @contextmanager
    def at_work(self, *, resume: bool) -> Iterator[None]:
        """Be the only process that writes here, for the duration of the block.

        Raises:
            LockHeld: another process is.
            UsageError: see :meth:`check`, as when another process has been here first.
        """
        with held(self.path / _LOCK, self.path):
            self.check(resume=resume)
            for folder in (self.path, self.rows_of(0).parent, self.record_of(0).parent):
                remove_leftovers(folder)
            yield

    def begin(self, job: Job, classes: Classes, pictures: int, shard_size: int) -> None:
        """Write ``job.json``, the first file of the job."""
        about = asdict(job)
        del about["engine"]  # a path, which may differ when resuming
        about |= {"pictures": pictures, "shards": self.shards, "shard_size": shard_size}
        about |= {"classes": list(classes.names), "background_label": classes.background_label}
        write_durably(
            self.path / _JOB,
            json_bytes({"fingerprint": self.fingerprint, **about}),
        )

    def classes(self) -> Classes | None:
        """The meaning of the labels; None before :meth:`begin`."""
        own = self._job()
        if own is None:
            return None
        return Classes(tuple(own["classes"]), own["background_label"])

    def missing(self) -> list[int]:
        """Indices of the shards that are not done."""
        return [i for i in range(self.shards) if not self._is_done(i)]

    def put(self, result: ShardResult) -> None:
        """Write the files of a shard; writing it again changes nothing.

        Raises:
            OutputError: there is no space or no permission; the shard then does not count as done.
        """
        record = {
            "pictures": result.pictures,
            "detections": result.detections,
            "errors": [{"image": image, "error": error} for image, error in result.errors],
        }
        write_durably(self.record_of(result.index), json_bytes(record))
        write_durably(self.exact_of(result.index), result.exact)
        write_durably(self.rows_of(result.index), result.content)

    def record(self, index: int) -> dict[str, Any]:
        """Counts and errors of a shard that is done.

        Raises:
            BadFile: the file is damaged.
        """
        found: dict[str, Any] = read_json(self.record_of(index), "a record of ssd-small batch")
        return found

    def _is_done(self, index: int) -> bool:
        files = self.rows_of(index), self.record_of(index), self.exact_of(index)
        return all(path.is_file() for path in files)

    def _state(self) -> str:
        if self.summary.exists():
            return "complete"
        missing = len(self.missing())
        return f"{self.shards - missing} of {self.shards} shards done"

    def _job(self) -> dict[str, Any] | None:
        """Content of ``job.json``: None if there is none, empty if it is damaged."""
        path = self.path / _JOB
        if not path.is_file():
            return None
        try:
            found = read_json(path, "a job of ssd-small batch")
        except BadFile:
            return {}
        return found if isinstance(found, dict) else {}

    def _foreign(self) -> str | None:
        """Name of a foreign file in the folder; None if there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(self.path)):
                if not _LEFTOVER.fullmatch(name):
                    return name
        return None


def write_durably(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, even if the machine loses power.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_output(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def line_of_error(entry: dict[str, Any]) -> bytes:
    """A line of ``errors.jsonl``."""
    return f"{json.dumps({'image': entry['image'], 'error': entry['error']})}\n".encode()
