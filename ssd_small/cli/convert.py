"""``ssd-small convert``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from .options import FILE, FOLDER, json_option, max_pixels_option, note, print_json, say

if TYPE_CHECKING:
    from ..datasets.coco_writer import Conversion

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def conversion_options(command: Decorated) -> Decorated:
    """What ``convert`` and ``convert-voc`` have in common: arguments of :func:`convert`."""
    for option in reversed(
        (
            click.option(
                "--images", type=FOLDER, help="Folder of the pictures, if they are elsewhere."
            ),
            click.option(
                "--split",
                help="Name in ImageSets/Main or data.yaml, or a folder or list of pictures; "
                "default: all.",
            ),
            click.option(
                "--labels",
                type=FILE,
                help="Text file with a class name per line, in the order of their ids; other "
                "classes are left out; default: as numbered in the source, else all names, "
                "sorted.",
            ),
            click.option(
                "--zero-based", is_flag=True, help="VOC: pixels count from 0, xmax is exclusive."
            ),
            click.option(
                "--keep-difficult",
                is_flag=True,
                help="VOC: learn and score objects marked difficult; default: iscrowd, so neither.",
            ),
            click.option(
                "--output", "-o", type=FILE, required=True, help="COCO-format JSON to write."
            ),
            max_pixels_option,
            json_option,
        )
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "--from", "kind", type=click.Choice(["voc", "yolo", "csv"]), required=True,
    help="What SOURCE is.",
)  # fmt: skip
@click.argument("source", type=FILE)
@conversion_options
def command(kind: str, source: Path, **options: Any) -> None:
    """Convert annotations to the COCO format that all commands take.

    SOURCE is a folder of Pascal VOC XML (Annotations and JPEGImages, or the names other tools give
    them, or XML beside the pictures); a folder with YOLO labels, or its data.yaml or obj.data; or a
    CSV file of image,x1,y1,x2,y2,label in pixels, with or without a header.

    Boxes: VOC counts pixels from 1 and includes the last (x = xmin - 1, width = xmax - xmin + 1);
    YOLO uses fractions of the picture as displayed (x = cx*W - w*W/2, width = w*W); in a CSV file
    pixels count from 0 and the box ends at x2 (width = x2 - x1).
    """
    convert(kind, source, **options)


def convert(
    kind: str,
    source: Path,
    *,
    images: Path | None,
    split: str | None,
    labels: Path | None,
    zero_based: bool,
    keep_difficult: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Convert ``source``, which is of ``kind``, to the file ``output``."""
    from ..artefacts.labels import read_labels
    from ..artefacts.outputs import check_outputs
    from ..datasets.coco_file import write_annotations
    from ..datasets.csv_boxes import coco_from_csv
    from ..datasets.voc import coco_from_voc
    from ..datasets.yolo import coco_from_yolo

    if kind != "voc" and (zero_based or keep_difficult):
        option = "--zero-based" if zero_based else "--keep-difficult"
        raise UsageError(f"{option} is for --from voc, not {kind}; leave it out")
    if kind == "csv" and split is not None:
        raise UsageError("--split is for folders, not --from csv; leave it out")
    # what a CSV file or a data.yaml names lies beside it, unless told otherwise, and is no JSON
    named = images is None and source.is_file() and output.suffix.lower() != ".json"
    beside = source.parent if named else None
    check_outputs([output], [source, beside, images, labels])
    names = read_labels(labels) if labels else None
    if kind == "voc":
        made = coco_from_voc(
            *(source, split, names),
            images=images,
            zero_based=zero_based,
            keep_difficult=keep_difficult,
        )
    elif kind == "yolo":
        made = coco_from_yolo(source, split, names, images=images)
    else:
        made = coco_from_csv(source, names, images=images)
    notes = made.lines(kept_difficult=keep_difficult)
    for line in notes:
        note(f"note: {line}")
    write_annotations(output, made.content)
    _report(made, output, notes, as_json=as_json)


def _report(made: Conversion, output: Path, notes: Sequence[str], *, as_json: bool) -> None:
    images, objects = len(made.content["images"]), len(made.content["annotations"])
    if as_json:
        print_json(
            {
                "annotations": str(output),
                "images_folder": str(made.images),
                "images": images,
                "objects": objects,
                "labels": list(made.labels),
                **{name: made.counts.get(name, 0) for name in made.FATES},
                "other_classes": dict(made.other),
                "notes": list(notes),
            }
        )
        return
    say(
        f"{output}: {images} images, {objects} objects of {len(made.labels)} classes; "
        f"pass it with --images {made.images}"
    )
