"""``ssd-small triton-client``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .detect import check_faults, print_detections
from .options import (
    FILE,
    Number,
    batch_option,
    json_option,
    max_pixels_option,
    note,
    score_threshold_option,
    workers_option,
)


@click.command()
@click.argument("url")
@click.argument("images", nargs=-1, required=True, type=FILE)
@click.option("--model", help="Model on the server. Default: the only one written by 'triton'.")
@score_threshold_option(
    "Show scores above",
    "what 'eval --save-operating-point' has saved, else 0.5, or the engine's own where that is "
    "larger.",
)
@click.option(
    "--timeout",
    type=Number(0, 3600, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time to wait for an answer.",
)
@batch_option
@workers_option
@max_pixels_option
@json_option
def command(
    url: str,
    images: tuple[Path, ...],
    model: str | None,
    thresholds: tuple[tuple[str | None, float], ...],
    timeout: float,
    batch: int | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Detect objects in IMAGES with the Triton server at URL, as 'detect' does with an engine.

    URL is http://HOST:PORT or grpc://HOST:PORT, optionally followed by /MODEL. Pictures are
    preprocessed here as the model's configuration says; those for an ensemble are sent as they are.
    Exit 3 where the server does not answer, 4 where it has no such model.
    """
    from ..pictures.listing import list_images
    from ..serving.triton.connection import address_from_url
    from ..serving.triton.remote import open_remote

    address = address_from_url(url)
    listing = list_images(images)
    paths = listing.files
    if passed_over := listing.note():
        note(f"note: {passed_over}")
    running: dict[str, Any] = {"max_batch": batch, "workers": workers}
    with open_remote(address, model, timeout=timeout, **running) as detector:
        faults = print_detections(
            detector, paths, [], as_json, None, threshold=dict(thresholds) or None
        )
    check_faults(faults, len(paths))
