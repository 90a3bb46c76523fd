"""Measure ``ssd-small batch``: pace in one process and on Ray, kills, a model of many workers.

    python benchmarks/bench_batch.py [pace] [kills] [model] [--output benchmarks/results/batch.json]

Pace: the same pictures, shards and cores, timed warm from the first shard to the last, with engines
open and Ray running. Kills: SIGKILL of ``batch --ray``'s driver, worker or Ray's own raylet at
random moments, then ``--resume``, whose files must equal those of one process. Model: calculated
from the measured pace, not itself a measurement. Parts not named keep their figures. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ssd_small.json_files import read_json, write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.serving.jobs.folder import JobFolder
from ssd_small.serving.jobs.in_process import Workers, in_process
from ssd_small.serving.jobs.job import job_from_options, shard_count
from ssd_small.serving.jobs.manifest import images_from_sources
from ssd_small.serving.jobs.on_ray import on_ray
from ssd_small.serving.jobs.ray_cluster import Cluster
from ssd_small.serving.jobs.ray_keeper import processes_at
from ssd_small.serving.jobs.run import Plan, Watch, run_job
from ssd_small.serving.jobs.shard import ShardResult

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "digits/mobilenet_v1_s1l0"
PARTS = ("pace", "kills", "model")
#: of the model: a million pictures
PICTURES = 1_000_000
SIZES, WORKERS = (16, 128, 1024), (1, 10, 100, 1000)


def prepared(folder: Path, count: int) -> tuple[str, list[str]]:
    """An engine, and pictures of the digits data set."""
    onnx, engine = folder / "m.onnx", folder / "m.engine"
    for words in (
        ("export", "--weights", WEIGHTS, "-o", onnx),
        ("build-engine", onnx, "--target", "onnxruntime", "-o", engine),
        ("digits", folder / "digits", "--train-images", count, "--val-images", 1),
    ):
        subprocess.run([sys.executable, "-m", "ssd_small", *map(str, words)], check=True)
    return str(engine), images_from_sources([str(folder / "digits" / "train")])[0]


def timed(
    engine: str, images: list[str], size: int, crew: Callable[[Any], Any], out: Path
) -> dict[str, float]:
    """Seconds until the engines are open, of the shards, and after them."""
    shutil.rmtree(out, ignore_errors=True)
    how: dict[str, Any] = {"tiles": None, "overlap": None, "whole": False, "object_size": None}
    job = job_from_options(engine, rows="parquet", batch=None, thresholds=(), **how)
    marks = [time.perf_counter()]

    @contextmanager
    def begins(pictures: int) -> Iterator[Callable[[int], None]]:
        marks.append(time.perf_counter())
        yield lambda count: None
        marks.append(time.perf_counter())

    shards = shard_count(images, size)
    folder = JobFolder(out, job.fingerprint(images, size), "parquet", shards)
    workers: AbstractContextManager[Workers] = crew(job)
    run_job(Plan(job, images, size, folder), workers, resume=False, watch=Watch(print, begins))
    marks.append(time.perf_counter())
    names = ("start", "warm", "end")
    return {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}


def files(folder: Path) -> dict[str, bytes]:
    """What a job has written, but for the time it took."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    summary = json.loads(found["summary.json"])
    del summary["seconds"]
    return found | {"summary.json": json.dumps(summary).encode()}


