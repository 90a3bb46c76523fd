"""What ``ssd-small parity`` prints for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..postprocess import PostprocessParams
from ..postprocess.protocol import text_from_params
from ..report.values import tiles_text
from .options import print_table, say

if TYPE_CHECKING:
    from ..parity.parity import Parity
    from ..parity.self_consistency import Consistency

#: examples that are shown
_SHOWN = 10


def print_parity(found: Parity, checks: Sequence[Consistency]) -> None:
    """The verdict first, then what it rests on."""
    say(f"{found.verdict}: {'; '.join(found.why) or _agreement(found)}")
    for name, side in (("reference", found.reference), ("engine", found.engine)):
        say(f"{name}: {_side(side)}")
    values = {k: v for k, v in found.protocol.items() if k not in ("name", "tiles")}
    line = text_from_params(PostprocessParams.from_dict(values))
    tiles = found.protocol.get("tiles")
    say(f"protocol {found.protocol['name']}: {line}{f'; {tiles_text(tiles)}' if tiles else ''}")
    if found.map is not None:
        say("")
        _print_map(found.map)
    _print_detections(found)
    if found.heads is not None:
        say("")
        say("heads, as shares of the output's largest value:")
        print_table(
            [
                [
                    "all" if row["level"] is None else row["level"],
                    *(_share(row[name]) for name in row if name != "level"),
                ]
                for row in found.heads
            ],
            ["level", "loc max", "loc 99.9 %", "conf max", "conf 99.9 %"],
            ["right"] * 5,
        )
    if found.attribution is not None:
        say("")
        _print_stages(found.attribution)
    if found.quantised_layers:
        say("")
        _print_quantised(found.quantised_layers)
    if found.layers:
        say("")
    for line in found.layers:
        say(line)
    if checks:
        say("")
        say("the engine against itself:")
    for one in checks:
        say(f"  {one}")


def _print_quantised(layers: Sequence[dict[str, Any]]) -> None:
    """The convolutions that cost most, as candidates for --keep-fp."""
    say(
        f"INT8 convolutions ({len(layers)}), each alone in INT8, and how far the heads move as a "
        "share of their root mean square; build-engine --keep-fp NAME leaves one in fp32:"
    )
    rows = [[one["name"], f"{one['error']:.2g}"] for one in layers[:_SHOWN]]
    print_table(rows, ["node", "heads"], ["left", "right"])


def _agreement(found: Parity) -> str:
    counts = found.detections
    line = f"{counts['matched']} of {counts['engine']} detections equal the reference's"
    if found.map is not None and found.map["difference"] is not None:
        line += f", AP differs by {found.map['difference']:+.5f}"
    return f"{line}, on {found.images} images"


def _side(side: dict[str, Any]) -> str:
    known = [side.get(key) for key in ("source", "model", "runtime", "precision")]
    return f"{side['path']} ({', '.join(str(one) for one in known if one is not None)})"


def _print_map(precision: dict[str, Any]) -> None:
    rows = []
    for name, row in (("all", precision), *((k, precision[k]) for k in _SIZES)):
        interval = row["interval"]
        between = "" if interval is None else f"{interval[0]:+.5f} .. {interval[1]:+.5f}"
        rows.append([name, *_numbers(row), between])
    rows += [[one["name"], *_numbers(one), ""] for one in precision["classes"]]
    headers = ["AP", "reference", "engine", "difference", "95 % interval"]
    print_table(rows, headers, ["left"] + ["right"] * 4)
    say(f"intervals: {precision['resamples']} paired bootstrap samples of the pictures")


_SIZES = ("small", "medium", "large")


def _numbers(row: dict[str, Any]) -> list[str]:
    texts = ["" if row[key] is None else f"{row[key]:.5f}" for key in ("reference", "engine")]
    difference = row["difference"]
    return [*texts, "" if difference is None else f"{difference:+.5f}"]


def _print_detections(found: Parity) -> None:
    counts = found.detections
    say("")
    say(
        f"detections: {counts['matched']} matched, {counts['explained']} differ by rounding, "
        f"{counts['unexplained']} by more ({counts['moved']} of these moved)"
    )
    rows = [
        [
            one["picture"],
            one["class"],
            f"{one['score']:.4f}",
            one["side"],
            "rounding" if one["explained"] else "real",
            one["reason"],
        ]
        for one in counts["examples"][:_SHOWN]
    ]
    if rows:
        print_table(rows, ["picture", "class", "score", "only in", "by", "why"])


def _print_stages(stages: Sequence[dict[str, Any]]) -> None:
    """Those that change anything."""
    rows = [
        [
            one["stage"],
            "" if one["map_cost"] is None else f"{one['map_cost']:.5f}",
            one["detections_changed"],
            one.get("reason") or "",
        ]
        for one in stages
        if one["map_cost"] or one["detections_changed"] or one.get("reason")
    ]
    if not rows:
        say("stages taken from the engine one at a time: none changes a detection")
        return
    say("what each stage of the engine does to the reference:")
    print_table(rows, ["stage", "AP", "detections", "why"], ["left", "right", "right", "left"])


def _share(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"
