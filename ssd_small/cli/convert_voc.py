"""``ssd-small convert-voc``: ``convert --from voc`` by the name that it had first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .convert import conversion_options, convert
from .options import FOLDER


@click.command()
@click.option(
    "--folder",
    "--devkit",
    type=FOLDER,
    required=True,
    help="VOC folder, e.g. VOCdevkit/VOC2007: Annotations, JPEGImages, ImageSets/Main.",
)
@conversion_options
def command(folder: Path, **options: Any) -> None:
    """Convert Pascal VOC annotations to the COCO format: convert --from voc."""
    convert("voc", folder, **options)
