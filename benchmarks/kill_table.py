"""Kill commands at random moments, and see what they leave: the kill table.

    python benchmarks/kill_table.py [--kills 100] [--output benchmarks/results/kill_table.json]

After each kill every process of the command must be gone, its inputs untouched, and what lies
under the name of an output whole: it opens and parses, be it old or new. After SIGTERM, SIGHUP and
Ctrl-C nothing temporary may be there at once, after SIGKILL once the command was repeated to its
end. Exit 1 if any of this does not hold. Linux only; one core is enough.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ssd_small.datasets.digits import make_digits
from ssd_small.files import sha256_of, write_json
from ssd_small.machine import commit_of, describe_machine

ROOT = Path(__file__).resolve().parents[1]
MARK = "SSD_SMALL_KILL_TABLE"
#: of ten kills; the rest of the table is in the order of SIGNALS
SHARES = {signal.SIGKILL: 6, signal.SIGTERM: 2, signal.SIGHUP: 1, signal.SIGINT: 1}
#: seconds after the end of a command in which the kernel ends its children
AFTER = 1.0
#: seconds that a command takes at most to end once it was told to
TO_END = 5.0
FAULTS = ("half-written", "inputs changed", "processes left", "left behind", "wrong exit")


@dataclass(frozen=True)
class Case:
    """A command under test.

    Attributes:
        arguments: of ``ssd-small``; called for each run, for what they depend on what is there.
        outputs: names of what it writes, in the folder that it runs in.
        share: of the kills, relative to the others.
        code: exit code of a run that nobody kills.
        longest: seconds; kills come before, and none is repeated to its end. None: as long as a
            run takes.
        fresh: nothing of it is there before any kill; else before every second one.
    """

    arguments: Callable[[Path], Sequence[str]]
    outputs: tuple[str, ...]
    share: int = 12
    code: int = 0
    longest: float | None = None
    fresh: bool = False


NETWORK = ("--model", "mobilenet_v1", "--weights", "digits/mobilenet_v1")
TRUTH = ("--annotations", "data/val.json", "--images", "data/val")


def _train(folder: Path) -> Sequence[str]:
    """Twelve updates that two processes read pictures for; goes on where there is a beginning."""
    if (folder / "run" / "resume.pth").exists():
        return ("train", "--resume", "--output", "run")
    data = ("--annotations", "data/train.json", "--images", "data/train")
    val = ("--val-annotations", "data/val.json", "--val-images", "data/val")
    options = ("--batch", "4", "--epochs", "6", "--workers", "2", "--width", "0.1")
    return ("train", "--model", "mobilenet_v1", *data, *val, *options, "--output", "run")


def cases() -> dict[str, Case]:
    """Name to command."""
    build = ("build-engine", "m.onnx", "--target")
    csv_to_coco = ("convert", "--from", "csv", "boxes.csv")
    found = {
        "detect -o": Case(
            lambda _: ("detect", "--engine", "m.engine", "data/train", "-o", "drawn"), ("drawn",)
        ),
        "build-engine onnxruntime": Case(
            lambda _: (*build, "onnxruntime", "-o", "built.engine"),
            ("built.engine", "built.engine.json"),
        ),
        "export": Case(lambda _: ("export", *NETWORK, "-o", "out.onnx"), ("out.onnx",)),
        "export over its checkpoint": Case(
            lambda _: ("export", "--model", "mobilenet_v1", "--weights", "c.pth", "-o", "c.pth"),
            (),
            share=6,
            code=2,
        ),
        "digits": Case(
            lambda _: ("digits", "set", "--train-images", "30", "--val-images", "20"), ("set",)
        ),
        "eval --save-detections": Case(
            lambda _: ("eval", "--engine", "m.engine", *TRUTH, "--save-detections", "found.json"),
            ("found.json",),
        ),
        "train, resumed": Case(_train, ("run",), share=10, fresh=True),
        "convert": Case(
            lambda _: (*csv_to_coco, "--images", "data/train", "-o", "coco.json"),
            ("coco.json",),
        ),
        "demo": Case(lambda _: ("demo", "-o", "demo"), ("demo",), share=2, longest=15.0),
    }
    if find_spec("tensorrt_rtx") is not None:
        found["build-engine tensorrt-rtx"] = Case(
            lambda _: (*build, "tensorrt-rtx", "-o", "rtx.engine"),
            ("rtx.engine", "rtx.engine.json"),
        )
    return found


@dataclass
class Row:
    """What the kills of a command came to."""

    command: str
    kills: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def note(self, fault: str, detail: str) -> None:
        """Count a fault; the table's reader wants to know which."""
        self.faults[fault] += 1
        self.details.append(f"{self.command}: {fault}: {detail}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        faults = {name.replace(" ", "_").replace("-", "_"): self.faults[name] for name in FAULTS}
        return {
            "command": self.command,
            "kills": self.kills,
            "signals": dict(self.signals),
            **faults,
            "slowest_end_seconds": round(self.slowest, 2),
        }


class Workplace:
    """A folder with the inputs, and one for temporary files."""

    def __init__(self, root: Path) -> None:
        self.folder, self.temporary = root / "work", root / "temporary"
        for folder in (self.folder, self.temporary):
            folder.mkdir()
        self._mark = f"{MARK}={root}"
        self.environment = {
            **os.environ,
            MARK: str(root),
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
        }
        data = make_digits(self.folder / "data", train_images=8, val_images=4)
        coco = json.loads(data.train_annotations.read_text())
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        with (self.folder / "boxes.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            for one in coco["annotations"]:
                x, y, w, h = one["bbox"]
                name = coco["categories"][one["category_id"] - 1]["name"]
                rows.writerow((names[one["image_id"]], x, y, x + w, y + h, name))
        self.run("export", *NETWORK, "--preset", "coco", "-o", "m.onnx")
        self.run("build-engine", "m.onnx", "--target", "onnxruntime", "-o", "m.engine")
        shipped = ROOT / "ssd_small/assets/digits/mobilenet_v1.pth"
        shutil.copy(shipped, self.folder / "c.pth")
        self._inputs = self._hashes()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ssd_small", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> float:
        """Run a command to its end; seconds.

        Raises:
            SystemExit: it has not the exit code that is expected.
        """
        begun = time.monotonic()
        with self.start(*arguments) as process:
            _, err = process.communicate(timeout=600)
        if process.returncode != code:
            raise SystemExit(f"ssd-small {' '.join(arguments)}: exit {process.returncode}\n{err}")
        return time.monotonic() - begun

    def processes(self) -> list[int]:
        """What lives of the commands that were started here."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                environment = Path("/proc", entry, "environ").read_bytes()
                state = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
                if self._mark.encode() in environment.split(b"\0") and state not in "ZX":
                    found.append(int(entry))
        return found

    def changed_inputs(self) -> list[str]:
        """Inputs that are not what they were."""
        now = self._hashes()
        return [name for name, digest in self._inputs.items() if now.get(name) != digest]

    def left_behind(self, case: Case) -> list[str]:
        """What is neither an input nor an output."""
        outside = [p.name for p in self.temporary.iterdir()]
        inputs = {name.partition("/")[0] for name in self._inputs}
        known = {*inputs, *case.outputs}
        inside = [p.name for p in self.folder.iterdir() if p.name not in known]
        hidden = [str(p) for p in self.folder.rglob(".*")]
        return [*outside, *inside, *hidden]

    def half_written(self, case: Case) -> list[str]:
        """Outputs that do not open, with why."""
        faults = []
        for output in case.outputs:
            path = self.folder / output
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                if not file.exists() or file.name.startswith("."):
                    continue
                try:
                    _open(file)
                except Exception as error:  # of whatever reads it
                    faults.append(f"{file.relative_to(self.folder)}: {error}")
        if "set" in case.outputs and (self.folder / "set").exists():
            count = len(list((self.folder / "set").rglob("*.png")))
            faults += [] if count == 50 else [f"set: {count} of 50 pictures"]
        return faults

    def remove_outputs(self, case: Case) -> None:
        """As before the first run."""
        for output in case.outputs:
            path = self.folder / output
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)

    def _hashes(self) -> dict[str, str]:
        files = (p for p in self.folder.rglob("*") if p.is_file())
        known = getattr(self, "_inputs", None)
        named = ((str(p.relative_to(self.folder)), p) for p in files)
        return {name: sha256_of(path) for name, path in named if known is None or name in known}


def _open(path: Path) -> None:
    """Read a file to its end; raises if it is not whole."""
    if path.suffix == ".engine":
        from ssd_small.artefacts.sidecar import read_sidecar

        read_sidecar(path)
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix in (".png", ".jpg"):
        from PIL import Image

        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".onnx":
        import onnx

        onnx.checker.check_model(str(path))
    elif path.suffix == ".pth":
        import torch

        torch.load(path, weights_only=True)
    elif path.name == "history.csv":
        with path.open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert len({len(row) for row in rows}) == 1, "rows of different lengths"


def kill(place: Workplace, row: Row, case: Case, after: float, number: signal.Signals) -> None:
    """One kill, the looks after it, and the run that cleans up."""
    process = place.start(*case.arguments(place.folder))
    with process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(after)
        ran_out = process.poll() is not None
        process.send_signal(number)
        told = time.monotonic()
        _, err = process.communicate(timeout=120)
        row.slowest = max(row.slowest, time.monotonic() - told)
    row.kills += 1
    row.signals[number.name] += 1
    where = f"{number.name} after {after:.2f} s"
    survivors = place.processes()
    until = time.monotonic() + AFTER
    while survivors and time.monotonic() < until:
        time.sleep(0.02)
        survivors = place.processes()
    if survivors:
        row.note("processes left", f"{where}: {survivors}")
    if number != signal.SIGKILL:
        _judge_end(row, process.returncode, case, number, where, err, ran_out=ran_out)
        if left := place.left_behind(case):
            row.note("left behind", f"{where}: {left}")
    for fault, found in (
        ("inputs changed", place.changed_inputs()),
        ("half-written", place.half_written(case)),
    ):
        if found:
            row.note(fault, f"{where}: {found}")
    if case.longest is None:
        place.run(*case.arguments(place.folder), code=case.code)
        if left := place.left_behind(case):
            row.note("left behind", f"{where}, and repeated: {left}")


def _judge_end(
    row: Row, code: int, case: Case, number: int, where: str, err: str, *, ran_out: bool
) -> None:
    """Exit code and last words of a command that could clean up."""
    # -number: before Python was ready
    expected = {case.code, 128 + number, -number}
    if code not in expected or "Traceback" in err:
        row.note("wrong exit", f"{where}: {code}: {err[-400:]!r}")
    elif code == 128 + number and not ran_out and "ssd-small" not in err:
        row.note("wrong exit", f"{where}: {code} without a word")


def plan(total: int, chosen: dict[str, Case]) -> Iterator[tuple[str, int]]:
    """How many kills each command gets; all together at least ``total``."""
    shares = sum(case.share for case in chosen.values())
    for name, case in chosen.items():
        yield name, max(1, -(-total * case.share // shares))


def main() -> int:
    """Kill, print the table, write it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/kill_table.json")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=cases(), default=list(cases()))
    arguments = parser.parse_args()
    chosen = {name: case for name, case in cases().items() if name in arguments.commands}
    chance = random.Random(arguments.seed)
    numbers = [number for number, share in SHARES.items() for _ in range(share)]
    rows = []
    with tempfile.TemporaryDirectory() as root:
        place = Workplace(Path(root))
        for name, count in plan(arguments.kills, chosen):
            case, row = chosen[name], Row(name)
            longest = case.longest
            if longest is None:
                place.run(*case.arguments(place.folder), code=case.code)
                place.remove_outputs(case)  # the first run fills Python's and the system's caches
                longest = place.run(*case.arguments(place.folder), code=case.code)
            for index in range(count):
                if case.fresh or index % 2 == 0:
                    place.remove_outputs(case)
                # most of the first tenth is Python's own start
                after = chance.uniform(0.1, 1.0) * longest
                kill(place, row, case, after, chance.choice(numbers))
                print(f"{name}: {index + 1}/{count}", file=sys.stderr)
            place.remove_outputs(case)
            # a command that was not repeated leaves this to the next of them
            for path in place.temporary.iterdir() if case.longest is not None else ():
                shutil.rmtree(path, ignore_errors=True)
            rows.append(row)
    report = {
        "what": "commands killed at seeded random moments; after each kill: files under an "
        "output's name that do not open, inputs that changed, processes left after "
        f"{AFTER:g} s, temporary files left (after SIGKILL: once the command was repeated)",
        "seed": arguments.seed,
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "kills": sum(row.kills for row in rows),
        "commands": [row.to_dict() for row in rows],
    }
    write_json(arguments.output, report)
    print(_table(rows))
    details = [detail for row in rows for detail in row.details]
    for detail in details:
        print(detail, file=sys.stderr)
    return 1 if details else 0


def _table(rows: Sequence[Row]) -> str:
    lines: list[list[object]] = [
        [
            row.command,
            row.kills,
            " ".join(f"{count} {name[3:]}" for name, count in sorted(row.signals.items())),
            *(row.faults[name] for name in FAULTS),
            f"{row.slowest:.1f}",
        ]
        for row in rows
    ]
    total = [sum(row.faults[name] for row in rows) for name in FAULTS]
    lines.append(["all", sum(row.kills for row in rows), "", *total, ""])
    return str(tabulate(lines, headers=["command", "kills", "signals", *FAULTS, "slowest s"]))


if __name__ == "__main__":
    sys.exit(main())
