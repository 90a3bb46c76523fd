"""What a job is: engine, options, pictures; and by what it is known again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ...artefacts.outputs import engine_inputs
from ...errors import UsageError
from ...files import sha256_of
from ...models.shipped import find_shipped
from ...pictures.limits import most_pixels

if TYPE_CHECKING:
    from ...detection.detector import Detector
    from ...pictures.tiles import Tiling

FORMATS = ("parquet", "jsonl")
#: shards are numbered by five digits
MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Job:
    """All that its rows depend on but the pictures; goes to whoever computes a shard.

    Attributes:
        engine: path of the engine, ONNX file or checkpoint, or the name of a shipped one.
        engine_hash: SHA-256 over the files that belong to it.
        rows: format of the rows.
        batch: pictures per call; None: what the engine takes.
        thresholds: score thresholds by class name, None for all; empty: the engine's own.
        tiles, overlap, whole, object_size: see ``ssd-small detect``.
        max_pixels: of a picture.
    """

    engine: str
    engine_hash: str
    rows: str
    batch: int | None
    thresholds: tuple[tuple[str | None, float], ...]
    tiles: tuple[int, int] | str | None
    overlap: float | None
    whole: bool
    object_size: float | None
    max_pixels: int

    def fingerprint(self, images: Sequence[str], shard_size: int) -> str:
        """64 hexadecimal digits: two jobs have the same if their rows are.

        Of engine and pictures: the engine by what is in its files, not by their names; pictures by
        their names and not by what is in them, since a look at each takes as long as reading it.
        """
        digest = hashlib.sha256()
        about = asdict(self) | {"shard_size": shard_size, "version": __version__}
        del about["engine"]
        digest.update(json.dumps(about, sort_keys=True).encode())
        for image in images:
            digest.update(b"\0" + os.fsencode(image))
        return digest.hexdigest()


@dataclass(frozen=True)
class Shard:
    """A part of the pictures, the unit of work.

    Attributes:
        index: from 0.
        images: paths and addresses.
    """

    index: int
    images: tuple[str, ...]


def shards_of(images: Sequence[str], size: int) -> Iterator[Shard]:
    """The pictures in shards of ``size``; the last may have fewer."""
    for index, start in enumerate(range(0, len(images), size)):
        yield Shard(index, tuple(images[start : start + size]))


def shard_count(images: Sequence[str], size: int) -> int:
    """How many shards there are.

    Raises:
        UsageError: more than their names have digits for.
    """
    count = -(-len(images) // size)
    if count > MOST_SHARDS:
        raise UsageError(
            f"--shard-size {size} makes {count} shards of {len(images)} pictures, at most "
            f"{MOST_SHARDS} are possible; ask for {-(-len(images) // MOST_SHARDS)} or more"
        )
    return count


def files_of_engine(engine: str) -> list[Path]:
    """What an engine consists of: its file first, then its sidecar or weights."""
    shipped = find_shipped(engine)
    if shipped is not None:
        from ...detection.load import onnx_without_torch

        stand_in = onnx_without_torch(engine, {})
        return [shipped.path, shipped.labels_path] if stand_in is None else [stand_in]
    return [path for path in engine_inputs(Path(engine)) if path == Path(engine) or path.exists()]


def hash_of_engine(engine: str) -> str:
    """SHA-256 over the files of an engine.

    Raises:
        BadFile: one cannot be read.
    """
    hashes = [sha256_of(path, "expected an engine") for path in files_of_engine(engine)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def job_from_options(
    engine: str,
    *,
    rows: str,
    batch: int | None,
    thresholds: tuple[tuple[str | None, float], ...],
    tiles: tuple[int, int] | str | None,
    overlap: float | None,
    whole: bool,
    object_size: float | None,
) -> Job:
    """The job of an engine that is there.

    Raises:
        BadFile: it cannot be read.
    """
    how: dict[str, Any] = {"tiles": tiles, "overlap": overlap, "whole": whole}
    how |= {"object_size": object_size, "max_pixels": most_pixels()}
    found = hash_of_engine(engine)
    return Job(engine, found, rows, batch, thresholds, **how)


def tiling_of_job(job: Job, detector: Detector) -> Tiling | None:
    """How the pictures are cut.

    Raises:
        UsageError: options that do not go together, or with this engine.
    """
    from ...detection.tiling import tiling_from_options

    tiles: Any = job.tiles
    return tiling_from_options(tiles, job.overlap, job.whole, job.object_size, detector.description)
