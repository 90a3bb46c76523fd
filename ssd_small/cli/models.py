"""``ssd-small models``."""

from __future__ import annotations

from typing import Any

import click

from ..models.shipped import ShippedCheckpoint, shipped_checkpoints
from .options import WIDTH, json_option, print_json, print_table


@click.command()
@click.option("--num-classes", type=click.IntRange(2, 1024), default=81, show_default=True)
@click.option("--width", type=WIDTH, default=1.0, show_default=True)
@json_option
def command(num_classes: int, width: float, as_json: bool) -> None:
    """List the networks, and the small trained ones that come with the package.

    mAP in percent on COCO val2017 (small, medium, large, all) and milliseconds per image are
    the published ones; the GPU they were measured on is not known. --weights takes the name of a
    shipped checkpoint; its mAP is that of the val split of its own data.
    """
    rows, shipped = model_rows(num_classes, width), shipped_checkpoints()
    if as_json:
        print_json({"networks": rows, "checkpoints": [one.to_dict() for one in shipped]})
        return
    headers = "name|input|feature maps|priors|params M|GMAC|S|M|L|all|published ms"
    print_table([_texts(row) for row in rows], headers.split("|"))
    click.echo()
    headers = "--weights|width|trained on|licence|S|M|L|all"
    print_table([_checkpoint_texts(one) for one in shipped], headers.split("|"))


def model_rows(num_classes: int, width: float) -> list[dict[str, Any]]:
    """The published networks with their figures, JSON-ready."""
    from ..models.registry import list_models

    return [_row(name, num_classes, width) for name in list_models()]


def _row(name: str, num_classes: int, width: float) -> dict[str, Any]:
    from ..models.registry import get_spec
    from ..models.shapes import summarize

    spec = get_spec(name)
    summary = summarize(spec, num_classes, width)
    published = spec.published
    return {
        "name": name,
        "title": spec.title,
        "input": list(spec.input_size),
        "feature_maps": [[shape.height, shape.width] for shape in summary.levels],
        "priors": summary.num_priors,
        "parameters": summary.cost.parameters,
        "macs": summary.cost.macs,
        "published_map": {
            "small": published.map_small,
            "medium": published.map_medium,
            "large": published.map_large,
            "all": published.map_all,
        }
        if published
        else None,
        "published_ms": published.milliseconds if published else None,
    }


def _texts(row: dict[str, Any]) -> list[str]:
    height, width = row["input"]
    figures = row["published_map"] or {}
    return [
        row["name"],
        f"{height}x{width}",
        " ".join(str(m) if m == n else f"{m}x{n}" for m, n in row["feature_maps"]),
        f"{row['priors']:,}".replace(",", " "),
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['macs'] / 1e9:.2f}",
        *(f"{value:.1f}" for value in figures.values()),
        "-" if row["published_ms"] is None else f"{row['published_ms']:.1f}",
    ]


def _checkpoint_texts(one: ShippedCheckpoint) -> list[str]:
    sizes = (
        f"{100 * one.metrics[f'AP{size}']:.1f}" for size in ("_small", "_medium", "_large", "")
    )
    return [one.name, f"{one.width:g}", one.data, one.licence, *sizes]
