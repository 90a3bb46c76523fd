"""What ``ssd-small bench`` prints: times, where they go, and what changed."""

from __future__ import annotations

from typing import Any

import click

from .options import print_table, say

_HEADERS = (
    "model|runtime|prec.|batch|network|p90|p99|p99.9|decode+NMS|p90|total|p90|p99|images/s|runs"
)


def print_report(report: dict[str, Any]) -> None:
    """Print a report of ``bench`` as text."""
    machine, rows = report["machine"], report["results"]
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    gpus = "".join(f", {gpu['name']} (CUDA {machine['driver']})" for gpu in machine["gpus"])
    say(
        f"{machine['cpu']}{gpus}, {report['threads']} threads, Python {machine['python']}, "
        f"{packages}"
    )
    say("milliseconds per image")
    # engines come with parameters of their own
    for thresholds in dict.fromkeys(_thresholds(row["postprocess"]) for row in rows):
        models = dict.fromkeys(
            row["model"] for row in rows if _thresholds(row["postprocess"]) == thresholds
        )
        say(f"{', '.join(models)}: {thresholds}")
    click.echo()
    files = any(row["engine"] for row in rows)
    published = any(row["published_ms"] is not None for row in rows)
    headers = [*_HEADERS.split("|"), *["engine"] * files, *["published"] * published]
    print_table([_texts(row, files, published) for row in rows], headers)
    for line in dict.fromkeys(_tiled(row["tiled"]) for row in rows if row["tiled"]):
        say(line)
    for row in dict.fromkeys(_candidates(row) for row in rows if row["decode_nms_ms"]):
        click.echo(row)
    for one in report["fastest"]:
        say(_fastest(one))
    if published:
        click.echo(
            "\npublished: fp32, batch 16, on a GPU that is not named; compare networks with each "
            "other, not with it"
        )
    for row in rows:
        if row["ledger"]:
            _print_ledger(row)
    if "against" in report:
        _print_changes(report["against"])


def _fastest(one: dict[str, Any]) -> str:
    """``fastest here of vgg16, batch 1: openvino 2026.4.1 bf16, 69.9 ms; ... takes 2.03 times``."""

    def named(of: dict[str, Any]) -> str:
        engine = "" if of["engine"] is None else f" ({of['engine']})"
        return f"{of['runtime']} {of['precision']}{engine}"

    rest = ", ".join(
        f"{named(other)} {other['times']:.2f} times as long" for other in one["others"]
    )
    return (
        f"{one['model']}, batch {one['batch']}: fastest here is {named(one)}, "
        f"{one['total_ms']:.2f} ms per image; others take: {rest}"
    )


def _thresholds(params: dict[str, Any]) -> str:
    """The parameters on which the cost of decode + NMS depends."""
    from ..postprocess import PostprocessParams
    from ..postprocess.protocol import text_from_params

    return text_from_params(PostprocessParams.from_dict(params))


def _tiled(tiled: dict[str, Any]) -> str:
    """What a row is of, where a picture is cut."""
    from ..pictures.tiles import Tiling

    return (
        f"an image is a picture of {tiled['picture_width']}x{tiled['picture_height']} in "
        f"{tiled['tiles']} {Tiling.from_dict(tiled)}; batch: tiles per call"
    )


def _candidates(row: dict[str, Any]) -> str:
    return (
        f"{row['model']}, batch {row['batch']}: decode + NMS of {row['candidates_per_image']:.0f} "
        f"candidates per image, "
        f"{row['detections_per_image']:.0f} kept"
    )


def _texts(row: dict[str, Any], files: bool, published: bool) -> list[str]:
    def numbers(timing: dict[str, Any] | None, *names: str) -> list[str]:
        if timing is None:
            return ["inside", *[""] * (len(names) - 1)]
        return [f"{timing[name]:.2f}" for name in names]

    milliseconds = row["published_ms"]
    return [
        row["model"],
        row["runtime"],
        row["precision"],
        str(row["batch"]),
        *numbers(row["network_ms"], "median", "p90", "p99", "p999"),
        *numbers(row["decode_nms_ms"], "median", "p90"),
        *numbers(row["total_ms"], "median", "p90", "p99"),
        f"{row['images_per_second']:.1f}",
        str(row["total_ms"]["runs"]),
        *[row["engine"] or "-"] * files,
        *["-" if milliseconds is None else f"{milliseconds:.1f}"] * published,
    ]


def _print_ledger(row: dict[str, Any]) -> None:
    """Where the time of real pictures goes."""
    ledger = row["ledger"]
    tiles = f" of {ledger['tiles_per_image']:g} tiles" if row["tiled"] else ""
    click.echo()
    say(
        f"{row['engine']}, batch {ledger['batch']}, {ledger['pictures']} pictures{tiles}, "
        f"{ledger['detections_per_image']:.1f} detections each, ms per picture"
    )
    rows = [
        [
            {"decode_nms": "decode+NMS"}.get(name, name),
            *(f"{timing[k]:.2f}" for k in ("median", "p90", "p99")),
            f"{timing['share']:.1%}",
        ]
        for name, timing in ledger["stages"].items()
    ]
    total = ledger["total_ms"]
    rows.append(["total", *(f"{total[k]:.2f}" for k in ("median", "p90", "p99")), ""])
    print_table(rows, ["stage", "median", "p90", "p99", "share"])
    click.echo(
        f"one after the other {ledger['images_per_second']:.1f} pictures/s; reading ahead in "
        f"{ledger['workers']} threads, as detect and eval do, "
        f"{ledger['images_per_second_overlapped']:.1f}"
    )


def _print_changes(against: dict[str, Any]) -> None:
    """What changed since another run."""
    click.echo()
    say(f"against {against['file']}, total ms per image")
    rows = [
        [
            one["model"],
            one["runtime"],
            one["precision"],
            str(one["batch"]),
            *(f"{one[k]:.2f}" for k in ("before", "after")),
            f"{one['ratio'] - 1:+.1%}",
            f"{one['spread']:.1%}",
            f"{one['p_value']:.2g}",
            one["verdict"],
        ]
        for one in against["changes"]
    ]
    headers = "model|runtime|prec.|batch|before|now|change|spread|p|verdict"
    print_table(rows, headers.split("|"))
