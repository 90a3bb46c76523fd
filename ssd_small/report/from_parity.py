"""The page that compares an engine with its reference, from the output of ``parity --json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import bars, waterfall
from .page import Block, Lines, Page, Pictures, Plot, Section, Table, Verdict
from .values import folded, prefixes, protocol_text, tiles_text

#: most classes whose rows are shown; with more, the table is folded
_MOST_CLASSES = 25
#: AP costs below this are not shown as steps of the waterfall
_LEAST_STEP = 5e-6
_SIZES = ("small", "medium", "large")


def page_from_parity(value: Mapping[str, Any], examples: Sequence[Pictures] = ()) -> Page:
    """The page of a comparison.

    Args:
        value: the output of ``parity --json``.
        examples: pictures with the detections that differ.
    """
    names = prefixes()
    sections = [
        Section("Average precision", _precision(value, next(names))),
        Section("What each stage costs", _stages(value, next(names))),
        Section("The first layer that moved", _layer(value)),
        Section("Detections", _detections(value)),
        Section("Largest disagreements", list(examples)),
        Section("Heads", _heads(value)),
        Section("The engine against itself", _itself(value)),
    ]
    about = [(name, _side(value[name])) for name in ("engine", "reference")]
    protocol = value["protocol"]
    about.append(("protocol of both", f"{protocol['name']}: {protocol_text(protocol)}"))
    if "tiles" in protocol:
        about.append(("tiles", tiles_text(protocol["tiles"])))
    title = f"Parity of {value['engine']['path']}"
    subtitle = f"beside {_side(value['reference'])}, on {value['images']} pictures"
    lines = [*value.get("notes", ()), *value.get("unreadable", ())]
    return Page(title, subtitle, _verdict(value, lines), sections, about)


def _side(side: Mapping[str, Any]) -> str:
    known = [side.get(key) for key in ("source", "model", "runtime", "precision")]
    return f"{side['path']} ({', '.join(str(one) for one in known if one is not None)})"


def _verdict(value: Mapping[str, Any], lines: Sequence[str]) -> Verdict:
    counts, precision = value["detections"], value["map"]
    good = value["verdict"] == "equal"
    why = "; ".join(value.get("why", ()))
    text = f"{value['verdict']}: " + (
        why or f"{counts['matched']} of {counts['engine']} detections equal the reference's"
    )
    figures = []
    if precision is not None:
        figures = [
            ("AP of the reference", _five(precision["reference"])),
            ("AP of the engine", _five(precision["engine"])),
            ("difference", _five(precision["difference"], "+")),
        ]
    figures += [(name, str(counts[name])) for name in ("matched", "explained", "unexplained")]
    return Verdict(text, good, figures, lines)


def _five(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.5f}"


def _precision(value: Mapping[str, Any], prefix: str) -> list[Block]:
    precision = value["map"]
    if precision is None:
        return []
    rows = []
    known = {"all": precision, **{name: precision[name] for name in _SIZES}}
    for name, one in known.items():
        between = one["interval"]
        rows.append(
            [
                name,
                *(_five(one[key]) for key in ("reference", "engine")),
                _five(one["difference"], "+"),
                "-" if between is None else f"{between[0]:+.5f} to {between[1]:+.5f}",
            ]
        )
    headers = ("AP", "reference", "engine", "difference", "95 % interval")
    table = Table("By size of objects; draws of the pictures, paired", headers, rows)
    groups = {
        side: {name: one[side] for name, one in known.items()} for side in ("reference", "engine")
    }
    plot = Plot(bars(groups, "AP", prefix), "AP of both by COCO's sizes")
    classes = [
        [
            one["name"],
            *(_five(one[key]) for key in ("reference", "engine")),
            _five(one["difference"], "+"),
        ]
        for one in precision["classes"]
    ]
    own = Table(
        "AP of each class",
        ("class", "reference", "engine", "difference"),
        classes,
        folded=len(classes) > _MOST_CLASSES,
    )
    return [plot, table, own]


def _stages(value: Mapping[str, Any], prefix: str) -> list[Block]:
    stages = value["attribution"]
    if stages is None:
        return []
    rows = [
        [
            one["stage"],
            _five(one["map_cost"]),
            str(one["detections_changed"]),
            one.get("reason") or "-",
        ]
        for one in stages
    ]
    caption = "Each stage of the engine alone, put into the reference"
    table = Table(caption, ("stage", "cost in AP", "detections changed", "what differs"), rows)
    precision = value["map"]
    if precision is None or None in (precision["reference"], precision["engine"]):
        return [table]
    begin, end = precision["reference"], precision["engine"]
    steps = []
    for one in stages:
        change = one.get("map_change")
        if change is None:
            change = -(one["map_cost"] or 0.0)
        if abs(change) >= _LEAST_STEP:
            steps.append((str(one["stage"]), float(change)))
    # stages affect each other, so that their sum is not the whole difference
    rest = end - begin - sum(step for _, step in steps)
    if abs(rest) >= _LEAST_STEP:
        steps.append(("together", rest))
    if not steps:
        return [Lines(["No stage moves AP."]), table]
    svg = waterfall(("reference", begin), steps, ("engine", end), "AP", prefix)
    told = (
        "From the reference's AP to the engine's by what each stage does alone; together: what "
        "they do to each other"
    )
    return [Plot(svg, told), table]


def _layer(value: Mapping[str, Any]) -> list[Block]:
    first = value["first_layer"]
    if first is None:
        return []
    error, growth = (
        "not finite" if one is None else f"{one:.3g}" for one in (first["error"], first["growth"])
    )
    told = f"{first['name']} ({first['operator']}): error {error}, growth {growth}."
    return [Lines([told])]


def _detections(value: Mapping[str, Any]) -> list[Block]:
    counts = value["detections"]
    told = (
        f"{counts['matched']} are the same in both; {counts['explained']} of one side alone are "
        f"proven to be within rounding of a threshold; {counts['unexplained']} are not."
    )
    rows = [
        [
            one["picture"],
            *(one["class"], f"{one['score']:.4f}", one["side"]),
            "rounding" if one["explained"] else "real",
            one["reason"],
        ]
        for one in counts["examples"]
    ]
    if not rows:
        return [Lines([told])]
    headers = ("picture", "class", "score", "only in", "by", "why")
    caption = f"{len(rows)} of those that differ, the gravest first"
    return [Lines([told]), Table(caption, headers, rows)]


def _heads(value: Mapping[str, Any]) -> list[Block]:
    heads = value["heads"]
    if not heads:
        return []
    keys = [key for key in heads[0] if key != "level"]
    rows = [
        [
            "all" if row["level"] is None else str(row["level"]),
            *("not finite" if row[key] is None else f"{row[key]:.2g}" for key in keys),
        ]
        for row in heads
    ]
    headers = ("level", *(key.replace("_", " ") for key in keys))
    return [Table("Differences as shares of the output's largest value", headers, rows)]


def _itself(value: Mapping[str, Any]) -> list[Block]:
    checks = value.get("self_consistency")
    if not checks:
        return []
    keys = list(checks[0])
    rows = [[str(one[key]) for key in keys] for one in checks]
    caption = "The same pictures in other batches, rows, runs and threads"
    return [folded(caption, [key.replace("_", " ") for key in keys], rows)]
