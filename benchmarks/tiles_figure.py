"""Draw the README's figure of large pictures, whole and in tiles, from results/tiles.json.

python benchmarks/tiles_figure.py
"""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from readme_large import TITLES
from readme_tables import RESULTS, result

WAYS = {"whole": "#b0b0b0", "tiles": "#2b6ca3"}
SIZES = ("small", "medium", "large")


def main() -> None:
    """Write benchmarks/results/tiles.png: bars of recall by size."""
    report = {name: told for name, told in result("tiles").items() if name in TITLES}
    figure = Figure(figsize=(7.2, 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(report), sharey=True, squeeze=False)[0]
    for axis, (name, told) in zip(axes, report.items(), strict=True):
        least = min(row["score_threshold"] for row in told["rows"])
        rows = {row["way"]: row for row in told["rows"] if row["score_threshold"] == least}
        for place, (way, color) in enumerate(WAYS.items()):
            values = [rows[way]["scores"][f"recall_{size}"] for size in SIZES]
            known = [(x, value) for x, value in enumerate(values) if value is not None]
            places = [x + 0.4 * place - 0.2 for x, _ in known]
            bars = axis.bar(places, [value for _, value in known], 0.38, color=color, label=way)
            axis.bar_label(bars, fmt="%.2f", fontsize=7)
        axis.set_title(TITLES[name], fontsize=8)
        axis.set_xticks(range(len(SIZES)), SIZES, fontsize=8)
        axis.set_ylim(0, 1.1)
        axis.tick_params(axis="y", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("recall, IoU 0.5", fontsize=8)
    axes[0].legend(fontsize=7, frameon=False, loc="upper left")
    figure.savefig(RESULTS / "tiles.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
