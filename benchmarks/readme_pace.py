"""Tables of throughput that starts from picture files."""

from __future__ import annotations

from typing import Any

from readme_tables import machine_line, result, table

#: contenders of `benchmarks/bench_eval.py` beside `eval`, as the table calls them
_COMMANDS = {
    "json": "`detect --json`",
    "json_instances": "2 instances",
    "jpeg": "`-o`, JPEG",
    "png": "`-o`, PNG",
}


def eval_pace() -> str:
    """What `benchmarks/bench_eval.py` measured."""
    report = result("eval_cpu")
    rows = []
    for row in report["results"]:
        ratios = [row, *(row["detect"][name] for name in _COMMANDS)]
        rows.append(
            [
                f"`{row['model']}`",
                f"{row['bare_images_per_second']:.1f}",
                *(_ratio(one) for one in ratios),
                f"{row['at_most']:.2f}",
                f"{row['pictures']}, {row['turns']}",
            ]
        )
    commands = "|".join(_COMMANDS.values())
    headers = f"network|bare pictures/s|`eval`|{commands}|at most|pictures, turns"
    batch, picture = report["results"][0]["batch"], report["picture"]
    others = [row["disturbance"]["others"] for row in report["results"]]
    known = [one for one in others if one is not None]
    said = (
        f"Batch {batch}, JPEG files of {picture['width']}x{picture['height']} pixels "
        f"({picture['mean_bytes'] / 1000:.0f} kB). "
    )
    if known:
        used = f"{min(known):.1f} to {max(known):.1f} of {report['machine']['cores']} cores"
        said += f"Meanwhile other processes used {used}. "
    where = machine_line(report["machine"], report["threads"])
    return f"{table(rows, headers)}\n\n{_stages(report)}\n\n{said}{where}"


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["ratio_range"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _stages(report: dict[str, Any]) -> str:
    """Where the processor's time goes, and the most memory of the commands."""
    shares = ("network", "read decode", "resize batch", "decode_nms", "collect score")
    peaks = ("detect", "detect_drawn", "detect_instances", "eval")
    rows = [
        [
            f"`{row['model']}`",
            *(
                f"{sum(row['processor_ms'][name] for name in names.split()):.2f}"
                for names in shares
            ),
            *(row["peak_mb"][name] for name in peaks),
        ]
        for row in report["results"]
    ]
    headers = (
        "network|network ms|read, decode|resize, batch|decode+NMS|collect, score|"
        "`detect` MB|`detect -o` MB|2 instances MB|`eval` MB"
    )
    return table(rows, headers)


def reduced_decoding() -> str:
    """What `benchmarks/bench_reduced_decoding.py` measured."""
    report = result("reduced_decoding")
    rows = [
        [
            "x".join(map(str, row["picture_size"])),
            f"{row['mean_bytes'] / 1000:.0f}",
            ", ".join(f"1/{one}" for one in row["reduction"]),
            *(f"{one:.4f}" for one in row["AP"]),
            *(f"{one:.1f}" for one in row["ms_per_picture"]),
        ]
        for row in report["rows"]
    ]
    headers = "pictures|kB|decoded at|AP in full|AP at the fraction|ms in full|ms at the fraction"
    first = report["rows"][0]
    said = f"{first['pictures']} pictures of the digits, enlarged, `{first['weights']}`. "
    return f"{table(rows, headers)}\n\n{said}{machine_line(report['machine'], 1)}"


def video_pace() -> str:
    """`benchmarks/bench_video.py`."""
    report = result("video")
    rows = [
        [
            f"`{row['model']}`",
            *(f"{row['frames_per_second'][name]:.1f}" for name in ("bare", "decoding")),
            *(
                f"{row['frames_per_second'][name]:.1f} ({row['of_bare'][name]:.2f})"
                for name in ("memory", "video")
            ),
            f"{row['most_of_bare']:.2f}",
            *(f"{row['cpu_ms'][name]:.1f}" for name in ("bare", "decoding", "video")),
        ]
        for row in report["results"]
    ]
    headers = "network|engine alone|decoding alone|pictures in memory|video file|at most|"
    headers += "CPU ms: engine|decoding|video file"
    said = (
        f"{table(rows, headers)}\n\nFrames/s, in brackets as a share of the engine's alone; CPU ms "
        f"per frame; {report['clip']}. At most: the share that is left if decoding takes its CPU "
        "time from the engine, which uses all cores. "
    )
    if (others := report["disturbance"]["others"]) is not None:
        cores = report["machine"]["cores"]
        said += f"Meanwhile other processes used {others:.1f} of {cores} cores. "
    return said + machine_line(report["machine"], report["threads"])
