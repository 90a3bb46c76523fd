"""The page to choose an engine from, made from the JSON of other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .figures import Point, bars, best_points, lines, pareto
from .from_bench import page_from_bench
from .from_eval import page_from_eval
from .from_parity import page_from_parity
from .page import Block, Page, Plot, Section, Table, Verdict
from .run_files import Candidate, Run, broken_run, candidates_from_runs
from .values import folded, prefixes, share

#: most engines that a figure can show distinctly; further ones are only in tables
_MOST_DRAWN = 7
_AP_NAMES = {"AP_small": "AP small", "AP": "AP"}


def page_from_runs(runs: Sequence[Run]) -> Page:
    """One run's own page, or one page for all of them.

    Raises:
        BadFile: a run is incomplete.
    """
    own: dict[str, Callable[[dict[str, Any]], Page]] = {
        "eval": page_from_eval,
        "bench": page_from_bench,
        "parity": page_from_parity,
    }
    if len(runs) == 1 and (run := runs[0]).kind in own:
        try:
            return own[run.kind](run.value)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise broken_run(run.path, error) from error
    return page_from_candidates(candidates_from_runs(runs), [str(run.path) for run in runs])


def page_from_candidates(candidates: Sequence[Candidate], sources: Sequence[str] = ()) -> Page:
    """One page for several engines; ``sources`` are the files that it was made from."""
    names = prefixes()
    labels = _labels(candidates)
    figures: list[Block] = []
    for metric, title in _AP_NAMES.items():
        points = _points(candidates, labels, metric)
        if len(points) > 1:
            caption = f"{title} against time; filled: no other one is faster and better"
            figures.append(Plot(pareto(points, title, next(names)), caption))
    sections = [
        Section("To choose from", [_table(candidates, labels), *figures]),
        Section("By size of objects", _sizes(candidates, labels, next(names))),
        Section("Precision and recall", _curves(candidates, labels, names)),
    ]
    about = [("run", source) for source in sources]
    about += [("times", text) for text in dict.fromkeys(c.timed for c in candidates) if text]
    title = f"{len(candidates)} engines and networks"
    scored = sum(bool(one.metrics) for one in candidates)
    timed = sum(one.milliseconds is not None for one in candidates)
    subtitle = f"{scored} with scores, {timed} with times"
    return Page(title, subtitle, _verdict(candidates, labels), sections, about)


def _labels(candidates: Sequence[Candidate]) -> list[str]:
    """A name for each, with its file if several would have the same name."""
    names = [one.name for one in candidates]
    told = [
        name if names.count(name) == 1 else f"{name} ({one.source or place + 1})"
        for place, (name, one) in enumerate(zip(names, candidates, strict=True))
    ]
    return [
        name if told.count(name) == 1 else f"{name} {place + 1}" for place, name in enumerate(told)
    ]


def _points(candidates: Sequence[Candidate], labels: Sequence[str], metric: str) -> list[Point]:
    points = []
    for one, label in zip(candidates, labels, strict=True):
        precision = one.metrics.get(metric)
        if one.milliseconds is not None and precision is not None:
            points.append(Point(label, one.milliseconds, precision))
    return points


def _verdict(candidates: Sequence[Candidate], labels: Sequence[str]) -> Verdict:
    points = _points(candidates, labels, "AP_small")
    of = "AP small"
    if not points:
        points, of = _points(candidates, labels, "AP"), "AP"
    remarks = []
    truths = dict.fromkeys(one.truth for one in candidates if one.truth and "eval" in one.kinds)
    if len(truths) > 1:
        told = ", ".join(f"{name} ({number} pictures)" for name, number in truths)
        remarks.append(f"The scores are of different ground truth and cannot be compared: {told}.")
    timings = dict.fromkeys(one.timed for one in candidates if one.timed)
    if len(timings) > 1:
        remarks.append(
            f"The times were taken in different ways and compare badly: {'; '.join(timings)}."
        )
    bad = [n for n, one in zip(labels, candidates, strict=True) if one.parity == "different"]
    if bad:
        remarks.append(f"Not equal to the reference by parity: {', '.join(bad)}.")
    good = None if not any(one.parity for one in candidates) else not bad
    if not points:
        text = "No engine has both a score and a time: pass the JSON of eval and of bench"
        return Verdict(text, good, (), remarks)
    best = best_points(points)
    text = f"To choose by {of} and time: {'; '.join(_point(one) for one in best)}"
    beaten = len(points) - len(best)
    if beaten:
        remarks.insert(0, f"{beaten} of {len(points)} are slower than a better or equal one.")
    return Verdict(text, good, (), remarks)


def _point(one: Point) -> str:
    return f"{one.name} ({one.precision:.3f}, {one.milliseconds:.2f} ms)"


def _table(candidates: Sequence[Candidate], labels: Sequence[str]) -> Table:
    best = {
        metric: {one.name for one in best_points(_points(candidates, labels, metric))}
        for metric in _AP_NAMES
    }
    cells = []
    for one, label in zip(candidates, labels, strict=True):
        milliseconds = one.milliseconds
        chosen = [title for metric, title in _AP_NAMES.items() if label in best[metric]]
        cells.append(
            [
                label,
                *(share(one.metrics.get(m)) for m in ("AP_small", "AP_medium", "AP_large")),
                *(share(one.metrics.get(m)) for m in ("AP", "AP50")),
                *(
                    ("-", "-")
                    if milliseconds is None
                    else (f"{milliseconds:.2f}", f"{1e3 / milliseconds if milliseconds else 0:.1f}")
                ),
                one.timed.split(",")[0] or "-",
                one.parity or "-",
                ", ".join(chosen) or "-",
            ]
        )
    headers = (
        "network|AP small|AP medium|AP large|AP|AP50|ms|images/s|timed by|parity|not beaten in"
    )
    caption = "ms per picture; not beaten: no other one is as fast and better"
    return Table(caption, headers.split("|"), cells)


def _sizes(candidates: Sequence[Candidate], labels: Sequence[str], prefix: str) -> list[Block]:
    known = {
        label: one.by_size for one, label in zip(candidates, labels, strict=True) if one.by_size
    }
    if not known:
        return []
    sizes = list(next(iter(known.values())))
    known = {label: own for label, own in known.items() if list(own) == sizes}
    rows = [[label, *(share(own[size]) for size in sizes)] for label, own in known.items()]
    table = Table("AP by square root of the area in the picture", ("network", *sizes), rows)
    few = dict(list(known.items())[:_MOST_DRAWN])
    form = "{:.3f}" if len(few) < 3 else "{:.2f}" if len(few) < 4 else ""
    svg = bars(few, "AP", prefix, form=form or "{:.3f}", labelled=bool(form))
    return [Plot(svg, "AP by the size of objects in pixels"), table]


def _curves(
    candidates: Sequence[Candidate], labels: Sequence[str], names: Iterator[str]
) -> list[Block]:
    blocks: list[Block] = []
    for size in ("small", "all"):
        known = {
            label: one.curves[size]
            for one, label in zip(candidates, labels, strict=True)
            if len(one.curves.get(size, ())) > 1
        }
        if not known:
            continue
        curves = {
            label: ([place / (len(own) - 1) for place in range(len(own))], own)
            for label, own in list(known.items())[:_MOST_DRAWN]
        }
        tenths = [place / 10 for place in range(11)]
        rows = [
            [label, *(share(own[round(at * (len(own) - 1))]) for at in tenths)]
            for label, own in known.items()
        ]
        what = "all objects" if size == "all" else f"{size} objects"
        numbers = folded(
            f"Precision of {what} at tenths of recall",
            ("network", *(f"{at:.1f}" for at in tenths)),
            rows,
        )
        svg = lines(curves, "recall", "precision", next(names), share=True)
        blocks.append(Plot(svg, f"Precision over recall at IoU 0.5 of {what}", numbers))
    return blocks
