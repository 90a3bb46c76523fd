"""``ssd-small models``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile
from ..models.shipped import ShippedCheckpoint, shipped_checkpoints
from .config_file import (
    config_option,
    experiment_from_option,
    spec_from_experiment,
)
from .options import WIDTH, json_option, print_json, print_table

if TYPE_CHECKING:
    from ..models.spec import ModelSpec


@click.command()
@click.option("--num-classes", type=click.IntRange(2, 1024), help="Default: --config's, else 81.")
@click.option("--width", type=WIDTH, help="Default: --config's, else 1.")
@config_option
@json_option
def command(
    num_classes: int | None, width: float | None, config: Path | None, as_json: bool
) -> None:
    """List the networks, and the small trained ones that come with the package.

    With --config, only the network in that file.

    mAP in percent on COCO val2017 (small, medium, large, all) and milliseconds per image are the
    published figures; the GPU is not known. --weights takes the name of a shipped checkpoint; its
    mAP is measured on the val split of its own data set.
    """
    experiment = experiment_from_option(config)
    if experiment is not None:
        spec = spec_from_experiment(experiment, None)
        if spec is None:
            raise BadFile(
                f"{experiment.path} describes no network; expected NETS or SSDS in MODEL, or model"
            )
        width = width or experiment.options.get("width")
        num_classes = num_classes or experiment.described_classes
        rows = [_row(spec, num_classes or 81, width or 1.0)]
    else:
        rows = model_rows(num_classes or 81, width or 1.0)
    shipped = shipped_checkpoints() if experiment is None else ()
    if as_json:
        print_json({"networks": rows, "checkpoints": [one.to_dict() for one in shipped]})
        return
    headers = "name|input|feature maps|priors|params M|GMAC|S|M|L|all|published ms"
    print_table([_texts(row) for row in rows], headers.split("|"))
    if experiment is not None:
        return
    click.echo()
    headers = "--weights|width|trained on|licence|S|M|L|all"
    print_table([_checkpoint_texts(one) for one in shipped], headers.split("|"))


def model_rows(num_classes: int, width: float) -> list[dict[str, Any]]:
    """The published networks with their figures, JSON-ready."""
    from ..models.registry import get_spec, list_models

    return [_row(get_spec(name), num_classes, width) for name in list_models()]


def _row(spec: ModelSpec, num_classes: int, width: float) -> dict[str, Any]:
    from ..models.shapes import summarize

    summary = summarize(spec, num_classes, width)
    published = spec.published
    return {
        "name": spec.name,
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
    figures = row["published_map"] or dict.fromkeys(("small", "medium", "large", "all"))
    return [
        row["name"],
        f"{height}x{width}",
        " ".join(str(m) if m == n else f"{m}x{n}" for m, n in row["feature_maps"]),
        f"{row['priors']:,}".replace(",", " "),
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['macs'] / 1e9:.2f}",
        *("-" if value is None else f"{value:.1f}" for value in figures.values()),
        "-" if row["published_ms"] is None else f"{row['published_ms']:.1f}",
    ]


def _checkpoint_texts(one: ShippedCheckpoint) -> list[str]:
    sizes = (
        f"{100 * one.metrics[f'AP{size}']:.1f}" for size in ("_small", "_medium", "_large", "")
    )
    return [one.name, f"{one.width:g}", one.data, one.licence, *sizes]
