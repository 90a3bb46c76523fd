"""``ssd-small eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, CheckFailed, UsageError
from ..requirements import require
from .config_file import (
    check_engine,
    config_option,
    data_from_experiment,
    experiment_from_option,
)
from .eval_point import point_target, save_point
from .eval_scores import (
    Asked,
    Scored,
    check_result_file,
    check_test_set,
    report_from_scored,
    scored_from_file,
    thresholds_of_categories,
)
from .opening import open_detector
from .options import (
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
    print_json,
    progress_bar,
    report_option,
    score_threshold_option,
    sets_option,
    threads_option,
    workers_option,
)
from .tiles_options import Asked as AskedTiles
from .tiles_options import asked_of_tiles, check_tiles_of, tiles_options, tiling_of_detector

if TYPE_CHECKING:
    from ..datasets.coco import Annotations
    from ..detection.detector import Detector
    from ..evaluation.evaluate import Evaluation, Metric
    from ..pictures.tiles import Tiling


@click.command()
@click.option("--engine", type=FILE, help="Engine of 'ssd-small build-engine', or its ONNX file.")
@model_options
@config_option
@click.option("--detections", type=FILE, help="Score this COCO result file instead.")
@click.option(
    "--annotations", type=FILE, help="Ground truth in COCO format, or a folder with --sets."
)  # fmt: skip
@click.option("--images", type=FOLDER, help="Folder of the image files.")
@sets_option("--sets", "--annotations")
@click.option(
    "--metric",
    type=click.Choice(["coco", "voc07", "voc12"]),
    default="coco",
    show_default=True,
    help="COCO's twelve numbers, or Pascal VOC's AP at IoU 0.5 by 11 points (2007) or area (2012).",
)
@click.option(
    "--protocol",
    type=click.Choice(["coco", "deploy"]),
    help="Post-processing: the published protocol (coco), or bounded for deployment (deploy). "
    "Default: the file's; for a checkpoint what export writes (deploy).",
)
@click.option(
    "--box-convention",
    type=click.Choice(["exclusive", "inclusive"]),
    default="exclusive",
    show_default=True,
    help="inclusive: the network learned x2 = x + w - 1, as the published checkpoints did.",
)
@score_threshold_option("Precision and recall for scores above", "where F1 is best.")
@tiles_options
@click.option("--min-map", type=Number(0, 1), help="Exit 1 if AP is lower.")
@batch_option
@workers_option
@instances_option
@click.option("--save-detections", type=FILE, help="Also write the COCO result file.")
@click.option(
    "--save-operating-point",
    is_flag=True,
    help="Write the thresholds of the best F1 (or --score-threshold) into the engine's sidecar or "
    "the checkpoint; 'load' and 'detect' then default to the one for all classes.",
)
@report_option
@max_pixels_option
@cuda_graph_option
@threads_option
@json_option
def command(
    engine: Path | None,
    detections: Path | None,
    config: Path | None,
    annotations: Path | None,
    images: Path | None,
    sets: tuple[tuple[str, str], ...] | None,
    metric: Metric,
    protocol: str | None,
    box_convention: str,
    thresholds: tuple[tuple[str | None, float], ...],
    min_map: float | None,
    batch: int | None,
    workers: int | None,
    instances: int,
    save_detections: Path | None,
    save_operating_point: bool,
    page: Path | None,
    cuda_graph: bool,
    threads: int,
    as_json: bool,
    **network: Any,
) -> None:
    """Score detections with the COCO metric, small objects first, or with Pascal VOC's.

    Also prints AP and recall by object size, AP per class, and precision and recall at the best F1,
    or at --score-threshold. --json has every class. Objects that VOC marks difficult do not count.
    """
    from ..artefacts.outputs import check_outputs, engine_inputs
    from ..datasets.sets import read_ground_truth
    from ..evaluation.coco_results import write_results
    from ..evaluation.columns import results_from_columns
    from .eval_text import print_report

    tiles = asked_of_tiles(network)
    sources = [engine, network["weights"] or network["model"], detections]
    named = sum(source is not None for source in sources)
    if named > 1 or (named == 0 and config is None):
        raise UsageError(
            "pass one of --engine, --weights (and --model, if they do not say), --config or "
            "--detections"
        )
    experiment = experiment_from_option(config)
    if experiment is not None:
        annotations, images, sets = data_from_experiment(experiment, annotations, images, sets)
        if batch is None and engine is None and experiment.has("TEST.BATCH_SIZE"):
            batch = experiment.test.batch_size
    if annotations is None:
        raise UsageError("no ground truth: pass --annotations FILE")
    if detections is not None:
        check_result_file(protocol, box_convention, save_operating_point, tiles)
    elif images is None and sets is None:
        raise UsageError("--images DIR is needed to run a network; it holds the image files")
    if images is not None and sets is not None:
        raise UsageError("--images does not go with --sets, whose folder holds the images")
    read = [annotations, images, detections, *engine_inputs(engine), config]
    read += [network["weights"], network["labels"]]
    if save_detections:
        check_outputs([save_detections], read, "--save-detections")
    if page:
        from ..report.page import check_report

        check_report(page, [*read, save_detections])
    target = None
    if save_operating_point:
        target = point_target(engine, network["weights"], thresholds)
    truth = read_ground_truth(annotations, sets or (), boxes_alone=True)
    if not truth.annotated:
        check_test_set(truth, detections, save_detections, min_map, save_operating_point)
    if truth.dropped:
        note(f"note: {truth.dropped} boxes without area in {annotations} were left out")
    if (summary := truth.findings.summary) is not None:
        note(f"note: {annotations}: {summary}")
    asked = dict(thresholds) or None
    if detections is not None:
        keep = save_detections is not None
        scored = scored_from_file(detections, truth, asked, metric, keep)
    else:
        scorers = ["hotcoco"] if metric == "coco" and truth.annotated else []
        for module in ("cv2", *scorers):
            require(module, "evaluating")
        check_tiles_of(tiles, engine)
        running: dict[str, Any] = {"batch": batch, "workers": workers, "cuda_graph": cuda_graph}
        running["instances"] = instances
        opened = open_detector(engine, network, protocol, threads, **running, experiment=experiment)
        with opened as detector:
            if experiment is not None and engine is not None:
                check_engine(experiment, engine, detector.runtime.description, protocol)
            scored = _score_detector(
                detector, truth, images or annotations, box_convention, asked, metric, tiles
            )
            description = detector.description
    report = report_from_scored(str(engine or detections or network["weights"] or config), scored)
    report = {"metric": metric, "sets": [":".join(one) for one in sets or ()], **report}
    try:
        if as_json:
            print_json(report)
        else:
            print_report(report, {name for name, _ in thresholds if name is not None})
    finally:  # neither is lost with the other: each may lie on a disk that is full
        if save_detections:
            write_results(save_detections, results_from_columns(scored.entries), truth)
    if page:
        from .eval_report import write_eval_page

        write_eval_page(page, report, scored, images or (annotations if sets else None), min_map)
    if scored.left_out:
        for error in scored.left_out[1:]:
            note(f"  {error}")
        raise BadFile(
            f"{len(scored.left_out)} of {len(truth.images)} images could not be read, the results "
            f"are of the others; the first: {scored.left_out[0]}"
        )
    if target is not None:
        save_point(target, report["operating_point"], description)
    if min_map is not None and (achieved := report["metrics"]["AP"] or 0.0) < min_map:
        raise CheckFailed(f"AP {achieved:.4f} is below --min-map {min_map:g}")


def _score_detector(
    detector: Detector,
    truth: Annotations,
    images: Path,
    box_convention: str,
    asked: Asked,
    metric: Metric,
    tiles: AskedTiles,
) -> Scored:
    from ..detection.tiling import tiles_of_protocol
    from ..postprocess.protocol import protocol_from_params

    tiling = tiling_of_detector(detector, tiles)
    thresholds = thresholds_of_categories(asked, truth, detector.params.score_threshold)
    outcome = _run(detector, truth, images, box_convention == "inclusive", metric, tiling)
    if outcome.size_mismatches:
        note(
            f"note: {outcome.size_mismatches} images do not have the annotated size; their boxes "
            "were scaled to it"
        )
    for line in outcome.notes:
        note(f"note: {line}")
    runtime = detector.runtime
    if metric == "coco" and tiling is None and runtime.description.stored_priors is not None:
        note("note: no scores by feature level: the prior boxes are data, without levels")
    about = {
        "box_convention": box_convention,
        "model": runtime.description.model,
        "runtime": runtime.name,
        "precision": runtime.precision,
        "has_decode_nms": runtime.description.has_decode_nms and tiling is None,
        "protocol": protocol_from_params(detector.params) | tiles_of_protocol(tiling),
        "postprocess": detector.params.to_dict(),
        "size_mismatches": outcome.size_mismatches,
        "unreadable": list(outcome.unreadable),
        "skipped": list(outcome.skipped),
        "classes_by_order": outcome.by_order,
        "detections_left_out": outcome.unscored,
        "seconds": {k: round(v, 3) for k, v in outcome.seconds.items()},
    }
    errors = (*outcome.unreadable.values(), *outcome.skipped.values())
    left_out = tuple(error.command_line for error in errors)
    found, scores = outcome.results, outcome.scores
    least = detector.params.score_threshold
    return Scored(
        *(about, found, scores, thresholds, asked is not None, least),
        truth=outcome.annotations,
        left_out=left_out,
    )


def _run(
    detector: Detector,
    truth: Annotations,
    images: Path,
    inclusive: bool,
    metric: Metric,
    tiling: Tiling | None,
) -> Evaluation:
    """Evaluate with a progress bar on a terminal."""
    from ..evaluation.evaluate import evaluate

    with progress_bar("eval", len(truth.images)) as bar:
        return evaluate(
            *(detector, truth, images),
            metric=metric,
            inclusive=inclusive,
            leave_out=True,
            tiling=tiling,
            progress=bar.update,
        )
