"""``ssd-small check-data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, CheckFailed, UsageError
from ..files import state_of
from ..requirements import require
from .options import (
    FILE,
    FOLDER,
    json_option,
    max_pixels_option,
    note,
    print_json,
    progress_bar,
    say,
    sets_option,
)

if TYPE_CHECKING:
    from ..datasets.check import DataCheck
    from ..datasets.picture_facts import PictureFacts


@click.command()
@click.argument("annotations", type=FILE)
@click.option("--images", type=FOLDER, help="Folder of its image files.")
@sets_option("--sets", "ANNOTATIONS")
@click.option("--val-annotations", type=FILE, help="Annotations for evaluation, to be checked too.")
@click.option("--val-images", type=FOLDER, help="Folder of its image files.")
@sets_option("--val-sets", "--val-annotations")
@click.option(
    "--fix", "fixed", type=FILE, help="Also write the repaired ANNOTATIONS, as COCO JSON."
)
@max_pixels_option
@json_option
def command(
    annotations: Path,
    images: Path | None,
    sets: tuple[tuple[str, str], ...] | None,
    val_annotations: Path | None,
    val_images: Path | None,
    val_sets: tuple[tuple[str, str], ...] | None,
    fixed: Path | None,
    as_json: bool,
) -> None:
    """Find everything in a data set that train and eval would stumble on; exit 1 if there is any.

    Problems are what cannot be used or what --fix changes; notes are for information. With
    --val-annotations it also finds pictures that are in both sets, by content (resized and
    re-encoded ones need the extra 'check'), and classes that one set lacks.

    --fix renumbers ids, merges categories, turns texts into numbers and fills in null, corrects
    picture sizes where the boxes show which is right, turns boxes that are all fractions into
    pixels, and leaves out what cannot be used: boxes without area or outside their picture,
    duplicates, missing or unreadable pictures.
    """
    from ..artefacts.outputs import check_outputs
    from ..datasets.check_copies import find_in_both, find_missing_classes, note_copies
    from ..datasets.findings import Findings
    from ..datasets.near_duplicates import can_compare
    from ..datasets.picture_checks import note_unlisted

    _check_options(images, sets, val_annotations, val_images, val_sets)
    require("cv2", "reading images")
    if fixed is not None:
        check_outputs([fixed], [annotations, images, val_annotations, val_images], "--fix")
    compare = can_compare()
    check = _check(annotations, images, sets, compare)
    findings = Findings()
    findings.update(check.findings)
    note_copies(check, findings)
    others: list[PictureFacts] = []
    if val_annotations is not None:
        val = _check(val_annotations, val_images, val_sets, compare)
        findings.update(val.findings, f"{val_annotations.name}: ")
        find_in_both(check, val, findings)
        find_missing_classes(check, val, findings)
        others = val.facts
    note_unlisted(images or annotations, check.facts, others, findings)
    if not compare:
        findings.note(
            "copies_not_looked_for",
            "pictures were compared by their bytes alone; for resized and re-encoded copies: "
            "pip install '.[check]'",
        )
    report = {**check.to_dict(), "problems": findings.problems, "notes": findings.notes}
    if as_json:
        print_json(report)
    else:
        _print_report(annotations, report)
    if fixed is not None:
        _write(fixed, check)
    if report["problems"]:
        count = sum(one["count"] for one in report["problems"])
        kinds = ", ".join(one["kind"] for one in report["problems"])
        offer = findings.has_mended and not fixed
        advice = "; --fix OUT.json writes a file that is put right" if offer else ""
        raise CheckFailed(f"{annotations}: problems found: {count} ({kinds}){advice}")


def _check_options(
    images: Path | None,
    sets: Any,
    val_annotations: Path | None,
    val_images: Path | None,
    val_sets: Any,
) -> None:
    """Refuse options that are not enough, or too many."""
    if (images is None) == (sets is None):
        raise UsageError("pass --images DIR, or --sets with the folder that holds them")
    if val_annotations is None:
        if val_images is not None or val_sets is not None:
            raise UsageError("--val-images and --val-sets need --val-annotations")
    elif (val_images is None) == (val_sets is None):
        raise UsageError("--val-annotations needs --val-images DIR, or --val-sets")


def _check(path: Path, images: Path | None, sets: Any, compare: bool) -> DataCheck:
    """Read and check, with a progress bar on a terminal."""
    from ..datasets.check import check_data
    from ..datasets.findings import Findings
    from ..datasets.sets import read_ground_truth

    if images is not None and not images.is_dir():
        raise BadFile(f"{images} {state_of(images)}; expected the folder of the pictures of {path}")
    truth = read_ground_truth(path, sets or (), findings=Findings())
    with progress_bar(path.name, len(truth.images)) as bar:
        return check_data(truth, images or path, compare=compare, progress=bar.update)


def _print_report(annotations: Path, report: dict[str, Any]) -> None:
    """Counts, then a paragraph for each kind."""
    say(
        f"{annotations}: {report['images']} images, {report['boxes']} boxes, "
        f"{report['categories']} categories"
    )
    sides = report["object_px"]
    if sides["median"] is not None:
        say(
            f"objects at 300x300: median {sides['median']:g} px, one in ten below "
            f"{sides['p10']:g}, one in ten above {sides['p90']:g}"
        )
    for title in ("problems", "notes"):
        for one in report[title]:
            shown = len(one["examples"])
            # of a kind that is counted by another unit, such as boxes, one line says all
            more = f", the first {shown}" if one["count"] > shown > 1 else ""
            say(f"{title[:-1]}: {one['kind']}: {one['count']}{more}")
            for example in one["examples"]:
                say(f"  {example}")


def _write(path: Path, check: DataCheck) -> None:
    from ..datasets.check import content_from_check
    from ..datasets.coco_file import write_annotations

    write_annotations(path, content_from_check(check))
    note(f"{path}: {len(check.images)} images, {len(check.boxes)} boxes")
