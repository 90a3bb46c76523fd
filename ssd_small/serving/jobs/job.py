"""The definition of a job (engine, options, pictures) and the fingerprint that identifies it."""

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
    """Everything that the rows depend on, except the pictures; sent to each worker.

    Attributes:
        engine: path of the engine, ONNX file or checkpoint, or the name of a shipped one.
        engine_hash: SHA-256 over the files that belong to it.
        rows: format of the rows.
        batch: pictures per call; None: as many as the engine takes.
        thresholds: score thresholds by class name, None for all; empty: the engine's own.
        tiles, overlap, whole, object_size: see ``ssd-small detect``.
        max_pixels: largest number of pixels of a picture.
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
        """64 hexadecimal digits that are equal for two jobs if their rows are.

        The engine counts by the content of its files, not by their names; pictures count by their
        names, not by their content, since hashing them would take as long as reading them all.
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
        index: index of the shard, from 0.
        images: paths and addresses of its pictures.
    """

    index: int
    images: tuple[str, ...]


def shards_of(images: Sequence[str], size: int) -> Iterator[Shard]:
    """Divide pictures into shards of ``size``; the last may have fewer."""
    for index, start in enumerate(range(0, len(images), size)):
        yield Shard(index, tuple(images[start : start + size]))


def shard_count(images: Sequence[str], size: int) -> int:
    """The number of shards.

    Raises:
        UsageError: there would be more than :data:`MOST_SHARDS`.
    """
    count = -(-len(images) // size)
    if count > MOST_SHARDS:
        raise UsageError(
            f"--shard-size {size} makes {count} shards of {len(images)} pictures, at most "
            f"{MOST_SHARDS} are possible; ask for {-(-len(images) // MOST_SHARDS)} or more"
        )
    return count


def files_of_engine(engine: str) -> list[Path]:
    """The files that make up an engine: its own first, then its sidecar or weights."""
    shipped = find_shipped(engine)
    if shipped is not None:
        from ...detection.load import onnx_without_torch

        stand_in = onnx_without_torch(engine, {})
        return [shipped.path, shipped.labels_path] if stand_in is None else [stand_in]
    return [path for path in engine_inputs(Path(engine)) if path == Path(engine) or path.exists()]


def hash_of_engine(engine: str) -> str:
    """SHA-256 over the files of an engine.

    Raises:
        BadFile: a file cannot be read.
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
    """Create the job of an existing engine.

    Raises:
        BadFile: the engine cannot be read.
    """
    how: dict[str, Any] = {"tiles": tiles, "overlap": overlap, "whole": whole}
    how |= {"object_size": object_size, "max_pixels": most_pixels()}
    found = hash_of_engine(engine)
    return Job(engine, found, rows, batch, thresholds, **how)


def tiling_of_job(job: Job, detector: Detector) -> Tiling | None:
    """How the pictures of a job are cut into tiles; None if they are not.

    Raises:
        UsageError: the options conflict with each other or with this engine.
    """
    from ...detection.tiling import tiling_from_options

    tiles: Any = job.tiles
    return tiling_from_options(tiles, job.overlap, job.whole, job.object_size, detector.description)
