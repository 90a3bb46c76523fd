"""Kill commands at random moments and check what they leave: the kill table.

    python benchmarks/kill_table.py [--kills 100] [--output benchmarks/results/kill_table.json]

After each kill, every process of the command must be gone, its inputs untouched, and every output
file complete: it opens and parses, whether old or new. No temporary files may remain: after
SIGTERM, SIGHUP and Ctrl-C immediately, after SIGKILL once the command has been rerun to its end.
Exit code 1 if any of this does not hold. Linux only; one core is enough.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_workplace import ROOT, Case, Workplace, cases
from tabulate import tabulate

from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine

#: of ten kills; the rest of the table is in the order of SIGNALS
SHARES = {signal.SIGKILL: 6, signal.SIGTERM: 2, signal.SIGHUP: 1, signal.SIGINT: 1}
#: seconds after the end of a command in which the kernel ends its children
AFTER = 1.0
FAULTS = ("half-written", "inputs changed", "processes left", "left behind", "wrong exit")


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
        print(self.details[-1], file=sys.stderr, flush=True)

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


def kill(place: Workplace, row: Row, case: Case, after: float, number: signal.Signals) -> bool:
    """One kill, the looks after it, and the run that cleans up; whether it came in time."""
    process = place.start(*case.arguments(place.folder))
    with process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(after)
        if process.poll() is not None:
            process.communicate()
            return False
        process.send_signal(number)
        told = time.monotonic()
        _, err = process.communicate(timeout=120)
        took = time.monotonic() - told
    row.slowest = max(row.slowest, took)
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
    # -number: before Python was ready
    ends = (-number,) if number == signal.SIGKILL else (128 + number, -number)
    heeded = process.returncode in ends or (
        process.returncode == case.code and took < case.last_breath
    )
    if not heeded or "Traceback" in err:
        row.note("wrong exit", f"{where}: {process.returncode} in {took:.1f} s: {err[-400:]!r}")
    elif process.returncode == 128 + number and "nothing half-written" not in err:
        row.note("wrong exit", f"{where}: {process.returncode} without a word: {err[-400:]!r}")
    if number != signal.SIGKILL and (left := place.left_behind(case)):
        row.note("left behind", f"{where}: {left}")
    for fault, found in (
        ("inputs changed", place.changed_inputs()),
        ("half-written", place.half_written(case)),
    ):
        if found:
            row.note(fault, f"{where}: {found}")
    # what could clean up has been judged already
    if number == signal.SIGKILL and case.longest is None:
        place.run(*case.arguments(place.folder), code=case.code)
        if left := place.left_behind(case):
            row.note("left behind", f"{where}, and repeated: {left}")
    return True


def hear_all() -> None:
    """Let commands be born hearing: nohup and the background of a shell pass on deafness."""
    for number in SHARES:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)  # which no child inherits


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
    hear_all()
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
                place.keep_outputs(case)
            while row.kills < count:
                place.remove_outputs(case)
                if row.kills % 2 and not case.fresh and case.longest is None:
                    place.restore_outputs()
                # most of the first tenth is Python's own start
                after = chance.uniform(0.1, 1.0) * longest
                if not kill(place, row, case, after, chance.choice(numbers)):
                    longest *= 0.9  # the machine had more to do when it was measured
                print(f"{name}: {row.kills}/{count}", file=sys.stderr, flush=True)
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
    return 1 if any(row.details for row in rows) else 0


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
