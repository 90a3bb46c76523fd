"""Compare `eval` and `detect` end to end with the bare network: pace, processor time, memory.

    python benchmarks/bench_eval.py [--models NAME...] [--seconds 30] [--go-on]
        [--output benchmarks/results/eval_cpu.json]

The engines are ONNX Runtime's, ending in the heads: full-width networks with random weights whose
scores are spread like a trained detector's. The bare network runs on prepared batches. In
`evaluate`, the same engine reads and decodes files, resizes, runs, decodes boxes, suppresses,
collects and scores; in `detect`, it writes a line of JSON per picture, with and without pictures of
the boxes. All this is in the same process, with the same batch and threads, and once in two
instances that share the threads. They take turns; a ratio is the median over the turns. Opening the
engine and reading the annotations is not included.

Decoding and post-processing overlap with the network, but on a CPU they share its cores: what they
take, the network lacks. So each stage's processor time is also measured alone, and ``at most`` is
the network's share of their sum, which no overlapping can exceed if the network uses all cores.
Before timing, the detections of both detectors are compared bit by bit with those of the stages
run one after the other. ``--go-on`` adds networks to the results of an earlier run, so that several
short runs are possible; a command's peak memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from eval_contenders import (
    BATCH,
    HEIGHT,
    STAGES,
    WIDTH,
    Contest,
    first_of,
    write_engine,
    write_pictures,
)

import ssd_small
from ssd_small.bench.disturbance import Watch
from ssd_small.datasets.coco import Annotations, read_boxes_alone
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.registry import list_models

ROOT = Path(__file__).resolve().parents[1]
#: pictures of a turn: as many as the bare network does in a while, but not fewer
LEAST, TURN_SECONDS = 8, 2.0
INSTANCES = 2
#: the command in this process, with what Linux says of its memory last; what is known of a child
#: counts the parent that it was forked from
_TELLS_PEAK = """
import atexit, runpy, sys
say = lambda: [sys.stderr.write(one) for one in open("/proc/self/status") if "VmHWM" in one]
atexit.register(say)
runpy.run_module("ssd_small", run_name="__main__")
"""


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    started, before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - before


def measure(
    engine: Path, truth: Annotations, folder: Path, threads: int, seconds: float
) -> dict[str, Any]:
    """A row of the table: turns of all contenders until the seconds are over, three at least."""
    each, most = max(1, threads // INSTANCES), {"max_batch": BATCH}
    with (
        tempfile.TemporaryDirectory(prefix="ssd-small-") as drawn,
        ssd_small.load(engine, threads=threads, **most) as detector,
        ssd_small.load(engine, threads=each, instances=INSTANCES, **most) as second,
    ):
        few = Contest(detector, second, first_of(truth, BATCH), folder, Path(drawn))
        few.bare()
        per_batch, _ = timed(few.bare)
        batches = int(TURN_SECONDS / per_batch)
        number = int(np.clip(batches * BATCH, LEAST, len(truth.images)))
        contest = Contest(detector, second, first_of(truth, number), folder, Path(drawn))
        contest.check()
        for work in few.works.values():
            work()
        names = list(contest.works)
        watch, started = Watch(), time.perf_counter()
        turns, stages = [], []
        while len(turns) < 3 or time.perf_counter() - started < seconds:
            backwards = -1 if len(turns) % 2 else 1
            order = names[::backwards]
            turns.append([timed(contest.works[name]) for name in order][::backwards])
            stages.append(contest.stages())
        workers = detector.workers
        about = {"model": detector.description.model, "runtime": detector.runtime.name}
    # [turn, contender, wall or processor]
    table = np.array(turns)
    bare, evaluated = names.index("bare"), names.index("eval")
    ratios = table[:, bare, None] / table
    spent = {name: float(np.median([one[name] for one in stages])) for name in stages[0]}
    spent["network"] = float(1e3 * np.median(table[:, bare, 1]) / number)
    return {
        **about,
        "batch": BATCH,
        "workers": workers,
        "pictures": number,
        "turns": len(turns),
        "candidates_per_picture": contest.candidates,
        "detections_per_picture": sum(map(len, contest.expected)) / number,
        "bare_images_per_second": float(number / np.median(table[:, bare, 0])),
        "eval_images_per_second": float(number / np.median(table[:, evaluated, 0])),
        **_ratio(ratios[:, evaluated, 0]),
        "processor_ratio": float(np.median(ratios[:, evaluated, 1])),
        "detect": {
            name: {
                "images_per_second": float(number / np.median(table[:, place, 0])),
                **_ratio(ratios[:, place, 0]),
            }
            for place, name in enumerate(names)
            if place not in (bare, evaluated)
        },
        "processor_ms": {name: round(spent[name], 4) for name in STAGES},
        "at_most": spent["network"] / sum(spent.values()),
        "peak_mb": peaks(engine, truth, folder, number, threads),
        "disturbance": watch.seen().to_dict(),
    }


def _ratio(of_turns: Any) -> dict[str, Any]:
    low, high = float(of_turns.min()), float(of_turns.max())
    return {"ratio": float(np.median(of_turns)), "ratio_range": [low, high]}


def peaks(
    engine: Path, truth: Annotations, folder: Path, number: int, threads: int
) -> dict[str, int]:
    """Most megabytes that commands have in memory, with pictures of the folder."""
    paths = [str(folder / image["file_name"]) for image in truth.images[:number]]
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        few = json.loads((folder / "truth.json").read_text())
        few["images"] = few["images"][:number]
        ids = {image["id"] for image in few["images"]}
        few["annotations"] = [box for box in few["annotations"] if box["image_id"] in ids]
        annotations = Path(temporary) / "truth.json"
        annotations.write_text(json.dumps(few))
        common = ["--engine", str(engine), "--threads", str(threads), "--batch", str(BATCH)]
        scored = ["--annotations", str(annotations), "--images", str(folder)]
        commands = {
            "detect": ["detect", *paths, *common, "--json"],
            "detect_drawn": ["detect", *paths, *common, "--json", "-o", f"{temporary}/drawn"],
            "detect_instances": ["detect", *paths, *common, "--json", "--instances", "2"],
            "eval": ["eval", *common, *scored, "--json"],
        }
        return {name: peak_of(command) for name, command in commands.items()}


def peak_of(arguments: list[str]) -> int:
    """Megabytes of memory that a command of ours has had at most."""
    command = [sys.executable, "-c", _TELLS_PEAK, *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stderr.decode()}")
    return round(int(done.stderr.split()[-2]) / 1e3)


def main() -> None:
    """Measure each network, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list_models())
    parser.add_argument("--seconds", type=float, default=30.0, help="for each network")
    parser.add_argument("--pictures", type=int, default=256, help="at most")
    parser.add_argument("--threads", type=int, default=describe_machine()["cores"])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--go-on", action="store_true", help="keep what the output holds of others")
    default = ROOT / "benchmarks/results/eval_cpu.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.go_on:
        before = json.loads(arguments.output.read_text())["results"]
        rows += [one for one in before if one["model"] not in arguments.models]
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        folder = Path(temporary)
        truth = read_boxes_alone(write_pictures(folder, arguments.pictures))
        sizes = [(folder / image["file_name"]).stat().st_size for image in truth.images]
        report = {
            "machine": describe_machine(),
            "commit": commit_of(ROOT),
            "threads": arguments.threads,
            "width": arguments.width,
            "picture": {"width": WIDTH, "height": HEIGHT, "mean_bytes": round(np.mean(sizes))},
            "results": rows,
        }
        for model in arguments.models:
            engine = write_engine(model, folder, arguments.width)
            rows.append(measure(engine, truth, folder, arguments.threads, arguments.seconds))
            engine.unlink()
            own = {"eval": rows[-1], **rows[-1]["detect"]}
            said = ", ".join(f"{name} {row['ratio']:.3f}" for name, row in own.items())
            print(f"{model}: of the bare network {said}; {rows[-1]['peak_mb']} MB", flush=True)
            rows.sort(key=lambda one: list_models().index(one["model"]))
            write_json(arguments.output, report)


if __name__ == "__main__":
    main()
