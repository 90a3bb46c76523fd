"""``ssd-small convert-voc``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import FILE, FOLDER, json_option, note, print_json


@click.command()
@click.option(
    "--folder",
    "--devkit",
    type=FOLDER,
    required=True,
    help="VOC folder, e.g. VOCdevkit/VOC2007: Annotations, JPEGImages, ImageSets/Main.",
)
@click.option("--split", help="Name in ImageSets/Main, e.g. trainval; default: all annotations.")
@click.option(
    "--labels",
    type=FILE,
    help="Text file with a class name per line, in the order of their ids; default: all names in "
    "the folder, sorted.",
)
@click.option("--zero-based", is_flag=True, help="Pixels count from 0, xmax is exclusive.")
@click.option(
    "--keep-difficult",
    is_flag=True,
    help="Learn and score objects marked difficult; default: iscrowd, so neither.",
)
@click.option("--output", "-o", type=FILE, required=True, help="COCO-format JSON to write.")
@json_option
def command(
    folder: Path,
    split: str | None,
    labels: Path | None,
    zero_based: bool,
    keep_difficult: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Convert Pascal VOC annotations to the COCO format that all commands take."""
    import json

    from ..artefacts.labels import read_labels
    from ..datasets.voc import coco_from_voc
    from ..files import check_writable, write_bytes

    check_writable(output)
    names = read_labels(labels) if labels else None
    made = coco_from_voc(folder, split, names, zero_based=zero_based, keep_difficult=keep_difficult)
    write_bytes(output, json.dumps(made.content).encode())
    for count, fate in (
        (0 if keep_difficult else made.difficult, "marked difficult are iscrowd: not learned"),
        (made.without_area, "without area were left out"),
        (sum(made.other.values()), f"of other classes left out: {', '.join(sorted(made.other))}"),
        (made.from_zero, "start at 0; if the tool counts pixels from 0, pass --zero-based"),
    ):
        if count:
            note(f"note: {count} objects {fate}")
    images, objects = len(made.content["images"]), len(made.content["annotations"])
    if as_json:
        print_json(
            {
                "annotations": str(output),
                "images_folder": str(made.images),
                "images": images,
                "objects": objects,
                "labels": list(made.labels),
                "difficult": made.difficult,
                "without_area": made.without_area,
                "other_classes": made.other,
                "from_zero": made.from_zero,
            }
        )
        return
    click.echo(
        f"{output}: {images} images, {objects} objects of {len(made.labels)} classes; "
        f"pass it with --images {made.images}"
    )
