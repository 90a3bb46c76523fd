"""``ssd-small eval``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CheckFailed, UsageError
from .options import (
    FILE,
    FOLDER,
    Number,
    batch_option,
    cuda_graph_option,
    json_option,
    model_options,
    note,
    open_detector,
    print_json,
    print_table,
    threads_option,
    workers_option,
)

if TYPE_CHECKING:
    from ..datasets.coco import Annotations
    from ..detection.detector import Detector
    from ..evaluation.evaluate import Evaluation


@click.command()
@click.option("--engine", type=FILE, help="Engine of 'ssd-small build-engine'.")
@model_options
@click.option("--detections", type=FILE, help="Score this COCO result file instead.")
@click.option("--annotations", type=FILE, required=True, help="Ground truth in COCO format.")
@click.option("--images", type=FOLDER, help="Folder of the image files.")
@click.option(
    "--protocol",
    type=click.Choice(["coco", "deploy"]),
    help="Post-processing: published, or bounded for deployment. Default: what the engine holds, "
    "coco for a network.",
)
@click.option(
    "--box-convention",
    type=click.Choice(["exclusive", "inclusive"]),
    default="exclusive",
    show_default=True,
    help="inclusive: the network learned x2 = x + w - 1 (the published checkpoints did).",
)
@click.option("--min-map", type=Number(0, 1), help="Exit 1 if AP is lower.")
@batch_option
@workers_option
@click.option("--save-detections", type=FILE, help="Also write the COCO result file.")
@cuda_graph_option
@threads_option
@json_option
def command(
    engine: Path | None,
    detections: Path | None,
    annotations: Path,
    images: Path | None,
    protocol: str | None,
    box_convention: str,
    min_map: float | None,
    batch: int | None,
    workers: int | None,
    save_detections: Path | None,
    cuda_graph: bool,
    threads: int,
    as_json: bool,
    **network: Any,
) -> None:
    """Score detections with the COCO metric: the twelve numbers, small objects in front."""
    from ..datasets.coco import read_annotations
    from ..evaluation.coco_results import read_results, score
    from ..files import check_writable, write_json
    from ..requirements import require

    sources = [engine, network["model"] or network["weights"], detections]
    if sum(source is not None for source in sources) != 1:
        raise UsageError(
            "pass one of --engine, --weights (and --model, if they do not say), or --detections"
        )
    if detections is None and images is None:
        raise UsageError("--images DIR is needed to run a network; it holds the image files")
    if save_detections:
        check_writable(save_detections)
    truth = read_annotations(annotations)
    if truth.dropped:
        note(f"note: {truth.dropped} boxes without area in {annotations} were left out")
    report: dict[str, Any] = {
        "annotations": str(annotations),
        "images": len(truth.images),
        "boxes": len(truth.boxes),
        "boxes_without_area": truth.dropped,
    }
    if detections is not None:
        entries = read_results(detections, truth)
        report |= {"source": str(detections), "metrics": score(truth, entries)}
    else:
        assert images is not None
        for module in ("cv2", "pycocotools"):
            require(module, "evaluating")
        report |= {"source": str(engine or network["weights"]), "box_convention": box_convention}
        opened = open_detector(
            engine,
            network,
            protocol,
            threads,
            batch=batch,
            workers=workers,
            cuda_graph=cuda_graph,
            default_preset="coco",
        )
        with opened as detector:
            outcome = _run(detector, truth, images, box_convention == "inclusive")
        entries = outcome.results
        report |= _described(detector, outcome)
    report["detections"] = len(entries)
    if save_detections:
        write_json(save_detections, entries)
    _print(report, as_json)
    achieved = report["metrics"]["AP"] or 0.0
    if min_map is not None and achieved < min_map:
        raise CheckFailed(f"AP {achieved:.4f} is below --min-map {min_map:g}")


def _run(detector: Detector, truth: Annotations, images: Path, inclusive: bool) -> Evaluation:
    """Evaluate with a progress bar on a terminal."""
    from ..evaluation.evaluate import evaluate

    hidden = not sys.stderr.isatty()
    count = len(truth.images)
    bar = click.progressbar(length=count, label="eval", file=sys.stderr, hidden=hidden)
    with bar:
        return evaluate(detector, truth, images, inclusive=inclusive, progress=bar.update)


def _described(detector: Detector, outcome: Evaluation) -> dict[str, Any]:
    """What the report says of a network that was run."""
    if outcome.size_mismatches:
        note(
            f"note: {outcome.size_mismatches} images do not have the annotated size; their boxes "
            "were scaled to it"
        )
    runtime = detector.runtime
    return {
        "model": runtime.description.model,
        "runtime": runtime.name,
        "precision": runtime.precision,
        "postprocess": detector.params.to_dict(),
        "metrics": outcome.metrics,
        "size_mismatches": outcome.size_mismatches,
        "seconds": {k: round(v, 3) for k, v in outcome.seconds.items()},
    }


def _print(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    metrics = report["metrics"]
    order = ["AP_small", "AP_medium", "AP_large", "AP", "AP50", "AP75"]
    recall = [name for name in metrics if name.startswith("AR")]
    texts = {k: "-" if v is None else f"{v:.3f}" for k, v in metrics.items()}
    if "runtime" in report:
        seconds = report["seconds"]
        click.echo(
            f"{report['model']} ({report['source']}), {report['runtime']}, {report['precision']}: "
            f"{report['images']} images in {seconds['total']:.1f} s (network "
            f"{seconds['network']:.1f} s, decode+NMS {seconds['decode_nms']:.1f} s)"
        )
    else:
        click.echo(f"{report['source']}: {report['detections']} detections")
    print_table([[texts[name] for name in order]], order)
    click.echo()
    print_table([[texts[name] for name in recall]], recall)
