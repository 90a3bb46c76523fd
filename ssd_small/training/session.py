"""A complete training run, from input files to output files, as in ``ssd-small train``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..configs.yaml_file import yaml_from_mapping
from ..datasets.coco import Annotations
from ..datasets.object_sizes import tiles_for_objects, tiny_objects_line
from ..datasets.picture_files import image_paths
from ..datasets.sets import Sets, read_ground_truth, sha256_of_truth
from ..files import sha256_of, write_bytes
from ..json_files import write_json
from ..machine import describe_machine
from ..models.network import SsdNetwork
from ..pictures.tiles import Tiling
from ..postprocess import PostprocessParams
from ..postprocess.protocol import params_from_preset, protocol_from_params, text_from_params
from ..system.temporary import check_temporary_folder
from .configuration import configuration_from_job
from .cpu import training_cpu
from .dataset import DetectionDataset
from .distributed import Processes, joined_processes
from .evaluation import PROTOCOL, evaluate_network
from .initialise import classes_line, initial_network
from .inputs import (
    check_classes,
    check_inputs,
    check_labels,
    check_output,
    labels_content,
    sole_writer,
    validation_from_job,
)
from .job import TrainingJob
from .pictures import PictureBatches
from .recipe import Recipe, changed_for_random_weights
from .reporter import Reporter, as_duration, reporting
from .run import Run, Subject
from .run_record import RunRecord, read_run_record, record_from_job, training_from_record
from .scope import names_without_part
from .state import RunFolder
from .step import Learner
from .stopping import Stopped, stop_on_signals
from .tiles import TiledDataset, tiling_from_job, with_tiles
from .trainer import Metrics, train


def run_training(job: TrainingJob) -> dict[str, Any]:
    """Train until the budget is spent or the run is stopped; return a JSON-ready report.

    In the report, ``metrics`` holds the scores of the last evaluation; ``stopped`` is the number of
    the signal that ended the session early, 0 if its time was over, None if the run is finished.

    Raises:
        BadFile: annotations, images, weights or resume file cannot be used; the message says which.
        UsageError: options conflict, or the folder belongs to another run.
        Diverged: the loss, the gradient or a weight is not finite.
        LockHeld: another process trains in the folder.
        OutputError: a file could not be written; existing files stay intact.
    """
    with sole_writer(job):
        check_output(job)
        check_inputs(job)
        check_temporary_folder()
        with training_cpu(job.threads):
            return _run(job)


def _run(job: TrainingJob) -> dict[str, Any]:
    folder, notes = RunFolder(job.output), list[str]()
    before = read_run_record(folder.record) if job.resume else None
    truth = read_ground_truth(job.annotations, job.sets, keep_difficult=True)
    some = job.skip_unreadable > 0
    said: list[str] = []
    paths = image_paths(truth, job.images_root, some=some, say=said.append)
    notes += [f"note: {line}" for line in said]
    data = DetectionDataset(truth, paths)
    check_classes(data, truth.path)
    check_labels(folder, data.labels)
    val = validation_from_job(job, data, notes)
    for one in (truth, *([] if val is None else [val[0]])):
        if (summary := one.findings.summary) is not None:
            notes.append(f"note: {one.path}: {summary}")
    hashes = {"annotations": _sha256(truth, job.sets)}
    if val is not None:
        hashes["val_annotations"] = _sha256(val[0], job.val_sets)
    del truth  # for a large data set, hundreds of megabytes that are no longer needed
    tiling = tiling_from_job(job, data)
    if tiling is not None:
        job, data = with_tiles(job, tiling), TiledDataset(data, tiling)
        notes += data.notes()
    record = record_from_job(job, data, hashes, before)
    with joined_processes(job.device) as processes:
        # the weights of a resumed run are in resume.pth
        weights = None if job.resume else job.weights
        net = initial_network(
            *(job.spec, data.num_classes, job.width, job.recipe, weights, job.init_scope),
            say=notes.append,
        )
        if weights is not None and job.init_scope in ("all", "fitting"):
            line = classes_line(weights, data.labels)
            notes += [] if line is None else [f"note: {line}"]
        learner = Learner.of(net, job.recipe, processes)
        notes += [*_recipe_notes(net, job.recipe), *_size_notes(net, data)]
        batches = PictureBatches(data, net, job.recipe, processes, job.workers, job.skip_unreadable)
        begin = Run.resumed if job.resume else Run.fresh
        size = data.object_size(*net.spec.input_size, net.spec.preprocessing.fit)
        subject = Subject(data.labels, training_from_record(record, data), size)
        run = begin(learner, batches, record.identity, job.output, subject)
        with (
            reporting(run.folder.log, speaks=processes.writer) as reporter,
            stop_on_signals() as stop,
        ):
            batches.say = reporter.line
            if processes.writer:
                write_bytes(run.folder.labels, labels_content(data.labels))
                write_json(run.folder.record, record.to_dict())
                asked = configuration_from_job(record.job, data.num_classes)
                write_bytes(run.folder.config, yaml_from_mapping(asked).encode())
            notes += _notes(record, before)
            _introduce(job, run, data, processes, reporter, notes)
            evaluate = _evaluation(job, val, data.labels, tiling, reporter.line)
            try:
                metrics = train(run, evaluate, reporter, job.options, stop)
            except Stopped as end:
                reporter.line(
                    f"stopped after iteration {run.position.iteration}; ssd-small train --output "
                    f"{job.output} --resume goes on"
                )
                # no signal has the number 0
                return _report(job, run, data, None, end.reason.signal or 0)
            kept = run.folder.last if run.position.best is None else run.folder.best
            reporter.line(
                f"{run.position.iteration} iterations in {as_duration(run.position.seconds)}; "
                f"weights in {kept}"
            )
        return _report(job, run, data, metrics, None)


def _sha256(truth: Annotations, sets: Sets) -> str:
    """SHA-256 of the annotation file; for sets, of their combined ground truth."""
    return sha256_of_truth(truth) if sets else sha256_of(truth.path)


def _evaluation(
    job: TrainingJob,
    val: tuple[Annotations, Path] | None,
    labels: tuple[str, ...],
    tiling: Tiling | None,
    say: Callable[[str], None],
) -> Callable[[SsdNetwork], Metrics] | None:
    if val is None:
        return None
    truth, images = val

    def scores(net: SsdNetwork) -> Metrics:
        return evaluate_network(
            *(net, truth, images, labels),
            threads=job.threads,
            skips=job.skip_unreadable,
            tiling=tiling,
            say=say,
        )

    return scores


def _params(run: Run) -> PostprocessParams:
    """Parameters of decode + NMS for the evaluations."""
    return params_from_preset(PROTOCOL, run.learner.net.spec.postprocess)


def _notes(record: RunRecord, before: RunRecord | None) -> list[str]:
    """Things that may surprise the user, a line each."""
    job, lines = record.job, []
    if not job.resume and job.weights is None and not changed_for_random_weights(job.recipe):
        lines.append(
            "note: random weights, and the recipe expects a trained backbone (--weights): "
            "'ssd-small train --help' says what helps without one"
        )
    if before is not None and job.val_annotations is not None:
        val = (one.sha256.get("val_annotations") for one in (before, record))
        if len(set(val)) > 1:
            lines.append(
                f"note: {job.val_annotations} is not what was evaluated on before; the best AP so "
                "far is of other pictures"
            )
    return lines


def _recipe_notes(net: SsdNetwork, recipe: Recipe) -> list[str]:
    """Settings of a recipe that are probably not intended, a line each."""
    lines = []
    if unknown := names_without_part(net, recipe.trainable_scope):
        lines.append(f"note: {net.spec.name} has no {', '.join(unknown)} that could learn")
    if recipe.schedule == "sgdr" and recipe.epochs == 1 and recipe.warm_up < 1:
        lines.append(
            "note: schedule sgdr has rate 0 in the last epoch, as published, so nothing is learned "
            "in this only one: pass --epochs of more, --iterations, or --schedule cosine"
        )
    return lines


def _size_notes(net: SsdNetwork, data: DetectionDataset) -> list[str]:
    """A note if objects are tiny at the network's input."""
    height, width = net.spec.preprocessing.height, net.spec.preprocessing.width
    tiles = tiles_for_objects(data.picture_sides(), height, width)
    sides = data.object_sides(height, width, net.spec.preprocessing.fit)
    line = tiny_objects_line(sides, height, width, tiles)
    return [] if line is None else [f"note: {line}"]


