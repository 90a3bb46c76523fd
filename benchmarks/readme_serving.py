"""README blocks about serving."""

from __future__ import annotations

from typing import Any

from readme_tables import machine_line, result, table

_NAMES = {"uvicorn": "uvicorn, a queue", "litserve": "LitServe", "ray": "Ray Serve"}


def _others(report: dict[str, Any]) -> str:
    used, cores = report["disturbance"]["others"], report["disturbance"]["cores"]
    return "" if used is None else f"Meanwhile other processes used {used:.1f} of {cores} cores. "


def serve() -> str:
    """What `benchmarks/bench_serve.py` measured."""
    report = result("serve")
    rows = []
    for row in report["results"]:
        low, high = row["range"]
        name = f"`serve`, {row['clients']} clients" if row["clients"] else "without HTTP"
        rows.append(
            [
                name.replace(" 1 clients", " 1 client"),
                f"{row['pictures_per_second']:.1f} ({low:.1f} to {high:.1f})",
                f"{row['p50_ms']:.0f}",
                f"{row['p99_ms']:.0f}",
                row["pictures"],
                row["refused"] + row["lost"],
            ]
        )
    headers = "|pictures/s|median ms|p99 ms|pictures|refused, lost"
    end = report["end"]
    said = (
        f"JPEG files of {report['mean_bytes'] / 1000:.0f} kB, `{report['network']}`. SIGTERM under "
        f"{end['clients']} clients: {end['answered']} answers, {end['lost']} lost, exit "
        f"{end['exit']} after {end['seconds']:.1f} s. {_others(report)}"
    )
    return f"{table(rows, headers)}\n\n{said}{machine_line(report['machine'], report['threads'])}"


def serving_engines() -> str:
    """What `benchmarks/serving_engines.py` measured."""
    report = result("serving_engines")
    rows = []
    for name, turns in report["results"].items():
        rates = [
            "/".join(f"{one[f'clients_{n}']['per_second']:.0f}" for one in turns)
            for n in (1, 8, 32)
        ]
        first = turns[0]
        ends = [f"{one['lost']} lost, {one['left']} left, {_exit(one['exit'])}" for one in turns]
        rows.append(
            [
                f"{_NAMES[name]} {report['versions'][name]}",
                *rates,
                f"{max(one['clients_8']['p99_ms'] for one in turns):.0f}",
                f"{first['start_seconds']:.1f}",
                f"{first['processes']}, {first['megabytes']:.0f}",
                f"{first['idle_share']:.0%}",
                report["packages"].get(name, "-"),
                *ends[:2],
            ]
        )
    headers = (
        "|1 client, /s|8, /s|32, /s|p99 ms at 8|start s|processes, MB|idle CPU|packages|SIGTERM"
        "|with a handler"
    )
    return f"{table(rows, headers)}\n\n{_others(report)}{machine_line(report['machine'], 1)}"


def _exit(code: int | None) -> str:
    return "goes on" if code is None else f"exit {code}"
