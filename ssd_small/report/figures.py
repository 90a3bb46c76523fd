"""The figures of a page, each from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .drawing import COLORS, HATCHES, LINES, MARKERS, legible_name, svg_from_drawing

#: longest name, in letters, of which two fit side by side below a figure
_SHORT_NAME = 24


@dataclass(frozen=True)
class Point:
    """A network or engine to choose from.

    Attributes:
        name: its name.
        milliseconds: per picture.
        precision: AP, 0 to 1.
    """

    name: str
    milliseconds: float
    precision: float


def best_points(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both time and precision, the fastest first."""
    best: list[Point] = []
    for one in sorted(points, key=lambda point: (point.milliseconds, -point.precision)):
        if not best or one.precision > best[-1].precision:
            best.append(one)
    return best


def pareto(points: Sequence[Point], of: str, prefix: str) -> str:
    """Accuracy against time; ``of`` names the accuracy that is shown."""
    best = best_points(points)

    def draw(axes: Any) -> None:
        steps = [(one.milliseconds, one.precision) for one in best]
        axes.step(*zip(*steps, strict=True), where="post", color="#777777", linewidth=1, zorder=1)
        for place, one in enumerate(points):
            axes.plot(
                *([one.milliseconds], [one.precision]),
                color=COLORS[place % len(COLORS)],
                marker=MARKERS[place % len(MARKERS)],
                linestyle="none",
                markersize=8,
                fillstyle="full" if one in best else "none",
                label=f"{legible_name(one.name)} {one.precision:.3f}",
            )
        axes.margins(0.12)
        axes.set_xlim(left=0)
        low, high = axes.get_ylim()
        axes.set_ylim(*_at_least(low, high, 0.02))
        axes.set_xlabel("ms per picture")
        axes.set_ylabel(of)
        _legend(axes)

    names = "; ".join(f"{p.name} {p.precision:.3f} in {p.milliseconds:.2f} ms" for p in points)
    said = f"{of} against milliseconds per picture: {names}. Not beaten: "
    height = 3.0 + 0.2 * len(points)
    return svg_from_drawing(
        draw, said + ", ".join(one.name for one in best), prefix=prefix, height=height
    )


def _legend(axes: Any) -> None:
    """Put the legend below the axes, where it covers nothing; short names in two columns."""
    names = axes.get_legend_handles_labels()[1]
    short = max(map(len, names), default=0) <= _SHORT_NAME
    axes.figure.legend(loc="outside lower center", ncols=2 if short else 1, frameon=False)


def _at_least(low: float, high: float, span: float) -> tuple[float, float]:
    """Widen a range to at least ``span``, so that noise does not look like a difference."""
    missing = max(0.0, span - (high - low)) / 2
    return low - missing, high + missing


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_name: str,
    y_name: str,
    prefix: str,
    *,
    share: bool = False,
    labels: Sequence[Sequence[str]] = (),
) -> str:
    """Named curves.

    Args:
        curves: x and y of each.
        x_name, y_name: of the axes.
        prefix: see :func:`.drawing.svg_from_drawing`.
        share: whether both axes go from 0 to 1.
        labels: of the points of each curve, which are then marked.
    """

    def draw(axes: Any) -> None:
        for place, (name, (x, y)) in enumerate(curves.items()):
            color = COLORS[place % len(COLORS)]
            axes.plot(
                *(x, y),
                color=color,
                linestyle=LINES[place % len(LINES)],
                marker=MARKERS[place % len(MARKERS)] if labels else None,
                linewidth=1.8,
                label=legible_name(name),
            )
            for a, b, text in zip(x, y, labels[place] if labels else (), strict=False):
                axes.annotate(text, (a, b), xytext=(4, 4), textcoords="offset points", color=color)
        if share:
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.02)
        else:
            axes.margins(0.15)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        _legend(axes)

    return svg_from_drawing(
        draw,
        f"{y_name} against {x_name} of {', '.join(curves)}",
        prefix=prefix,
        height=3.0 + 0.2 * len(curves),
    )


def histogram(samples: Sequence[float], marks: Mapping[str, float], prefix: str) -> str:
    """Durations in milliseconds, with percentiles marked."""

    def draw(axes: Any) -> None:
        # a single late run would compress all bars into one; the marks show it instead
        end = max(marks.values(), default=max(samples))
        shown = [value for value in samples if value <= end]
        axes.hist(
            shown or samples,
            bins=min(40, max(5, len(samples))),
            color=COLORS[4],
            edgecolor="white",
            linewidth=0.4,
        )
        for place, (name, value) in enumerate(marks.items()):
            axes.axvline(
                value,
                color=COLORS[(0, 1, 6, 2)[place % 4]],
                linestyle=LINES[place % len(LINES)],
                label=f"{name} {value:.2f} ms",
            )
        axes.set_xlabel("ms per picture")
        axes.set_ylabel("runs")
        _legend(axes)

    told = ", ".join(f"{name} {value:.2f} ms" for name, value in marks.items())
    return svg_from_drawing(draw, f"Durations of {len(samples)} runs: {told}", prefix=prefix)


