"""``ssd-small demo``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import CheckFailed
from .options import FOLDER, json_option, note, print_json, report_option


@click.command()
@click.option(
    "--output",
    "-o",
    type=FOLDER,
    default=Path("demo"),
    show_default=True,
    help="Folder for data, engines, figures and pictures.",
)
@report_option
@json_option
def command(output: Path, page: Path | None, as_json: bool) -> None:
    """Run the whole flow: data, export, engine, parity, bench, detect.

    Every command is printed, so that it can be repeated with other files. Exit 1 if an engine
    differs from its network in PyTorch.
    """
    from ..files import check_writable
    from ..json_files import read_json
    from ..requirements import require

    check_writable(output / "summary")
    if page:
        from ..report.page import check_report

        check_report(page, [])
    for module in ("torch", "onnx", "onnxscript", "onnxruntime", "hotcoco", "cv2", "PIL"):
        require(module, "the demo")
    for module in ("sklearn", "skimage"):
        require(module, "the demo's data set")
    from ..demo import run_demo

    def report() -> None:
        if as_json:
            print_json(read_json(output / "summary.json", "the demo's summary"))
        if page:
            from ..report.from_runs import page_from_runs
            from ..report.page import write_page
            from ..report.run_files import read_run

            write_page(page_from_runs([read_run(output / "summary.json")]), page)

    try:
        # with --json, standard output is the summary's alone
        run_demo(output, _note_lines if as_json else click.echo)
    except CheckFailed:
        report()
        raise
    report()


def _note_lines(text: str) -> None:
    for line in text.split("\n"):
        note(line)
