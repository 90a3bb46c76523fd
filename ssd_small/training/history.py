"""Losses and scores over a run, as CSV and as a plot."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadFile
from ..files import read_bytes, write_bytes

LOSSES = ("lr", "loss", "loc", "conf", "positives", "images_per_second")
SCORES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
COLUMNS = ("iteration", "epoch", "seconds", *LOSSES, *SCORES)

Row = Mapping[str, float | None]


@dataclass
class History:
    """Rows of numbers by column; columns without a value in a row are None.

    Attributes:
        path: the CSV file, rewritten whenever a row is added.
        rows: rows in order of iteration. Losses are averages over the updates since the previous
            row with losses; rows with scores are evaluations.
    """

    path: Path
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def up_to(cls, path: Path, iteration: int) -> History:
        """Read the rows of the first ``iteration`` updates from a CSV file; drop later rows.

        Raises:
            BadFile: the file is missing or is not a history.
        """
        try:
            text = read_bytes(path, "the history of the run").decode()
            rows = [
                {key: float(value) if value else None for key, value in row.items()}
                for row in csv.DictReader(io.StringIO(text), strict=True)
            ]
            if any(set(row) != set(COLUMNS) for row in rows):
                raise ValueError("other columns")
        except (ValueError, TypeError, csv.Error) as error:
            raise BadFile(
                f"{path} is not the history of a run ({error}); move it away to go on"
            ) from error
        return cls(path, [row for row in rows if (row["iteration"] or 0) <= iteration])

    def add(self, **values: float | None) -> None:
        """Append a row and write the file.

        Raises:
            OutputError: it cannot be written.
        """
        self.rows.append({name: values.get(name) for name in COLUMNS})
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_text(row[name]) for name in COLUMNS] for row in self.rows)
        write_bytes(self.path, stream.getvalue().encode())

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Iterations and values of a column, for the rows that have a value."""
        points = [(row["iteration"] or 0.0, row[name]) for row in self.rows]
        known = [(x, y) for x, y in points if y is not None]
        return [x for x, _ in known], [y for _, y in known]


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.7g}"


def draw_curves(history: History, path: Path, title: str) -> None:
    """Draw losses, learning rate and scores over the updates as PNG; needs matplotlib.

    Raises:
        ImportError: matplotlib is not installed.
        OutputError: the PNG file cannot be written.
    """
    # where matplotlib cannot write its cache, it warns on standard error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels: Sequence[Any] = figure.subplots(2, 1, sharex=True)
    _panel(panels[0], history, ("loss", "loc", "conf"), "loss")
    rate = panels[0].twinx()
    rate.plot(*history.curve("lr"), color="0.7", linewidth=1)
    rate.set_ylabel("learning rate (grey)")
    _panel(panels[1], history, ("AP", "AP50", "AP_small", "AP_medium", "AP_large"), "precision")
    panels[1].set_xlabel("update")
    # encoded in memory, because PIL reports a full disk with an error number of its own
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=100)
    write_bytes(path, encoded.getvalue())


def _panel(panel: Any, history: History, names: Sequence[str], ylabel: str) -> None:
    drawn = False
    for name in names:
        x, y = history.curve(name)
        if x:
            panel.plot(x, y, label=name, marker="." if len(x) < 50 else None)
            drawn = True
    panel.set_ylabel(ylabel)
    panel.grid(alpha=0.3)
    if drawn:
        panel.legend()
