"""``ssd-small batch``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CheckFailed, UsageError, quoted
from .options import (
    ADDRESS,
    FILE,
    FOLDER,
    Number,
    batch_option,
    json_option,
    max_pixels_option,
    note,
    print_json,
    progress_bar,
    say,
    score_threshold_option,
    threads_option,
)
from .tiles_options import asked_of_tiles, check_tiles_of, tiles_options

if TYPE_CHECKING:
    from ..datasets.coco import Annotations
    from ..serving.jobs.in_process import Workers
    from ..serving.jobs.job import Job
    from ..serving.jobs.run import Plan, Watch

_LOCAL = "local"
_ADDRESS = re.compile(r"local|auto|ray://.+|[^/]+:[0-9]+")


class _RayAddress(click.Command):
    """--ray with a value or without: a picture that comes after it is none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, an address after --ray taken for one and nothing else."""
        told = []
        for place, word in enumerate(args):
            if word == "--":
                told += args[place:]
                break
            follows = args[place + 1 : place + 2]
            plain = word == "--ray" and not (follows and _ADDRESS.fullmatch(follows[0]))
            told.append(f"--ray={_LOCAL}" if plain else word)
        return super().parse_args(ctx, told)


@click.command(cls=_RayAddress)
@click.argument("engine", type=FILE)
@click.argument("sources", nargs=-1, required=True, type=ADDRESS, metavar="SOURCE...")
@click.option("--output", "-o", type=FOLDER, required=True, help="Folder of the job.")
@click.option(
    "--format",
    "rows",
    type=click.Choice(["parquet", "jsonl"]),
    default="parquet",
    show_default=True,
    help="Format of the files with rows.",
)
@click.option("--coco", is_flag=True, help="Also write DIR/results.json, COCO results.")
@click.option(
    "--annotations", type=FILE, help="For --coco: ground truth in COCO format, whose ids are used."
)
@click.option(
    "--shard-size",
    type=click.IntRange(1, 1_000_000),
    default=128,
    show_default=True,
    help="Pictures per file of rows, the unit of work.",
)
@click.option(
    "--max-errors",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Exit 1 if more pictures cannot be read.",
)
@click.option("--resume", is_flag=True, help="Continue the unfinished job in DIR.")
@click.option(
    "--ray",
    metavar="[ADDRESS]",
    help="Run on Ray: all cores of this machine, or the cluster at ADDRESS (host:port, auto).",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 100_000),
    help="With --ray: number of engines. Default: one per core, or as many as the GPUs hold.",
)
@click.option(
    "--gpus-per-worker",
    type=Number(0, 64, min_open=True),
    help="With --ray: GPUs per engine, or a fraction of one (0.25).",
)
@score_threshold_option("Write rows for scores above", "the engine's own threshold.")
@tiles_options
@batch_option
@max_pixels_option
@threads_option
@json_option
def command(
    engine: Path,
    sources: tuple[str, ...],
    output: Path,
    rows: str,
    coco: bool,
    annotations: Path | None,
    shard_size: int,
    max_errors: int,
    resume: bool,
    ray: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    thresholds: tuple[tuple[str | None, float], ...],
    batch: int | None,
    threads: int,
    as_json: bool,
    **network: Any,
) -> None:
    """Detect objects in any number of pictures, shard by shard, into files.

    ENGINE is an engine of 'ssd-small build-engine', an ONNX file or a checkpoint. A SOURCE is a
    picture, a folder, a pattern ('scans/*/*.png'), a list (.txt, a path on each line, or .parquet
    with a column "image" or "path"), or the address of one of these (s3://..., by fsspec).

    DIR/shards/NNNNN.parquet has a row per detection, DIR/errors.jsonl a line per picture that
    cannot be read, DIR/summary.json the totals. A killed job continues with --resume.
    """
    from ..requirements import require
    from ..serving.jobs.job import job_from_options
    from ..serving.jobs.rows import check_format
    from ..serving.jobs.run import run_job

    if ray is None:
        for name, value in (("workers", workers), ("gpus-per-worker", gpus_per_worker)):
            if value is not None:
                raise UsageError(f"--{name} goes with --ray, which starts several engines")
    elif not _ADDRESS.fullmatch(ray):
        raise UsageError(f"--ray {quoted(ray)}: expected host:port, auto or ray://host:port")
    if annotations is not None and not coco:
        raise UsageError("--annotations goes with --coco, whose results have its ids")
    asked = asked_of_tiles(network)
    check_format(rows)
    require("cv2", "reading images")
    check_tiles_of(asked, engine)
    job = job_from_options(str(engine), rows=rows, batch=batch, thresholds=thresholds, **asked)
    crew = _crew(job, threads, ray, workers, gpus_per_worker)
    plan = _plan(job, sources, output, shard_size, coco, annotations, resume)
    summary = run_job(plan, crew, resume=resume, watch=_watch())
    if as_json:
        print_json(summary)
    else:
        _print(summary, output)
    if summary["errors"] > max_errors:
        raise CheckFailed(
            f"{summary['errors']} of {summary['pictures']} pictures could not be read (more than "
            f"--max-errors {max_errors}); {plan.folder.errors} says why, the others are done"
        )


def _plan(
    job: Job,
    sources: tuple[str, ...],
    output: Path,
    shard_size: int,
    coco: bool,
    annotations: Path | None,
    resume: bool,
) -> Plan:
    """What is to be done, all that the user gave looked at."""
    from ..serving.jobs.folder import JobFolder
    from ..serving.jobs.job import shard_count
    from ..serving.jobs.manifest import images_from_sources
    from ..serving.jobs.run import Plan

    images, notes = images_from_sources(sources)
    for line in notes:
        note(f"note: {line}")
    shards = shard_count(images, shard_size)
    folder = JobFolder(output, job.fingerprint(images, shard_size), job.rows, shards)
    folder.check(resume=resume)
    truth = _truth(annotations, images) if coco else None
    return Plan(job, images, shard_size, folder, coco, truth)


def _truth(annotations: Path | None, images: list[str]) -> Annotations | None:
    from ..datasets.coco import read_annotations
    from ..serving.jobs.merging import check_images

    truth = None if annotations is None else read_annotations(annotations)
    check_images(images, truth)
    return truth


def _crew(
    job: Job, threads: int, ray: str | None, workers: int | None, gpus_per_worker: float | None
) -> AbstractContextManager[Workers]:
    """Who does it."""
    if ray is None:
        from ..serving.jobs.in_process import in_process

        return in_process(job, threads)
    from ..serving.jobs.on_ray import on_ray
    from ..serving.jobs.ray_cluster import Cluster, prepared

    address = None if ray == _LOCAL else ray
    cluster = Cluster(address, workers, gpus_per_worker, threads)
    prepared(cluster)
    return on_ray(job, cluster, lambda line: note(f"note: {line}"))


def _watch() -> Watch:
    from ..serving.jobs.run import Watch

    @contextmanager
    def begins(pictures: int) -> Iterator[Callable[[int], None]]:
        with progress_bar("batch", pictures) as bar:
            yield bar.update

    return Watch(lambda line: note(f"note: {line}"), begins)


def _print(summary: dict[str, Any], output: Path) -> None:
    seconds = summary["seconds"]
    pace = f"{summary['pictures'] / seconds:.1f} pictures/s" if seconds > 0.01 else "at once"
    say(
        f"{summary['pictures']} pictures, {summary['detections']} detections, "
        f"{summary['errors']} errors in {seconds:.1f} s ({pace}) -> {output}"
    )
