"""Compare large pictures whole, in tiles and in sahi's slices: AP by object size, and speed.

    python benchmarks/bench_tiles.py cells --data DIR
    python benchmarks/bench_tiles.py digits
    python benchmarks/bench_tiles.py trees --trees DIR --weights runs/trees/last.pth

Each writes its part of benchmarks/results/tiles.json. ``cells`` takes a folder with bccd-mosaic/
and uses the package's network; ``digits`` uses the demo's val pictures, 6x6 of them per picture.
``trees`` takes the folder deepforest/data of PyPI's deepforest 2.1.0 and a network trained on the
larger of its two pictures, which lies in a folder LARGE with its XML:

    ssd-small convert LARGE --from voc --zero-based -o large.json
    ssd-small train --tiles 300x300 --overlap 0.5 --weights bccd/mobilenet_v1_s1l0 \\
        --annotations large.json --images LARGE ...

with the recipe at the start of its log in benchmarks/results/tiles/.

The engine, used by all, ends in its heads (ONNX Runtime, fp32). Whole pictures, tiles and, if sahi
is installed, its slices take turns on decoded pictures, with the same tiles, batches, thresholds
and NMS. sahi receives the detections of each slice after a first NMS, as it does from every model.
AP is COCO's without a limit on detections per picture, since a picture has hundreds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from mosaics import mosaics_of
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.network import network_from_checkpoint
from ssd_small.bench.disturbance import Watch
from ssd_small.datasets.classes import match_classes
from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.datasets.coco_file import write_annotations
from ssd_small.datasets.digits import make_digits
from ssd_small.datasets.voc import coco_from_voc
from ssd_small.detection.detector import Detector
from ssd_small.detection.load import load
from ssd_small.evaluation.coco_results import results_from_detections
from ssd_small.evaluation.columns import columns_from_annotations, columns_from_results
from ssd_small.evaluation.curves import IOUS, coco_curves, mean_of_known
from ssd_small.evaluation.matching import AREAS
from ssd_small.json_files import read_json, write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.shipped import find_shipped
from ssd_small.pictures.tiles import Tiling
from ssd_small.postprocess import PostprocessParams

RESULT = Path(__file__).parent / "results" / "tiles.json"
#: of AP, and of what people are shown
THRESHOLDS = (0.01, 0.3)
BATCH, OVERLAP = 8, 0.2
Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """What is looked at: pictures with their ground truth, a checkpoint, and tiles."""

    name: str
    weights: str
    pictures: list[np.ndarray]
    annotations: Annotations
    tiling: Tiling


def write_engine(weights: str, threshold: float, folder: Path) -> Path:
    """The engine of a checkpoint that ends in its heads, under COCO's protocol."""
    net, description = network_from_checkpoint(weights)
    params = PostprocessParams(
        **PostprocessParams.coco().to_dict() | {"score_threshold": threshold}
    )
    onnx, engine = folder / "heads.onnx", folder / f"{threshold}.engine"
    write_onnx(onnx_from_network(net, description.with_decode_nms(False, params)), onnx)
    build_engine(onnx, engine, BuildOptions("onnxruntime", "fp32"))
    return engine


def scores_of(annotations: Annotations, entries: Entries) -> dict[str, float | None]:
    """AP by size, and recall at IoU 0.5, of all detections."""
    truth, found = columns_from_annotations(annotations), columns_from_results(entries)
    areas = [list(one) for one in AREAS.values()]
    precision, recall = coco_curves(truth, found, areas, [max(len(entries), 1)])
    half = IOUS.tolist().index(0.5)
    sizes = ("", "_small", "_medium", "_large")
    scores = {f"AP{n}": mean_of_known(precision[:, :, :, a, -1]) for a, n in enumerate(sizes)}
    scores["AP50"] = mean_of_known(precision[half, :, :, 0, -1])
    scores |= {f"recall{n}": mean_of_known(recall[half, :, a, -1]) for a, n in enumerate(sizes)}
    return {name: None if value is None else round(value, 4) for name, value in scores.items()}


#: picture -> result entries, and the seconds of each stage
Way = Callable[[int], tuple[Entries, dict[str, float]]]


def own_way(detector: Detector, subject: Subject, tiling: Tiling | None) -> Way:
    """The package's detector, with tiles or without."""
    ids = match_classes(subject.annotations, detector.labels).ids

    def run(place: int) -> tuple[Entries, dict[str, float]]:
        started = time.perf_counter()
        ((outcome, _),) = detector.outcomes([subject.pictures[place]], tiling=tiling)
        total = time.perf_counter() - started
        image = subject.annotations.images[place]
        entries = results_from_detections(outcome.detections, image, detector.description, ids)
        return entries, {"total": total, **detector.spent}

    return run


def sahi_way(detector: Detector, subject: Subject, backend: str) -> Way:
    """sahi's slices; numpy is the backend of its NMS as it is installed, numba its faster one."""
    from sahi_model import Slicer

    slicer = Slicer(detector, subject.tiling, backend)
    ids = match_classes(subject.annotations, detector.labels).ids
    background = detector.description.postprocess.background_label
    for picture in subject.pictures:
        slicer.check_tiles(*picture.shape[:2])

    def run(place: int) -> tuple[Entries, dict[str, float]]:
        found = slicer(subject.pictures[place])
        image_id = subject.annotations.images[place]["id"]
        entries = [
            {
                "image_id": image_id,
                "category_id": ids[one.category.id - (0 <= background < one.category.id)],
                "bbox": one.bbox.to_xywh(),
                "score": float(one.score.value),
            }
            for one in found
        ]
        return entries, slicer.spent

    return run


