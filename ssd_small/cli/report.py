"""``ssd-small report``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import FILE, FOLDER, say


@click.command()
@click.argument("runs", type=FILE, nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    "-o",
    "--report",
    type=FOLDER,
    default=Path("report"),
    show_default=True,
    help="Folder for report.html, a self-contained page.",
)
def command(runs: tuple[Path, ...], output: Path) -> None:
    """Combine scores and times into one page, for choosing an engine.

    RUN is the output of 'eval --json', 'bench --json' or 'parity --json', or the folder of a demo.
    Scores and times belong to one engine where the runs name the same file. A single run has its
    own page.
    """
    from ..report.from_runs import page_from_runs
    from ..report.page import check_report, write_page
    from ..report.run_files import read_run

    check_report(output, runs)
    found = [read_run(path) for path in runs]
    say(str(write_page(page_from_runs(found), output)))
