"""``ssd-small digits``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from .options import FOLDER, json_option, print_json, say


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--train-images", type=click.IntRange(min=0), default=200, show_default=True)
@click.option("--val-images", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def command(folder: Path, train_images: int, val_images: int, seed: int, as_json: bool) -> None:
    """Write the demo's data set, handwritten digits on photographs, to FOLDER."""
    from ..datasets.digits import make_digits

    made = make_digits(folder, train_images=train_images, val_images=val_images, seed=seed)
    if as_json:
        counts = {"train": train_images, "val": val_images}
        paths = {name: str(path) for name, path in asdict(made).items()}
        print_json({"pictures": counts, "seed": seed, **paths})
        return
    say(
        f"{made.train_annotations}: {train_images} pictures, {made.val_annotations}: "
        f"{val_images} pictures"
    )