def measured(subject: Subject, rounds: int, threads: int) -> Iterator[dict[str, Any]]:
    """A row per way and threshold."""
    with tempfile.TemporaryDirectory() as folder:
        for threshold in THRESHOLDS:
            engine = write_engine(subject.weights, threshold, Path(folder))
            with load(engine, threads=threads, max_batch=BATCH, workers=1) as detector:
                whole = Tiling(
                    subject.tiling.width, subject.tiling.height, subject.tiling.overlap, whole=True
                )
                ways: dict[str, Way] = {
                    "whole": own_way(detector, subject, None),
                    "tiles": own_way(detector, subject, subject.tiling),
                    "tiles and whole": own_way(detector, subject, whole),
                }
                if find_spec("sahi") is not None:
                    for backend in ("numpy", "numba"):
                        ways[f"sahi, {backend}"] = sahi_way(detector, subject, backend)
                yield from _in_turn(subject, ways, threshold, rounds)


def _in_turn(
    subject: Subject, ways: dict[str, Way], threshold: float, rounds: int
) -> Iterator[dict[str, Any]]:
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    found: dict[str, Entries] = {}
    for turn in range(rounds + 1):  # the first one warms up
        for name, way in ways.items():
            entries: Entries = []
            spent: dict[str, float] = {}
            for place in range(len(subject.pictures)):
                more, took = way(place)
                entries += more
                spent = {key: spent.get(key, 0.0) + value for key, value in took.items()}
            found[name] = entries
            if turn:
                seconds[name].append(spent)
            click.echo(f"{subject.name} > {threshold}: {name} {spent['total']:.1f} s", err=True)
    for name in ways:
        count = len(subject.pictures)
        stages = {
            key: round(statistics.median(one[key] for one in seconds[name]) / count, 3)
            for key in seconds[name][0]
        }
        yield {
            "data": subject.name,
            "way": name,
            "score_threshold": threshold,
            "detections": len(found[name]),
            "scores": scores_of(subject.annotations, found[name]),
            "seconds": stages,
            "rounds": [round(one["total"] / count, 3) for one in seconds[name]],
        }


def record(subject: Subject, rows: list[dict[str, Any]], threads: int, watch: Any) -> None:
    """Put the rows of one subject into the result file."""
    known = read_json(RESULT, "results") if RESULT.exists() else {}
    tiling = subject.tiling
    sides = np.sqrt([one["area"] for one in subject.annotations.boxes])
    known[subject.name] = {
        "pictures": [list(one.shape[1::-1]) for one in subject.pictures],
        "objects": len(subject.annotations.boxes),
        "median_side": round(float(np.median(sides)), 1),
        "weights": subject.weights if find_shipped(subject.weights) else "train --tiles",
        "tile": [tiling.width, tiling.height],
        "overlap": tiling.overlap,
        "tiles": [tiling.views(*one.shape[:2]) for one in subject.pictures],
        "batch": BATCH,
        "sahi": version("sahi") if find_spec("sahi") is not None else None,
        "threads": threads,
        "disturbance": watch,
        "machine": describe_machine(),
        "commit": commit_of(RESULT.parent),
        "rows": rows,
    }
    write_json(RESULT, known)


@click.group(help=__doc__.partition("\n")[0])
def main() -> None:
    """Commands that each write their part."""


_rounds = click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
_threads = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)


def _run(subject: Subject, rounds: int, threads: int) -> None:
    watch = Watch()
    rows = list(measured(subject, rounds, threads))
    record(subject, rows, threads, watch.seen().to_dict())


@main.command(name="cells")
@click.option("--data", type=click.Path(path_type=Path), required=True)
@_rounds
@_threads
def of_cells(data: Path, rounds: int, threads: int) -> None:
    """Mosaics of blood cells."""
    data, cell = data / "bccd-mosaic", (480, 640)
    with tempfile.TemporaryDirectory() as folder:
        made = mosaics_of(data / "val.json", data / "images", cell, Path(folder))
    tiling = Tiling(cell[1], cell[0], OVERLAP)
    _run(Subject("cells", "bccd/mobilenet_v1_s1l0", *made, tiling), rounds, threads)


@main.command(name="digits")
@_rounds
@_threads
def of_digits(rounds: int, threads: int) -> None:
    """Mosaics of digits on photographs, by a network that takes little time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_digits(folder, train_images=0, val_images=72)
        made = mosaics_of(folder / "val.json", folder / "val", (360, 360), folder)
    tiling = Tiling(300, 300, OVERLAP)
    _run(Subject("digits", "digits/mobilenet_v1", *made, tiling), rounds, threads)


@main.command(name="trees")
@click.option("--trees", type=click.Path(path_type=Path), required=True)
@click.option("--weights", required=True)
@click.option("--tile", type=int, default=300, show_default=True)
@_rounds
@_threads
def of_trees(trees: Path, weights: str, tile: int, rounds: int, threads: int) -> None:
    """Trees from above: the smaller of the two large pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "test"
        folder.mkdir()
        for path in trees.glob("2019_YELL_2_541000_4977000_image_crop.*"):
            (folder / path.name).symlink_to(path.resolve())
        made = coco_from_voc(folder, zero_based=True)
        write_annotations(Path(name) / "test.json", made.content)
        annotations = read_annotations(Path(name) / "test.json")
        picture = cv2.imread(str(folder / annotations.images[0]["file_name"]))
    tiling = Tiling(tile, tile, OVERLAP)
    _run(Subject("trees", weights, [picture], annotations, tiling), rounds, threads)


if __name__ == "__main__":
    main()