def pace(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Warm seconds of both ways, in turn; and what a shard costs beside its pictures."""
    engine, images = prepared(folder, count)
    cores = len(os.sched_getaffinity(0))
    crews = {
        "in_process": lambda job: in_process(job, cores),
        "ray": lambda job: on_ray(job, Cluster(workers=cores, threads=1), print),
    }
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in crews}
    for _ in range(rounds):
        for name, crew in crews.items():
            seconds[name].append(timed(engine, images, 128, crew, folder / name))
            print(name, seconds[name][-1], os.getloadavg()[0], flush=True)
    if files(folder / "in_process") != files(folder / "ray"):
        sys.exit("one process and Ray have written other files")
    few = images[:128]
    one, many = (
        min(timed(engine, few, size, crews["in_process"], folder / "few")["warm"] for _ in "ab")
        for size in (128, 4)
    )
    result = ShardResult(0, b"x" * 400_000, b"x" * 500_000, 128, 0, ())
    target = JobFolder(folder / "put", "", "parquet", 1)
    began = time.perf_counter()
    for _ in range(50):
        target.put(result)
    put = (time.perf_counter() - began) / 50
    middle = {
        name: {part: statistics.median(run[part] for run in runs) for part in runs[0]}
        for name, runs in seconds.items()
    }
    return {
        "pictures": len(images),
        "cores": cores,
        "rounds": rounds,
        "seconds": seconds,
        "median": middle,
        "ratio": middle["ray"]["warm"] / middle["in_process"]["warm"],
        "seconds_per_shard": max(0.0, (many - one) / (32 - 1)),
        "seconds_per_put": put,
        "load": os.getloadavg()[0],
    }


def descendants(process: int) -> dict[int, str]:
    """Processes that a process has started, and those these have, with their names."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
                name = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            parents[int(entry.name)] = (int(status.split("PPid:")[1].split()[0]), name)
    found: dict[int, str] = {}
    frontier = {process}
    while frontier:
        frontier = {one for one, (parent, _) in parents.items() if parent in frontier}
        found |= {one: parents[one][1] for one in frontier}
    return found


def kills(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """So many kills, by turns of driver, worker and raylet."""
    engine, images = prepared(folder, 60)
    source = str(Path(images[0]).parent)
    batch = [sys.executable, "-m", "ssd_small", "batch", engine, source, "--shard-size", "2", "-o"]
    subprocess.run([*batch, str(folder / "whole")], check=True, stdout=subprocess.DEVNULL)
    whole = files(folder / "whole")
    random_numbers = random.Random(seed)
    victims = {"driver": " -m ssd_small batch", "worker": "ray::RayWorker", "raylet": "/raylet "}
    table = {
        name: {"kills": 0, "went_on": 0, "other_files": 0, "processes_left": 0, "failed": 0}
        for name in victims
    }
    for number in range(count):
        name = list(victims)[number % 3]
        row, out = table[name], folder / f"killed{number}"
        wanted = random_numbers.randrange(1, 25)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        ray = [*batch, str(out), "--ray", "--workers", "2"]
        with subprocess.Popen(ray, **pipes) as process:
            shards = out / "shards"
            while process.poll() is None and (
                not shards.is_dir() or len(list(shards.glob("*.parquet"))) < wanted
            ):
                time.sleep(0.01)
            own = descendants(process.pid)
            folders = {
                Path(os.readlink(one)).parents[2]
                for one in Path(f"/proc/{process.pid}/fd").iterdir()
                if "/session_" in os.readlink(one) and os.readlink(one).endswith(".log")
            }
            target = process.pid
            if name != "driver":
                target = next(p for p, line in own.items() if victims[name] in line)
            os.kill(target, signal.SIGKILL)
            _, said = process.communicate(timeout=200)
        row["kills"] += 1
        row["went_on"] += process.returncode == 0
        until = time.monotonic() + 5
        while any(map(processes_at, folders)) and time.monotonic() < until:
            time.sleep(0.1)
        row["processes_left"] += any(map(processes_at, folders))
        done = subprocess.run([*batch, str(out), "--resume"], capture_output=True, check=False)
        row["failed"] += done.returncode != 0
        row["other_files"] += done.returncode != 0 or files(out) != whole
        print(
            name,
            own.get(target, "")[:70],
            wanted,
            process.returncode,
            done.returncode,
            said[-200:],
            row,
            flush=True,
        )
        shutil.rmtree(out)
    return {"seed": seed, "pictures": len(images), "table": table}


def model(measured: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a million pictures with so many workers of a core each."""
    ray, cores = measured["median"]["ray"], measured["cores"]
    picture = ray["warm"] * cores / measured["pictures"]
    shard, put, cold = (
        measured["seconds_per_shard"],
        measured["seconds_per_put"],
        ray["start"],
    )
    rows = []
    for size in SIZES:
        for workers in WORKERS:
            shards = math.ceil(PICTURES / size)
            computing = math.ceil(shards / workers) * (size * picture + shard)
            writing = shards * put
            total = cold + max(computing, writing)
            rows.append(
                {
                    "shard_size": size,
                    "workers": workers,
                    "seconds": total,
                    "efficiency": PICTURES * picture / workers / total,
                    "bound": "writing" if writing > computing else "computing",
                }
            )
    constants = {"picture": picture, "shard": shard, "put": put, "cold": cold}
    return {"pictures": PICTURES, "constants": constants, "rows": rows}


def main() -> None:
    """Measure the parts that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="pace|kills|model")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/batch.json")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report = read_json(given.output, "figures of batch") if given.output.exists() else {}
    for part in given.parts or PARTS:
        with tempfile.TemporaryDirectory() as name:
            if part == "pace":
                report["pace"] = pace(Path(name), given.pictures, given.rounds)
            elif part == "kills":
                report["kills"] = kills(Path(name), given.kills, given.seed)
            else:
                report["model"] = model(report["pace"])
        report |= {"machine": describe_machine(), "commit": commit_of(ROOT)}
        write_json(given.output, report)


if __name__ == "__main__":
    main()
