"""``ssd-small convert-voc``: ``convert --from voc`` by the name that it had first."""

from __future__ import annotations

from pathlib import Path

import click

from .convert import (
    convert,
    images_option,
    keep_difficult_option,
    labels_option,
    output_option,
    split_option,
    zero_based_option,
)
from .options import FOLDER, json_option


@click.command()
@click.option(
    "--folder",
    "--devkit",
    type=FOLDER,
    required=True,
    help="VOC folder, e.g. VOCdevkit/VOC2007: Annotations, JPEGImages, ImageSets/Main.",
)
@images_option
@split_option
@labels_option
@zero_based_option
@keep_difficult_option
@output_option
@json_option
def command(
    folder: Path,
    images: Path | None,
    split: str | None,
    labels: Path | None,
    zero_based: bool,
    keep_difficult: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Convert Pascal VOC annotations: convert --from voc."""
    convert("voc", folder, images, split, labels, zero_based, keep_difficult, output, as_json)