def bars(
    groups: Mapping[str, Mapping[str, float | None]],
    y_name: str,
    prefix: str,
    *,
    form: str = "{:.3f}",
    labelled: bool = True,
) -> str:
    """Grouped bars: by series, then by position on the axis; None leaves a gap.

    ``labelled``: whether to show numbers, for which many bars leave no room.
    """
    ticks = list(next(iter(groups.values())))

    def draw(axes: Any) -> None:
        width = 0.8 / len(groups)
        for place, (name, values) in enumerate(groups.items()):
            left = [i + (place - (len(groups) - 1) / 2) * width for i in range(len(ticks))]
            heights = [values[tick] or 0.0 for tick in ticks]
            drawn = axes.bar(
                *(left, heights),
                width=width,
                color=COLORS[place % len(COLORS)],
                hatch=HATCHES[place % len(HATCHES)],
                edgecolor="white",
                linewidth=0.4,
                label=legible_name(name),
            )
            texts = ["-" if values[t] is None else form.format(values[t]) for t in ticks]
            if labelled:
                axes.bar_label(drawn, texts, padding=2, fontsize=7)
        axes.set_xticks(range(len(ticks)), [legible_name(tick) for tick in ticks])
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.12)
        axes.set_ylabel(y_name)
        if len(groups) > 1:
            _legend(axes)

    told = "; ".join(
        f"{name}: "
        + ", ".join(f"{t} {'none' if v[t] is None else form.format(v[t])}" for t in ticks)
        for name, v in groups.items()
    )
    return svg_from_drawing(draw, f"{y_name}. {told}", prefix=prefix)


def bars_below(
    values: Mapping[str, float], x_name: str, prefix: str, form: str = "{:.2f}", *, sums: bool
) -> str:
    """Bars below each other; if ``sums``, each begins where the one above ends."""

    def draw(axes: Any) -> None:
        start = 0.0
        for place, (name, value) in enumerate(values.items()):
            axes.barh(
                legible_name(name),
                value,
                left=start,
                color=COLORS[place % len(COLORS)],
                hatch=HATCHES[place % len(HATCHES)],
                edgecolor="white",
                linewidth=0.4,
            )
            end = start + value
            axes.annotate(
                form.format(value),
                (end, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
            start = end if sums else 0.0
        axes.invert_yaxis()
        axes.margins(x=0.14)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(x_name)

    told = ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
    height = 1.2 + 0.32 * len(values)
    return svg_from_drawing(draw, f"{x_name}: {told}", prefix=prefix, height=height)


def waterfall(
    begin: tuple[str, float],
    steps: Sequence[tuple[str, float]],
    end: tuple[str, float],
    x_name: str,
    prefix: str,
) -> str:
    """Steps from one value to another, each drawn from where the previous one ended."""
    places = [begin[1]]
    for _, step in steps:
        places.append(places[-1] + step)
    values = [*places, end[1]]

    def draw(axes: Any) -> None:
        names = [begin[0], *(name for name, _ in steps), end[0]]
        low, high = _at_least(min(values), max(values), 0.0005)
        room = (high - low) * 0.25
        for row in range(len(names)):
            if row in (0, len(names) - 1):
                value = begin[1] if row == 0 else end[1]
                axes.plot([value], [row], marker="D", color=COLORS[6], linestyle="none")
                right, text = value, f"{value:.5f}"
            else:
                step = steps[row - 1][1]
                left, right = sorted((places[row - 1], places[row]))
                axes.barh(
                    *(row, right - left),
                    left=left,
                    color=COLORS[1] if step < 0 else COLORS[0],
                    hatch="///" if step < 0 else "",
                    edgecolor="white",
                    linewidth=0.4,
                )
                text = f"{step:+.5f}"
            axes.annotate(
                text, (right, row), xytext=(6, 0), textcoords="offset points", va="center"
            )
            axes.plot([places[min(row, len(steps))]] * 2, [row, row + 0.6], color="#777777", lw=0.7)
        axes.set_yticks(range(len(names)), [legible_name(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(low - room * 0.4, high + room)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(x_name)

    told = ", ".join(f"{name} {step:+.5f}" for name, step in steps)
    said = f"{x_name} from {begin[0]} {begin[1]:.5f} to {end[0]} {end[1]:.5f}: {told}"
    return svg_from_drawing(draw, said, prefix=prefix, height=1.2 + 0.32 * (len(steps) + 2))
