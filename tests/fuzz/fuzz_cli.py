"""Give the command line damaged inputs of every kind, and count how it fails.

    python tests/fuzz/fuzz_cli.py --inputs 1600 --seconds 540 --output build/fuzz-cli

Every input is made out of ``--seed``, its kind and its number, in a folder of its own; the command
runs in a fork of this process within limits of memory and time. What is wrong with how it ended is
said in ``fuzz_judge.py``. A failing input stays in ``--output`` with the command line that repeats
it. The exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import collections
import json
import shlex
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fuzz_case import Case, Generator
from fuzz_judge import faults
from fuzz_process import Ended, Running, load_libraries, start, start_next, wait_any
from kinds_adopt import adopted
from kinds_commands import environment, option_values, undamaged
from kinds_configs import config
from kinds_data import coco, csv, labels, results, sets, voc, yolo
from kinds_engines import description, engine, onnx_file, sidecar
from kinds_pictures import picture
from kinds_places import names, outputs
from kinds_videos import video
from kinds_weights import checkpoint, run, safetensors

#: kind -> what makes one, and its share of the inputs
KINDS: dict[str, tuple[Generator, int]] = {
    "pictures": (picture, 4),
    "videos": (video, 2),
    "COCO annotations": (coco, 4),
    "COCO results": (results, 2),
    "Pascal VOC": (voc, 3),
    "YOLO": (yolo, 3),
    "CSV": (csv, 2),
    "class names": (labels, 2),
    "sets of years": (sets, 2),
    "checkpoints": (checkpoint, 4),
    "safetensors": (safetensors, 2),
    "training runs": (run, 2),
    "configurations": (config, 3),
    "ONNX": (onnx_file, 4),
    "ONNX of other projects": (adopted, 3),
    "engines": (engine, 3),
    "sidecars": (sidecar, 3),
    "descriptions, timing caches": (description, 2),
    "names": (names, 3),
    "outputs": (outputs, 2),
    "options": (option_values, 4),
    "environments": (environment, 1),
    "undamaged": (undamaged, 1),
}


@dataclass
class Count:
    """What became of the inputs of one kind: by exit code, and how many failed."""

    kind: str
    tried: int = 0
    fine: int = 0
    check_failed: int = 0
    refused_2: int = 0
    refused_3: int = 0
    refused_4: int = 0
    failed: int = 0
    distinct: set[str] = field(default_factory=set)

    def add(self, ended: Ended, failed: bool) -> None:
        """One more."""
        self.tried += 1
        self.distinct.add(f"{ended.case.command}: {ended.case.change}")
        names = {0: "fine", 1: "check_failed", 2: "refused_2", 3: "refused_3", 4: "refused_4"}
        name = "failed" if failed else names.get(ended.code, "fine")
        setattr(self, name, getattr(self, name) + 1)

    @property
    def row(self) -> dict[str, object]:
        """For a report."""
        return {k: len(v) if isinstance(v, set) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Failure:
    """An input that failed: its kind and number, the command line, what was wrong."""

    key: str
    kind: str
    command: str
    change: str
    faults: list[str]


def plan(kinds: list[str], inputs: int) -> list[tuple[str, int]]:
    """Kind and number of each input, the kinds mixed by their shares."""
    order: list[tuple[float, str, int]] = []
    total = sum(KINDS[kind][1] for kind in kinds)
    for kind in kinds:
        count = max(1, round(inputs * KINDS[kind][1] / total))
        order += [((number + 0.5) / count, kind, number) for number in range(count)]
    return [(kind, number) for _, kind, number in sorted(order)]


class Fuzzer:
    """Runs inputs, several at a time, and counts."""

    def __init__(self, seed: int, output: Path, jobs: int) -> None:
        self._seed, self._jobs = seed, jobs
        self._work = output / "work"
        self._saved = output / "failures"
        self.counts: dict[str, Count] = {}
        self.failures: list[Failure] = []
        self.commands: collections.Counter[str] = collections.Counter()
        self.seconds: collections.Counter[str] = collections.Counter()
        self._keys: dict[Path, tuple[str, str]] = {}

    def run(self, planned: list[tuple[str, int]], seconds: float) -> None:
        """Try what is planned until it is done, or the time is over."""
        end = time.monotonic() + seconds
        running: list[Running] = []
        waiting = list(reversed(planned))
        while (waiting and time.monotonic() < end) or running:
            while len(running) < self._jobs and waiting and time.monotonic() < end:
                kind, number = waiting.pop()
                folder = self._work.resolve() / f"{number}-{''.join(filter(str.isalnum, kind))}"
                shutil.rmtree(folder, ignore_errors=True)
                key = f"{self._seed}:{kind}:{number}"
                self._keys[folder] = (kind, key)
                running.append(start(KINDS[kind][0], key, folder))
            one, ended = wait_any(running)
            self.seconds[self._keys[one.folder][0]] += int(1000 * (time.monotonic() - one.started))
            following = self._ended(one, ended)
            if following is not None:
                running.append(following)

    def _ended(self, one: Running, ended: Ended) -> Running | None:
        found = faults(ended, one.folder)
        self.commands[ended.case.command] += not one.follows
        if not found and not one.follows and ended.code == 0 and ended.case.then:
            return start_next(ended.case, one.folder)
        kind, key = self._keys.pop(one.folder)
        self.counts.setdefault(kind, Count(kind)).add(ended, bool(found))
        beside = [
            one.folder.parent / f"{one.folder.name}.{end}"
            for end in ("out", "err", "case", "before")
        ]
        if found:
            self.failures.append(self._save(one.folder, kind, key, ended, found, beside))
        for path in beside:
            path.unlink(missing_ok=True)
        shutil.rmtree(one.folder, ignore_errors=True)
        return None

    def _save(
        self, folder: Path, kind: str, key: str, ended: Ended, found: list[str], beside: list[Path]
    ) -> Failure:
        target = self._saved / folder.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in beside:
            shutil.copy(path, target / path.name.rpartition(".")[2])
        command = command_line(ended.case, ended.arguments)
        text = (
            f"# {key}\n# {found}\n# in the folder made by: fuzz_cli.py --only {shlex.quote(key)}\n"
        )
        said = f"{text}{command}\n".encode("utf-8", "backslashreplace")
        (target / "command.sh").write_bytes(said)
        shutil.copytree(folder / "in", target / "in", symlinks=True)
        return Failure(key, kind, command, ended.case.change, found)


def command_line(case: Case, arguments: tuple[str, ...]) -> str:
    """What is typed in the folder of a case."""
    variables = [
        f"-u {name}" if value is None else f"{name}={shlex.quote(value)}"
        for name, value in case.environment.items()
    ]
    before = ["env", *variables] if variables else []
    return " ".join([*before, "ssd-small", *map(shlex.quote, arguments)])


def table(counts: list[Count]) -> str:
    """The counts as a text table, with a line for all."""
    from tabulate import tabulate

    names = ("tried", "fine", "check_failed", "refused_2", "refused_3", "refused_4", "failed")
    rows = [[count.kind, *(getattr(count, name) for name in names)] for count in counts]
    rows.append(["all", *(sum(getattr(one, name) for one in counts) for name in names)])
    headers = ("kind", "tried", "exit 0", "exit 1", "exit 2", "exit 3", "exit 4", "failed")
    return tabulate(rows, headers, disable_numparse=True)


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=570.0, help="no input starts after them")
    parser.add_argument("--inputs", type=int, default=1600)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--only", metavar="SEED:KIND:NUMBER", help="repeat one input")
    parser.add_argument("--output", type=Path, default=Path("build/fuzz-cli"))
    parser.add_argument("--json", type=Path, help="also write the counts here")
    given = parser.parse_args()
    load_libraries()
    seed, planned = given.seed, plan(given.kinds, given.inputs)
    if given.only:
        first, kind, number = given.only.split(":")
        seed, planned = int(first), [(kind, int(number))]
    shutil.rmtree(given.output / "failures", ignore_errors=True)
    started = time.monotonic()
    fuzzer = Fuzzer(seed, given.output, given.jobs)
    fuzzer.run(planned, given.seconds)
    counts = [fuzzer.counts[kind] for kind in given.kinds if kind in fuzzer.counts]
    for failure in fuzzer.failures:
        line = f"{failure.key}: {failure.faults[0]}\n    {failure.command}\n    {failure.change}"
        print(line.encode("ascii", "backslashreplace").decode()[:1500])
    print(table(counts))
    elapsed = time.monotonic() - started
    tried = sum(count.tried for count in counts)
    print(f"seed {seed}, {tried} of {len(planned)} inputs in {elapsed:.0f} s")
    if given.json:
        from ssd_small.machine import describe_machine

        report = {
            "machine": describe_machine(),
            "seed": seed,
            "seconds": round(elapsed, 1),
            "kinds": [count.row for count in counts],
            "commands": dict(sorted(fuzzer.commands.items())),
            "failures": [asdict(failure) for failure in fuzzer.failures],
        }
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    for kind, spent in fuzzer.seconds.most_common(6):
        print(f"{kind}: {spent / 1000:.0f} s", file=sys.stderr)
    sys.exit(1 if fuzzer.failures else 0)


if __name__ == "__main__":
    main()
