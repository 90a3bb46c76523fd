"""``ssd-small import``."""

from __future__ import annotations

from pathlib import Path

import click

from ..importing.family import PROJECTS
from .options import FILE, InputSize, json_option, note, print_json, say


@click.command()
@click.argument("source", metavar="FILE", type=FILE)
@click.option(
    "--from",
    "project",
    type=click.Choice(["auto", "published", *PROJECTS]),
    default="auto",
    show_default=True,
    help="Project that FILE comes from; published: one of 'ssd-small models'.",
)
@click.option(
    "--model", metavar="NAME", help="Network of that project; default: inferred from the weights."
)
@click.option(
    "--priors",
    type=click.Choice(["voc", "coco"]),
    help="Table of prior boxes, where the weights do not determine it (amdegroot). Default: voc "
    "for 21 classes, else coco.",
)
@click.option(
    "--input-size",
    type=InputSize(),
    help="Input size it was trained with, such as 512 or 640x480. Default: the published size.",
)
@click.option(
    "--labels",
    type=FILE,
    help="Text file with a class name per line. Default: chosen by the number of classes.",
)
@click.option("--output", "-o", type=FILE, required=True, help="Checkpoint to write.")
@json_option
def command(
    source: Path,
    project: str,
    model: str | None,
    priors: str | None,
    input_size: tuple[int, int] | None,
    labels: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Import a detector from another project.

    FILE is a checkpoint of torchvision's ssd300_vgg16 or ssdlite320_mobilenet_v3_large, of
    ssd.pytorch (amdegroot), pytorch-ssd (qfgaohao), NVIDIA's SSD300 or Ultra-Light face detectors:
    a state dict, also within a trainer's dictionary, or safetensors. The output is a checkpoint
    that describes its network, with that project's prior boxes, preprocessing and post-processing;
    all commands take it as --weights.
    """
    from ..artefacts.labels import read_labels
    from ..artefacts.outputs import check_outputs
    from ..importing.checkpoint import imported_from_file
    from ..importing.published import imported_from_published
    from ..requirements import require

    check_outputs([output], [source, labels])
    require("torch", f"reading {source}")
    names = None if labels is None else read_labels(labels)
    if project == "published":
        imported = imported_from_published(
            source, model=model, priors=priors, input_size=input_size, labels=names
        )
    else:
        imported = imported_from_file(
            source,
            project=None if project == "auto" else project,
            model=model,
            priors=priors,
            input_size=input_size,
            labels=names,
        )
    for line in imported.lines:
        note(f"note: {line}")
    imported.write(output)
    description = imported.record.description
    if as_json:
        print_json(
            {
                "file": str(output),
                "project": imported.project,
                "network": imported.model,
                "notes": list(imported.lines),
                "description": description.to_dict(),
            }
        )
        return
    height, width = description.network_size
    say(
        f"{output}: {description.model}, {description.num_classes} classes, input {width}x{height},"
        f" {len(description.priors)} prior boxes"
    )
