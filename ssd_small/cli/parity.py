"""``ssd-small parity``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, CheckFailed, MissingRequirement, UsageError
from ..requirements import require
from .options import (
    FILE,
    FOLDER,
    Number,
    batch_option,
    cuda_graph_option,
    json_option,
    max_pixels_option,
    note,
    print_json,
    progress_bar,
    report_option,
    threads_option,
    workers_option,
)
from .tiles_options import check_tiles_of, tiles_options, tiling_of_detector

if TYPE_CHECKING:
    from ..parity.opening import Running
    from ..parity.parity import Parity
    from ..parity.pictures import Pictures
    from ..parity.side import Side


@click.command()
@click.argument("engine", type=FILE)
@click.option(
    "--against",
    type=FILE,
    help="Checkpoint, name of a shipped one, engine, ONNX file, or COCO result file (.json). "
    "Default: the checkpoint whose hash the engine records, shipped or in its folder.",
)
@click.option("--annotations", type=FILE, help="Ground truth in COCO format.")
@click.option("--images", type=FOLDER, required=True, help="Folder of the image files.")
@click.option(
    "--max-difference",
    type=Number(0, 1),
    default=0.001,
    show_default=True,
    help="Largest difference in AP that counts as equal.",
)
@click.option(
    "--protocol",
    type=click.Choice(["coco", "deploy"]),
    help="Post-processing of both. Default: the engine's.",
)
@tiles_options
@batch_option
@workers_option
@report_option
@max_pixels_option
@cuda_graph_option
@threads_option
@json_option
def command(
    engine: Path,
    against: Path | None,
    annotations: Path | None,
    images: Path,
    max_difference: float,
    protocol: str | None,
    batch: int | None,
    workers: int | None,
    page: Path | None,
    cuda_graph: bool,
    threads: int,
    as_json: bool,
    **tiles: Any,
) -> None:
    """Show that ENGINE finds what its original network finds, or where it does not.

    Both run on the same pictures under the engine's post-processing. Exit 0 if they are equal, 1 if
    AP differs by more than the margin or, in fp32, a detection by more than rounding. With --tiles
    both cut the pictures in the same way, and the cost of each stage is not reported.
    """
    from ..parity.opening import Running, open_engine_side
    from ..parity.self_consistency import self_consistency
    from .parity_text import print_parity

    check_tiles_of(tiles, engine, against)
    running = Running(batch, workers, threads, cuda_graph)
    if _is_result_file(against) and annotations is None:
        raise UsageError(
            f"--against {against}: a result file needs --annotations FILE, whose images its ids "
            "are of"
        )
    if page:
        from ..artefacts.outputs import engine_inputs
        from ..report.page import check_report

        check_report(page, [*engine_inputs(engine), against, annotations, images])
    for module in ("cv2", *(["hotcoco"] if annotations is not None else [])):
        require(module, "comparing detections")
    with ExitStack() as opened:
        judged = open_engine_side(engine, protocol, running)
        opened.enter_context(judged.detector)
        judged = replace(judged, tiling=tiling_of_detector(judged.detector, tiles))
        pictures = _pictures(annotations, images)
        compare = _against_file if _is_result_file(against) else _against_side
        found = compare(against, judged, pictures, running, max_difference)
        checks = self_consistency(judged, pictures, running)
    found = replace(found, self_consistency=[one.to_dict() for one in checks])
    for line in found.notes:
        note(f"note: {line}")
    if as_json:
        print_json(found.to_dict())
    else:
        print_parity(found, checks)
    if page:
        _write_page(page, found, pictures, images)
    _end(found, len(pictures))


def _write_page(page: Path, found: Parity, pictures: Pictures, images: Path) -> None:
    from ..report.differing import examples_from_differences
    from ..report.from_parity import page_from_parity
    from ..report.page import write_page

    examples = found.detections["examples"]
    shown = examples_from_differences(examples, pictures.annotations, images)
    write_page(page_from_parity(found.to_dict(), shown), page)


def _pictures(annotations: Path | None, images: Path) -> Pictures:
    from ..datasets.coco import read_annotations
    from ..parity.pictures import pictures_of_annotations, pictures_of_folder

    if annotations is None:
        return pictures_of_folder(images)
    return pictures_of_annotations(read_annotations(annotations), images)


def _is_result_file(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() == ".json"


def _against_side(
    against: Path | None, engine: Side, pictures: Pictures, running: Running, margin: float
) -> Parity:
    """Against a network or an engine, which is found by its hash unless it is named."""
    from ..parity.opening import find_reference, open_reference_side
    from ..parity.parity import parity_of_sides

    path = find_reference(engine) if against is None else against
    reference = replace(open_reference_side(path, engine, running), tiling=engine.tiling)
    with reference.detector, progress_bar("parity", len(pictures)) as bar:
        found = parity_of_sides(
            reference, engine, pictures, max_difference=margin, progress=bar.update
        )
        found = _attributed(found, reference, engine, pictures, running)
        found = _with_quantised_layers(found, reference, engine, pictures)
        return _with_first_layer(found, reference, engine, pictures) if found.why else found


def _with_first_layer(found: Parity, reference: Side, engine: Side, pictures: Pictures) -> Parity:
    """With the first layer that moved, where the two have graphs to be had."""
    from ..parity.first_layer import MOST_PICTURES
    from ..parity.heads_graphs import search_from_detectors

    readable = pictures.readable(MOST_PICTURES)
    sides = (reference.detector, reference.path, engine.detector, engine.path)
    try:
        search = search_from_detectors(*sides, readable)
    except (BadFile, MissingRequirement, UsageError) as error:
        line = f"no layers could be compared: {error.command_line}"
        return replace(found, notes=(*found.notes, line))
    if search is None:
        return found
    first = search.first
    return replace(
        found,
        first_layer=None if first is None else first.to_dict(),
        layers=tuple(search.lines()),
    )


def _with_quantised_layers(
    found: Parity, reference: Side, engine: Side, pictures: Pictures
) -> Parity:
    """With what each INT8 convolution costs, where both have graphs to be had."""
    if engine.precision != "int8":
        return found
    from ..parity.heads_graphs import costs_from_detectors
    from ..parity.layer_errors import MOST_RANKED_ON

    readable = pictures.readable(MOST_RANKED_ON)
    sides = (reference.detector, reference.path, engine.detector, engine.path)
    try:
        costs = costs_from_detectors(*sides, readable)
    except (BadFile, MissingRequirement, UsageError) as error:
        line = f"no convolutions could be compared: {error.command_line}"
        return replace(found, notes=(*found.notes, line))
    if costs is None:
        return found
    return replace(found, quantised_layers=[one.to_dict() for one in costs])


def _attributed(
    found: Parity, reference: Side, engine: Side, pictures: Pictures, running: Running
) -> Parity:
    """With what each stage costs, where the two can be taken apart."""
    if engine.tiling is not None:
        line = "no stages were exchanged: that is done on whole pictures, without --tiles"
        return replace(found, notes=(*found.notes, line))
    from ..parity.attribution import attribute

    with progress_bar("stages", len(pictures)) as bar:
        try:
            costs = attribute(
                *(reference, engine, pictures.given, pictures.annotations),
                threads=running.threads,
                progress=bar.update,
            )
        except UsageError as error:
            line = f"no stages could be exchanged: {error.command_line}"
            return replace(found, notes=(*found.notes, line))
    rows = [one.to_dict() | ({"reason": one.reason} if one.reason else {}) for one in costs]
    return replace(found, attribution=rows)


def _against_file(
    against: Path | None, engine: Side, pictures: Pictures, running: Running, margin: float
) -> Parity:
    """Against a COCO result file."""
    from ..parity.parity import parity_of_comparison
    from ..parity.result_file import compare_with_file, read_result_file

    assert against is not None
    assert pictures.annotations is not None
    file = read_result_file(against, pictures.annotations, engine.params.score_threshold)
    with progress_bar("parity", len(pictures)) as bar:
        compared = compare_with_file(file, engine, pictures, bar.update)
    return parity_of_comparison(compared, file.to_dict(), engine, pictures, max_difference=margin)


def _end(found: Parity, asked: int) -> None:
    """Raise what the exit code tells."""
    if found.why:
        raise CheckFailed(f"the engine is different: {'; '.join(found.why)}")
    if found.faults:
        for line in found.faults[1:]:
            note(f"  {line}")
        raise BadFile(
            f"{len(found.faults)} of {asked} images could not be read, the verdict is of the "
            f"others; the first: {found.faults[0]}"
        )