def _introduce(
    job: TrainingJob,
    run: Run,
    data: DetectionDataset,
    processes: Processes,
    reporter: Reporter,
    notes: Sequence[str],
) -> None:
    """Write the head of the log."""
    of = "" if job.init_scope == "fitting" else f"{job.init_scope} of "
    machine = describe_machine()
    reporter.line(
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}  {job.model}, width {job.width:g}, "
        f"{data.num_classes} classes, from "
        + (f"{of}{job.weights}" if job.weights else "random weights")
    )
    reporter.line(f"recipe: {_recipe_text(job.recipe)}")
    shown = "images" if job.tiles is None else "tiles"
    reporter.line(
        f"{data.report.images} {shown}, {data.report.boxes} boxes, {run.batches.per_epoch} "
        f"iterations of {job.recipe.batch} per epoch"
    )
    if job.val_annotations is not None:
        told = text_from_params(_params(run))
        needs = f"--protocol {PROTOCOL}"
        if job.tiles is not None:
            needs += f" --tiles {job.tiles[0]}x{job.tiles[1]} --overlap {job.overlap:g}"
        reporter.line(f"scored under protocol {PROTOCOL}: {told}; eval needs {needs}")
    for line in (*notes, *(f"note: {fault}" for fault in data.report.notes())):
        reporter.line(line)
    reporter.line(
        f"{machine['cpu']}, {processes.device.type}, processes: {processes.world}, "
        f"threads: {torch.get_num_threads()}, torch {torch.__version__}"
    )
    if find_spec("matplotlib") is None:
        reporter.line("note: no curves without matplotlib: pip install '.[train]'")
    if job.resume:
        reporter.line(f"resumed after iteration {run.position.iteration}")


def _recipe_text(recipe: Recipe) -> str:
    """``batch 32, lr 0.001, ...``: the values that are set, without switches that are off."""

    def text(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return " ".join(map(text, value))
        return f"{value:g}" if isinstance(value, float) else str(value)

    told = recipe.to_dict().items()
    return ", ".join(
        name if value is True else f"{name} {text(value)}"
        for name, value in told
        if value is not None and value is not False
    )


def _report(
    job: TrainingJob, run: Run, data: DetectionDataset, metrics: Metrics | None, stopped: int | None
) -> dict[str, Any]:
    folder, position = run.folder, run.position
    return {
        "model": job.model,
        "width": job.width,
        "labels": list(data.labels),
        "recipe": job.recipe.to_dict(),
        "iterations": position.iteration,
        "images_seen": position.iteration * job.recipe.batch,
        "epochs": run.epochs,
        "seconds": round(position.seconds, 1),
        "stopped": stopped,
        "protocol": protocol_from_params(_params(run)) if metrics is not None else None,
        "metrics": dict(metrics) if metrics is not None else None,
        "best_AP": position.best,
        "best": str(folder.best) if position.best is not None else None,
        "last": str(folder.last),
        "dataset": data.report.to_dict(),
        "machine": describe_machine(),
    }
