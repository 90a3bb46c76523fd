"""README blocks about ``ssd-small batch``: pace, kills, and the model of many workers."""

from __future__ import annotations

from readme_tables import machine_line, result, table


def batch_pace() -> str:
    """One process beside Ray."""
    report = result("batch")
    found = report["pace"]
    names = {"in_process": "one process", "ray": f"`--ray`, {found['cores']} workers"}
    rows = [
        [
            name,
            f"{found['pictures'] / found['median'][key]['warm']:.0f}",
            f"{found['median'][key]['warm']:.1f}",
            f"{found['median'][key]['start']:.1f}",
            f"{found['median'][key]['end']:.1f}",
        ]
        for key, name in names.items()
    ]
    said = (
        f"{found['pictures']} pictures in shards of 128, {found['cores']} cores each, one after "
        f"the other, rounds: {found['rounds']}. Once warm, Ray took {found['ratio']:.2f} times as "
        f"long as one process. Load average: {found['load']:.1f}, including this run; on a busy "
        "machine the threads of one network wait for each other, single-threaded workers do not."
    )
    headers = "run by|pictures/s|shards s|start s|end s"
    line = machine_line(report["machine"], found["cores"])
    return f"{table(rows, headers)}\n\n{said} {line}"


def batch_kills() -> str:
    """SIGKILL at random moments."""
    found = result("batch")["kills"]
    names = ("kills", "went_on", "other_files", "processes_left", "failed")
    rows = [[who, *(row[name] for name in names)] for who, row in found["table"].items()]
    rows.append(["all", *(sum(row[n] for row in found["table"].values()) for n in names)])
    headers = "killed|kills|went on by itself|other files after --resume|processes left|failed"
    said = f"Seed {found['seed']}, {found['pictures']} pictures in shards of 2, two workers."
    return f"{table(rows, headers)}\n\n{said}"


def batch_model() -> str:
    """Computed, not measured."""
    found = result("batch")["model"]
    workers = list(dict.fromkeys(row["workers"] for row in found["rows"]))
    sizes = list(dict.fromkeys(row["shard_size"] for row in found["rows"]))
    by = {(row["shard_size"], row["workers"]): row for row in found["rows"]}

    def cell(size: int, count: int) -> str:
        row = by[size, count]
        return f"{_time(row['seconds'])} ({row['efficiency']:.0%})"

    rows = [[size, *(cell(size, count) for count in workers)] for size in sizes]
    constants = found["constants"]
    said = (
        f"A model, not a measurement: {found['pictures']} pictures, one core per worker; "
        f"{constants['picture'] * 1000:.0f} ms per picture plus {constants['shard'] * 1000:.0f} "
        f"ms per shard, which the driver alone writes in {constants['put'] * 1000:.1f} ms; one "
        f"cold start of {constants['cold']:.0f} s for all. The constants were measured on one "
        "machine. In brackets: the share of the time spent on pictures. The model leaves out "
        "the network between machines, shared storage and stragglers."
    )
    headers = "|".join(["shard size", *(f"{n} workers" if n > 1 else "1 worker" for n in workers)])
    return f"{table(rows, headers)}\n\n{said}"


def _time(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.0f} s"
