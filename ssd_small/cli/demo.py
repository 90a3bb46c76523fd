"""``ssd-small demo``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import FOLDER


@click.command()
@click.option(
    "--output",
    "-o",
    type=FOLDER,
    default=Path("demo"),
    show_default=True,
    help="Folder for data, engines, figures and pictures.",
)
def command(output: Path) -> None:
    """Run the whole flow on real pixels: data, export, engine, eval, bench, detect.

    Every command is printed, so that it can be repeated with other files. Exit 1 if an
    engine's mAP is not that of PyTorch.
    """
    from ..files import check_writable
    from ..requirements import require

    check_writable(output / "summary")
    for module in ("torch", "onnx", "onnxscript", "onnxruntime", "pycocotools", "cv2", "PIL"):
        require(module, "the demo")
    for module in ("sklearn", "skimage"):
        require(module, "the demo's data set")
    from ..demo import run_demo

    run_demo(output, click.echo)
