"""``ssd-small tile``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import BadFile, OutputError, UsageError
from ..files import behind_links, output_error, state_of
from .options import (
    FILE,
    FOLDER,
    Number,
    PictureSize,
    json_option,
    max_pixels_option,
    note,
    print_json,
    progress_bar,
    say,
    sets_option,
)

if TYPE_CHECKING:
    from ..datasets.coco import Annotations
    from ..datasets.tile_set import TileReport, TileRules


@click.command()
@click.argument("annotations", type=FILE)
@click.option("--images", type=FOLDER, help="Folder of its image files.")
@sets_option("--sets", "ANNOTATIONS")
@click.option("--output", "-o", type=FOLDER, required=True, help="Folder to write; new or empty.")
@click.option("--tiles", "size", type=PictureSize(), required=True,
              help="Size of a tile in pixels of the pictures, such as 300x300.")  # fmt: skip
@click.option("--overlap", type=Number(0, 1, max_open=True), default=0.2, show_default=True,
              help="Share of a tile that overlaps the next one.")  # fmt: skip
@click.option("--min-visible", type=Number(0, 1, min_open=True), default=0.6, show_default=True,
              help="Smallest visible share of a cut object for it to be learned.")  # fmt: skip
@click.option("--empty", type=Number(0, 1e6), default=0.1, show_default=True, metavar="RATIO",
              help="Tiles without objects to keep, per tile with objects.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True,
              help="Seed for choosing tiles without objects.")  # fmt: skip
@click.option("--jpeg", type=click.IntRange(1, 100), metavar="QUALITY",
              help="Write JPEG of this quality. Default: PNG, which is lossless.")  # fmt: skip
@max_pixels_option
@json_option
def command(
    annotations: Path,
    images: Path | None,
    sets: tuple[tuple[str, str], ...] | None,
    output: Path,
    size: tuple[int, int],
    overlap: float,
    min_visible: float,
    empty: float,
    seed: int,
    jpeg: int | None,
    as_json: bool,
) -> None:
    """Cut a data set of large pictures into tiles, as detect --tiles cuts them.

    OUTPUT gets annotations.json, in the COCO format, and images, for train, eval and check-data.
    Full tiles cover each picture; a file's name gives its picture and the position of its upper
    left corner. An object belongs to every tile that has --min-visible of its area, clipped at the
    edges; a smaller remainder is iscrowd, which train leaves out and eval ignores. The default is
    the IoU threshold of NMS: a detection of less would not be suppressed by that of the whole
    object.

    Train takes no negatives from a picture without objects, so few of these are kept. To train on
    tiles without writing them: train --tiles.
    """
    from ..artefacts.outputs import check_outputs
    from ..datasets.picture_files import image_paths
    from ..datasets.sets import read_ground_truth
    from ..datasets.tile_set import ANNOTATIONS, TileRules
    from ..pictures.tiles import Tiling
    from ..requirements import require

    rules = TileRules(Tiling(size[1], size[0], overlap), min_visible, empty, seed, jpeg)
    if (images is None) == (sets is None):
        raise UsageError("pass --images DIR, or --sets with the folder that holds them")
    require("cv2", "cutting pictures into tiles")
    if images is not None and not images.is_dir():
        raise BadFile(f"{images} {state_of(images)}; expected the folder of {annotations}")
    _check_output(output)
    check_outputs([output / ANNOTATIONS], [annotations, images])
    truth = read_ground_truth(annotations, sets or ())
    notes: list[str] = []
    paths = image_paths(truth, images or annotations, say=notes.append)
    report = _write(output, truth, paths, rules)
    notes += report.notes(rules)
    for line in notes:
        note(f"note: {line}")
    if as_json:
        print_json(_json(output, rules, report, notes))
        return
    say(
        f"{output / ANNOTATIONS}: {report.tiles} tiles of {report.pictures} pictures, "
        f"{report.kept} objects; pass it with --images {output / 'images'}"
    )


def _check_output(folder: Path) -> None:
    """Refuse to add to what is there."""
    try:
        if not folder.is_dir():
            if os.path.lexists(folder):
                raise OutputError(
                    f"cannot write {folder}: it is a file; expected a folder to write the tiles to"
                )
            return
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; delete it, or name another --output")
    except OSError as error:
        raise output_error(folder, error) from error


def _write(folder: Path, truth: Annotations, paths: list[Path], rules: TileRules) -> TileReport:
    """The folder, whole or not at all, with a progress bar on a terminal."""
    from ..datasets.tile_set import write_tile_set
    from ..system.temporary import temporary_folder

    try:
        target = behind_links(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target.parent) as temporary:
            with progress_bar("tile", len(paths)) as bar:
                report = write_tile_set(truth, paths, temporary, rules, bar.update)
            os.replace(temporary, target)
            return report
    except OSError as error:
        raise output_error(folder, error) from error


def _json(
    folder: Path, rules: TileRules, report: TileReport, notes: list[str]
) -> dict[str, object]:
    from ..datasets.tile_set import ANNOTATIONS, IMAGES

    return {
        "annotations": str(folder / ANNOTATIONS),
        "images_folder": str(folder / IMAGES),
        "rules": asdict(rules),
        **asdict(report),
        "notes": notes,
    }
