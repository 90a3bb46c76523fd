"""``ssd-small detect``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, UsageError
from ..models.shipped import find_shipped
from .options import (
    FILE,
    FOLDER,
    Number,
    cuda_graph_option,
    json_option,
    model_options,
    note,
    open_detector,
    print_json,
    threads_option,
)

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..postprocess.detections import Detections


@click.command()
@click.argument("images", nargs=-1, required=True, type=FILE)
@click.option("--engine", type=FILE, help="Engine of 'ssd-small build-engine'.")
@model_options
@click.option(
    "--score-threshold",
    type=Number(0, 1),
    default=0.5,
    show_default=True,
    help="Show scores above.",
)
@click.option("--output", "-o", type=FOLDER, help="Folder for pictures with boxes.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True)
@cuda_graph_option
@threads_option
@json_option
def command(
    images: tuple[Path, ...],
    engine: Path | None,
    score_threshold: float,
    output: Path | None,
    batch: int,
    cuda_graph: bool,
    threads: int,
    as_json: bool,
    **network: Any,
) -> None:
    """Detect objects in IMAGES, which are files or folders of files."""
    from ..pictures.batches import load_batches
    from ..pictures.reading import list_images
    from ..requirements import require

    if (engine is None) == ((network["model"] or find_shipped(network["weights"])) is None):
        raise UsageError("pass either --engine, or --model with --weights")
    require("cv2", "reading images")
    paths = list_images(images)
    targets = _targets(paths, output)
    unreadable: list[BadFile] = []
    report: list[dict[str, Any]] = []
    with open_detector(engine, network, None, threads, cuda_graph=cuda_graph) as detector:
        description = detector.runtime.description
        batches = load_batches(
            paths,
            description.preprocessing,
            min(batch, detector.runtime.max_batch),
            keep_originals=output is not None,
            unreadable=unreadable,
        )
        hidden = not sys.stderr.isatty()
        bar = click.progressbar(length=len(paths), label="detect", file=sys.stderr, hidden=hidden)
        with bar:
            for loaded in batches:
                found = [d.above(score_threshold) for d in detector(loaded.images)]
                for position, index in enumerate(loaded.indices):
                    entry = _entry(
                        paths[index], loaded.sizes[position], found[position], description
                    )
                    if targets:
                        _draw(
                            loaded.originals[position], found[position], description, targets[index]
                        )
                        entry["picture"] = str(targets[index])
                    report.append(entry)
                bar.update(len(loaded.indices))
    if as_json:
        print_json(report)
    else:
        _print(report)
    if len(unreadable) == 1:
        raise unreadable[0]
    if unreadable:
        for error in unreadable:
            note(f"  {error}")
        raise BadFile(f"{len(unreadable)} of {len(paths)} images could not be read, see above")


def _targets(paths: list[Path], output: Path | None) -> list[Path]:
    """Where the picture of each image goes; names that would collide get a number."""
    if output is None:
        return []
    from ..files import check_writable
    from ..requirements import require

    require("PIL", "drawing detections")
    targets: list[Path] = []
    for path in paths:
        suffix = ".png" if path.suffix.lower() == ".png" else ".jpg"
        target, number = output / f"{path.stem}{suffix}", 1
        while target in targets:
            number += 1
            target = output / f"{path.stem}-{number}{suffix}"
        if target.exists() and target.resolve() == path.resolve():
            raise UsageError(f"--output {output} would overwrite {path}; choose another folder")
        targets.append(target)
    check_writable(targets[0])
    return targets


def _entry(
    path: Path, size: tuple[int, int], detections: Detections, description: Description
) -> dict[str, Any]:
    """The JSON entry of one image; boxes in pixels, highest score first."""
    height, width = size
    scale = (width, height, width, height)
    return {
        "image": str(path),
        "width": width,
        "height": height,
        "detections": [
            {
                # networks may point beyond the picture; what a user crops lies inside
                "box": [
                    round(min(max(v, 0.0), 1.0) * s, 2) for v, s in zip(box, scale, strict=True)
                ],
                "label": label,
                "name": description.label_name(label),
                "score": round(score, 6),
            }
            for box, label, score in zip(
                detections.boxes.tolist(),
                detections.labels.tolist(),
                detections.scores.tolist(),
                strict=True,
            )
        ],
    }


def _draw(image: Any, detections: Detections, description: Description, target: Path) -> None:
    from ..detection.draw import picture_from_detections, save_picture

    save_picture(picture_from_detections(image, detections, description), target)


def _print(report: list[dict[str, Any]]) -> None:
    for entry in report:
        place = f" -> {entry['picture']}" if "picture" in entry else ""
        found = entry["detections"]
        click.echo(
            f"{entry['image']} ({entry['width']}x{entry['height']}): {len(found)} "
            f"detection{'' if len(found) == 1 else 's'}{place}"
        )
        for item in found:
            x1, y1, x2, y2 = item["box"]
            click.echo(
                f"  {item['score']:.3f}  {item['name']:<16} {x1:8.1f} {y1:8.1f} {x2:8.1f} {y2:8.1f}"
            )
