"""``ssd-small detect``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, OutputError, SsdSmallError, UsageError
from ..json_files import json_text
from ..terminal import shown
from .config_file import config_option, experiment_from_option
from .detect_videos import (
    Shown,
    print_videos,
    refuse_for_pictures,
    sources_from,
    videos_from,
)
from .opening import open_detector
from .options import (
    ADDRESS,
    FILE,
    FOLDER,
    Number,
    batch_option,
    cuda_graph_option,
    instances_option,
    json_option,
    max_pixels_option,
    model_options,
    note,
    progress_bar,
    say,
    score_threshold_option,
    threads_option,
    workers_option,
)
from .tiles_options import (
    asked_of_tiles,
    check_tiles_of,
    tile_progress,
    tiles_options,
    tiling_of_detector,
)

if TYPE_CHECKING:
    from ..detection.detector import Detector
    from ..detection.picture_detections import PictureDetections
    from ..detection.pipeline import Outcome
    from ..pictures.tiles import Tiling


@click.command()
@click.argument("images", nargs=-1, required=True, type=ADDRESS)
@click.option("--engine", type=FILE, help="Engine of 'ssd-small build-engine', or its ONNX file.")
@model_options
@config_option
@click.option(
    "--runtime",
    "runtime_name",
    type=click.Choice(["torch", "onnxruntime"]),
    default="torch",
    show_default=True,
    help="What runs --weights; onnxruntime builds an engine once and keeps it in the user's cache "
    "folder.",
)
@click.option("--no-cache", is_flag=True, help="Build that engine anew and do not keep it.")
@score_threshold_option(
    "Show scores above",
    "what 'eval --save-operating-point' has saved, else 0.5, or the engine's own where that is "
    "larger.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Show only this class; repeatable.")
@tiles_options
@click.option(
    "--fps",
    type=Number(0, 1000, min_open=True),
    help="For videos, cameras and streams: frames to take per second.",
)
@click.option(
    "--track",
    is_flag=True,
    help="For these: give each object a number that stays the same from frame to frame.",
)
@click.option(
    "--output",
    "-o",
    type=FOLDER,
    help="Folder for pictures or videos with boxes; for one video, a file such as x.mp4 too.",
)
@batch_option
@workers_option
@instances_option
@max_pixels_option
@cuda_graph_option
@threads_option
@json_option
def command(
    images: tuple[str, ...],
    engine: Path | None,
    config: Path | None,
    runtime_name: str,
    no_cache: bool,
    thresholds: tuple[tuple[str | None, float], ...],
    only: tuple[str, ...],
    fps: float | None,
    track: bool,
    output: Path | None,
    batch: int | None,
    workers: int | None,
    instances: int,
    cuda_graph: bool,
    threads: int,
    as_json: bool,
    **network: Any,
) -> None:
    """Detect objects in IMAGES: files, folders of files, or videos.

    A video is a file with a video extension (.mp4, .mkv ...), the index of a camera (0) or an
    address (rtsp://...). From a camera or an address the newest frame is taken whenever there is
    time for one, until Ctrl-C.

    A line of text is a detection: score, class, and x1, y1, x2, y2 in pixels of the picture.

    With --json each picture is one JSON object on a line of its own, written as soon as the picture
    is done; one that cannot be read is a line with "image" and "error", and "best_score" is given
    where no score reaches the threshold. "tiles" is the number of tiles into which --tiles, or the
    network itself, cut it. With --output, "picture" is the drawn file, and absent where it could
    not be written. A line of a video is a frame: "source", "frame" (from 0), "time" in seconds,
    with --track a "track" of each detection.
    """
    from ..artefacts.outputs import engine_inputs
    from ..pictures.listing import list_images
    from ..requirements import require

    asked = asked_of_tiles(network)
    named = config is not None or bool(network["model"]) or network["weights"] is not None
    if (engine is None) != named:
        raise UsageError(
            "pass either --engine, or --weights (and --model, if they do not say), or --config"
        )
    if no_cache and runtime_name == "torch":
        raise UsageError("--no-cache goes with --runtime onnxruntime; PyTorch runs the file itself")
    experiment = experiment_from_option(config)
    require("cv2", "reading images")
    sources = sources_from(images)
    read = (*engine_inputs(engine), network["weights"], network["labels"], config)
    targets: list[Path] = []
    if not sources:
        refuse_for_pictures(fps, track)
        listing = list_images(images)
        paths = listing.files
        if passed_over := listing.note():
            note(f"note: {passed_over}")
        targets = _targets(paths, output, read)
    check_tiles_of(asked, engine)
    running: dict[str, Any] = {"batch": batch, "workers": workers, "cuda_graph": cuda_graph}
    running["instances"] = instances
    running["cached"] = None if runtime_name == "torch" else not no_cache
    shown: Shown = {"threshold": dict(thresholds) or None, "only": only or None}
    if sources:
        videos = videos_from(sources, output, read, fps, track)
    opened = open_detector(engine, network, None, threads, **running, experiment=experiment)
    with opened as detector:
        tiling = tiling_of_detector(detector, asked)
        if sources:
            print_videos(detector, videos, as_json, tiling, **shown)
            return
        faults = print_detections(detector, paths, targets, as_json, tiling, **shown)
    check_faults(faults, len(paths))


def check_faults(faults: Sequence[SsdSmallError], count: int) -> None:
    """Refuse ``count`` images some of which could not be read, or not be drawn."""
    if len(faults) == 1:
        raise BadFile(faults[0].command_line)
    for fault in faults:
        note(f"  {fault.command_line}")
    unwritten = sum(isinstance(fault, OutputError) for fault in faults)
    kinds = {
        "images could not be read": len(faults) - unwritten,
        "pictures with boxes could not be written": unwritten,
    }
    if parts := [f"{number} of {count} {what}" for what, number in kinds.items() if number]:
        raise BadFile(f"{' and '.join(parts)}, see above")


def print_detections(
    detector: Detector,
    paths: Sequence[Path],
    targets: list[Path],
    as_json: bool,
    tiling: Tiling | None,
    *,
    threshold: Mapping[str | None, float] | None,
    only: Sequence[str] | None = None,
) -> list[SsdSmallError]:
    """Detect, draw and print picture by picture; what could not be read, or not be written."""
    from ..detection.entry import entry_from_outcome
    from ..detection.shrinking import ShrunkPictures

    faults: list[SsdSmallError] = []
    lost: OSError | None = None
    full, shrunk = 0, ShrunkPictures(detector.description, tiling)
    inference = None if tiling is None else detector.inference_of_heads()
    lowest = detector.filter_from_threshold(threshold, inference).lowest
    classes = only and detector.filter_from_threshold(threshold, inference, only)
    how: dict[str, Any] = {"keep_pixels": bool(targets), "tiling": tiling, "only_shown": True}
    if only is not None:
        how["only"] = only
    with progress_bar("detect", len(paths)) as bar:
        by_tiles = tiling is not None and len(paths) == 1
        if by_tiles:  # it may be a huge one
            how["seen"] = tile_progress(bar)
        outcomes = detector.outcomes(paths, score_threshold=threshold, **how)
        for outcome, found, unwritten in _with_pictures(outcomes, targets, detector.workers):
            entry = entry_from_outcome(outcome, found, classes or None)
            if outcome.error is not None:
                faults.append(outcome.error)
            else:
                views = 1 if tiling is None else tiling.views(*outcome.size)
                full += _is_full(detector.params.keep_topk * views, outcome, lowest)
                shrunk.add(*outcome.size)
                if isinstance(unwritten, OutputError):  # what was found is told all the same
                    faults.append(unwritten)
                elif targets:
                    entry["picture"] = str(unwritten)
            try:
                if lost is None and (as_json or outcome.error is None):
                    click.echo(json_text(entry)) if as_json else print_entry(entry)
            except OSError as error:  # the pictures may lie on another disk, which is not full
                if not targets:
                    raise
                lost = error
            bar.update(not by_tiles)
    if full:
        each = "" if tiling is None else " times the tiles"
        note(
            f"note: {full} of {len(paths)} images have as many detections as decode + NMS keep "
            f"(keep_topk {detector.params.keep_topk}{each}), and may hold more: ask for higher "
            "scores, or export with --keep-topk 0, which sets no such limit"
        )
    if (line := shrunk.line(len(paths))) is not None:
        note(f"note: {line}")
    if lost is not None and not faults:
        raise lost
    return faults


def _is_full(keep_topk: int, outcome: Outcome, lowest: float) -> bool:
    """Whether detections may have been cut off that score above the ``lowest`` threshold."""
    scores = outcome.detections.scores
    return 0 < keep_topk <= len(scores) and float(scores.min()) > lowest


def _with_pictures(
    outcomes: Iterator[tuple[Outcome, PictureDetections]], targets: Sequence[Path], workers: int
) -> Iterator[tuple[Outcome, PictureDetections, Path | OutputError | None]]:
    """Outcomes with the picture that was drawn of each, or why it could not be written.

    Pictures are drawn and written in threads, beside the network; None where there is none.
    """
    if not targets:
        yield from ((*one, None) for one in outcomes)
        return
    from ..pictures.ahead import map_beside

    given = zip(outcomes, targets, strict=True)
    drawn = map_beside(_with_picture, given, workers=workers, window=2 * workers)
    with closing(outcomes), closing(drawn):  # type: ignore[type-var]
        yield from drawn


def _with_picture(
    given: tuple[tuple[Outcome, PictureDetections], Path],
) -> tuple[Outcome, PictureDetections, Path | OutputError | None]:
    from ..detection.draw import save_drawn

    (outcome, found), target = given
    if outcome.error is not None:
        return outcome, found, None
    assert outcome.pixels is not None
    try:
        save_drawn(outcome.pixels, found, target, enlarge=True)
    except OutputError as error:
        # a traceback would hold the pixels
        return replace(outcome, pixels=None), found, error.with_traceback(None)
    return replace(outcome, pixels=None), found, target


def _targets(paths: Sequence[Path], output: Path | None, read: Sequence[Path | None]) -> list[Path]:
    """Where the picture of each image goes; names that would collide get a number.

    Pictures beside those that are read are the user's, read or not; ``read`` are other inputs.
    """
    if output is None:
        return []
    from ..artefacts.outputs import check_outputs, folder_with_inputs
    from ..requirements import require

    require("PIL", "drawing detections")
    targets: list[Path] = []
    taken: set[Path] = set()
    for path in paths:
        suffix = ".png" if path.suffix.lower() == ".png" else ".jpg"
        target, number = output / f"{path.stem}{suffix}", 1
        while target in taken:
            number += 1
            target = output / f"{path.stem}-{number}{suffix}"
        taken.add(target)
        targets.append(target)
    check_outputs(targets, [*paths, *read, folder_with_inputs(output, paths)])
    return targets


def print_entry(entry: dict[str, Any]) -> None:
    """A picture or a frame as text."""
    names = (click.format_filename(entry.get(key, "")) for key in ("image", "picture"))
    image, drawn = map(shown, names)
    if "frame" in entry:
        image = f"{shown(entry['source'])} frame {entry['frame']} at {entry['time']:.3f} s"
    place = f" -> {drawn}" if drawn else ""
    found = entry["detections"]
    tiles = f" in {entry['tiles']} tiles" if entry["tiles"] > 1 else ""
    best = f" (best score {entry['best_score']:.3f})" if "best_score" in entry else ""
    say(
        f"{image} ({entry['width']}x{entry['height']}): {len(found)} "
        f"detection{'' if len(found) == 1 else 's'}{tiles}{best}{place}"
    )
    for item in found:
        x1, y1, x2, y2 = item["box"]
        name = shown(item["name"])
        track = f"  track {item['track']}" if "track" in item else ""
        say(f"  {item['score']:.3f}  {name:<16} {x1:8.1f} {y1:8.1f} {x2:8.1f} {y2:8.1f}{track}")
