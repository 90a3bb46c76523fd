"""Output of a run in progress: lines on standard error and in a log file, and a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..files import output_error
from ..terminal import drawing_stream, shown

_BAR = 1000


def as_duration(seconds: float) -> str:
    """Format a duration as ``59 s``, ``12:34`` or ``1:02:03``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


@dataclass
class Reporter:
    """Writes lines to standard error and to a log file.

    Attributes:
        path: the log file, or None for no file.
        speaks: whether anything is printed.
        bar: the progress bar, if standard error is a terminal.
    """

    path: Path | None = None
    speaks: bool = True
    bar: Any | None = None

    def line(self, text: str, *, terminal: bool = True) -> None:
        """Write a line to the file and to standard error.

        With a progress bar, lines with ``terminal=False`` are written to the file only.
        """
        text = shown(text)
        # a closed terminal does not end the run: the line is still written to the file
        with suppress(OSError):
            if self.bar is None:
                if self.speaks:
                    click.echo(text, err=True)
            elif terminal:
                click.echo(f"\r\033[K{text}", drawing_stream())
                self.bar.render_progress()
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(text + "\n")
            except OSError as error:
                raise output_error(self.path, error) from error

    def show(self, share: float, text: str) -> None:
        """Show the spent share of the budget, 0 to 1, and a short text on the bar, if any."""
        if self.bar is None:
            return
        with suppress(OSError):
            self.bar.update(max(0, int(_BAR * min(share, 1.0)) - self.bar.pos), text)


@contextmanager
def reporting(path: Path | None, *, speaks: bool = True) -> Iterator[Reporter]:
    """Provide a reporter, with a progress bar if standard error is a terminal.

    Args:
        path: the log file, or None for no file.
        speaks: False for a process that reports nothing, not even to the file.
    """
    if not speaks or not sys.stderr.isatty():
        yield Reporter(path if speaks else None, speaks)
        return
    bar: Any = click.progressbar(
        length=_BAR,
        file=drawing_stream(),
        show_eta=False,
        item_show_func=lambda text: str(text or ""),
        bar_template="%(bar)s %(info)s",
        width=20,
    )
    with bar:
        yield Reporter(path, True, bar)
