"""README blocks about robustness trials: versions, damaged inputs, killed commands."""

from __future__ import annotations

from collections import Counter

from readme_tables import machine_line, result, table


def tensorrt_versions() -> str:
    """`make test-lean`, recorded."""
    checks = result("tensorrt_versions")["checks"]
    versions = list(dict.fromkeys(version for by in checks.values() for version in by))
    words = {True: "yes", False: "NO", None: "-"}
    rows = [[check, *(words[by.get(v)] for v in versions)] for check, by in checks.items()]
    return table(rows, "|".join(["check", *versions]))


def damaged_input() -> str:
    """`make fuzz-cli`."""
    report = result("fuzz_cli")
    names = ("tried", "fine", "check_failed", "refused_2", "refused_3", "refused_4", "failed")
    rows = [[kind["kind"], *(kind[name] for name in names)] for kind in report["kinds"]]
    rows.append(["all", *(sum(kind[name] for kind in report["kinds"]) for name in names)])
    headers = "kind|tried|exit 0|exit 1|exit 2|exit 3|exit 4|failed"
    distinct = sum(kind["distinct"] for kind in report["kinds"])
    said = (
        f"Seed {report['seed']}, {distinct} different commands and changes, "
        f"{report['seconds']:.0f} s."
    )
    return f"{table(rows, headers)}\n\n{said} {machine_line(report['machine'], 1)}"


def kill_table() -> str:
    """`make kill-table`."""
    report = result("kill_table")
    names = ("half_written", "inputs_changed", "processes_left", "left_behind", "wrong_exit")
    commands = report["commands"]
    rows = [[f"`{one['command']}`", one["kills"], *(one[n] for n in names)] for one in commands]
    rows.append(["all", *(sum(one[n] for one in commands) for n in ("kills", *names))])
    signals: Counter[str] = sum((Counter(one["signals"]) for one in commands), Counter())
    told = ", ".join(f"{count} {name}" for name, count in signals.most_common())
    headers = "command|kills|half-written|inputs changed|processes left|left behind|wrong exit"
    said = f"Seed {report['seed']}: {told}."
    return f"{table(rows, headers)}\n\n{said} {machine_line(report['machine'], 1)}"


def startup() -> str:
    """`benchmarks/bench_startup.py`."""
    report = result("startup")
    said = {
        "help": "`ssd-small --help`",
        "torch": "`detect --weights`: PyTorch",
        "first": "`detect --weights --runtime onnxruntime`, the first time",
        "second": "the same, the second time",
        "engine": "`detect --engine`",
    }
    rows = {row["name"]: row for row in report["rows"]}
    lines = [
        [what, f"{rows[name]['cpu_seconds']:.2f}", f"{rows[name]['wall_seconds']:.2f}"]
        for name, what in said.items()
    ]
    of = f"`{report['weights']}`, one picture, from the start of the process to its end."
    cores = report["machine"]["cores"]
    where = machine_line(report["machine"], cores)
    return f"{table(lines, 'command|CPU s|elapsed s')}\n\n{of} {where}"
