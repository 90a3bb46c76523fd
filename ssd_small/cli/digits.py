"""``ssd-small digits``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import FOLDER


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--train-images", type=click.IntRange(min=0), default=200, show_default=True)
@click.option("--val-images", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def command(folder: Path, train_images: int, val_images: int, seed: int) -> None:
    """Write the demo's data set, handwritten digits on photographs, to FOLDER."""
    from ..datasets.digits import make_digits

    made = make_digits(folder, train_images=train_images, val_images=val_images, seed=seed)
    click.echo(
        f"{made.train_annotations}: {train_images} pictures, {made.val_annotations}: "
        f"{val_images} pictures"
    )
