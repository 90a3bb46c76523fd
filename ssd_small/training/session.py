"""A training run from files to files: what ``ssd-small train`` does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..artefacts.description import description_from_spec
from ..datasets.coco import Annotations, image_paths, read_annotations
from ..errors import BadFile, UsageError
from ..evaluation.coco_results import category_ids
from ..files import check_writable, sha256_of, write_bytes
from ..machine import describe_machine
from ..models.network import SsdNetwork
from ..models.registry import get_spec
from ..postprocess import PostprocessParams
from ..postprocess.protocol import params_from_preset, protocol_from_params, text_from_params
from .cpu import training_cpu
from .dataset import DetectionDataset
from .distributed import Processes, joined_processes
from .evaluation import PROTOCOL, evaluate_network
from .initialise import InitScope, initial_network
from .pictures import PictureBatches
from .recipe import Recipe
from .reporter import Reporter, as_duration, reporting
from .run import Run
from .state import RunFolder
from .step import Learner
from .stopping import Stopped, stop_on_signals
from .trainer import LoopOptions, Metrics, train


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on what, and where to write.

    Attributes:
        model: name of the network.
        recipe: hyper-parameters.
        annotations, images: COCO-format JSON and the folder of its image files.
        output: folder for checkpoints, history and log.
        width: channel multiplier.
        val_annotations, val_images: the same of pictures to evaluate on; None for none.
        weights: checkpoint to start from; None for random weights.
        init_scope: what is taken from it.
        resume: go on with the run in ``output``.
        device: "auto", "cpu" or "cuda".
        workers: processes that read and augment pictures, per training process.
        threads: CPU threads; 0 for PyTorch's choice.
        options: how often to log, evaluate and save.
    """

    model: str
    recipe: Recipe
    annotations: Path
    images: Path
    output: Path
    width: float = 1.0
    val_annotations: Path | None = None
    val_images: Path | None = None
    weights: Path | None = None
    init_scope: InitScope = "base"
    resume: bool = False
    device: str = "auto"
    workers: int = 2
    threads: int = 0
    options: LoopOptions = field(default_factory=LoopOptions)


def run_training(job: TrainingJob) -> dict[str, Any]:
    """Train until the budget is spent or somebody stops it; a report, JSON-ready.

    The last evaluation's scores are under ``metrics``; ``stopped`` is the signal that ended the
    session early, 0 where its time was over, None where the run is finished.

    Raises:
        BadFile: annotations, images, weights or resume file; says which.
        UsageError: options that do not go together, or another run's folder.
        Diverged: the loss is not finite.
        OutputError: a file could not be written; older files stay whole.
    """
    _check_output(job)
    with training_cpu(job.threads):
        return _run(job)


def _run(job: TrainingJob) -> dict[str, Any]:
    data = DetectionDataset.from_coco(job.annotations, job.images)
    val = _validation(job, data)
    with joined_processes(job.device) as processes:
        net = initial_network(
            job.model, data.num_classes, job.width, job.recipe, job.weights, job.init_scope
        )
        learner = Learner.of(net, job.recipe, processes)
        batches = PictureBatches(data, net, job.recipe, processes, job.workers)
        begin = Run.resumed if job.resume else Run.fresh
        run = begin(learner, batches, _about(job, data), job.output)
        with (
            reporting(run.folder.log, speaks=processes.writer) as reporter,
            stop_on_signals() as stop,
        ):
            _introduce(job, run, data, processes, reporter)
            evaluate = _evaluation(job, val, data.labels)
            try:
                metrics = train(run, evaluate, reporter, job.options, stop)
            except Stopped as end:
                reporter.line(
                    f"stopped after iteration {run.position.iteration}; the same command with "
                    "--resume goes on"
                )
                # 0 is no signal's number
                return _report(job, run, data, None, end.reason.signal or 0)
            kept = run.folder.last if run.position.best is None else run.folder.best
            reporter.line(
                f"{run.position.iteration} iterations in {as_duration(run.position.seconds)}; "
                f"weights in {kept}"
            )
        return _report(job, run, data, metrics, None)


def _check_output(job: TrainingJob) -> None:
    check_writable(job.output / "resume.pth")
    if job.resume:
        return
    folder = RunFolder(job.output)
    if folder.resume.exists():
        raise UsageError(
            f"{job.output} holds a run already; pass --resume to go on with it, or choose another "
            "--output"
        )
    for kept in (folder.best, folder.last):
        if kept.exists():
            raise UsageError(
                f"{job.output} holds {kept.name} of another run, which this one would replace; "
                "choose another --output"
            )


def _validation(job: TrainingJob, data: DetectionDataset) -> tuple[Annotations, Path] | None:
    """The pictures to evaluate on, checked before hours of training."""
    if (job.val_annotations is None) != (job.val_images is None):
        raise UsageError("--val-annotations and --val-images go together; pass both or none")
    if job.val_annotations is None or job.val_images is None:
        return None
    truth = read_annotations(job.val_annotations)
    image_paths(truth, job.val_images)
    category_ids(
        truth, description_from_spec(get_spec(job.model), data.num_classes, 1.0, labels=data.labels)
    )
    # by order, as for a checkpoint without names, would score one class for another
    unknown = set(data.labels) - {str(category["name"]) for category in truth.categories}
    if unknown:
        raise BadFile(
            f"{truth.path} has no category {sorted(unknown)[0]!r}, which is trained; expected the "
            f"names of {job.annotations}: rename its categories"
        )
    return truth, job.val_images


def _evaluation(
    job: TrainingJob, val: tuple[Annotations, Path] | None, labels: tuple[str, ...]
) -> Callable[[SsdNetwork], Metrics] | None:
    if val is None:
        return None
    truth, images = val

    def scores(net: SsdNetwork) -> Metrics:
        return evaluate_network(net, truth, images, labels, threads=job.threads)

    return scores


def _params(run: Run) -> PostprocessParams:
    """Decode + NMS of the evaluations."""
    return params_from_preset(PROTOCOL, run.learner.net.spec.postprocess)


def _about(job: TrainingJob, data: DetectionDataset) -> dict[str, Any]:
    """What a resumed run must have in common with the one before."""
    return {
        "model": job.model,
        "width": job.width,
        "labels": list(data.labels),
        "annotations": f"sha256:{sha256_of(job.annotations)}",
        "weights": f"sha256:{sha256_of(job.weights)}" if job.weights else "random",
        "init_scope": job.init_scope if job.weights else "-",
    }


def _introduce(
    job: TrainingJob, run: Run, data: DetectionDataset, processes: Processes, reporter: Reporter
) -> None:
    """The head of the log, and the files that do not change."""
    if processes.writer:
        write_bytes(run.folder.labels, ("\n".join(data.labels) + "\n").encode())
    machine = describe_machine()
    reporter.line(
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}  {job.model}, width {job.width:g}, "
        f"{data.num_classes} classes, from "
        + (f"{job.init_scope} of {job.weights}" if job.weights else "random weights")
    )
    reporter.line(f"recipe {json.dumps(job.recipe.to_dict())}")
    reporter.line(
        f"{data.report.images} images, {data.report.boxes} boxes, {run.batches.per_epoch} "
        f"iterations of {job.recipe.batch} an epoch"
    )
    if job.val_annotations is not None:
        told = text_from_params(_params(run))
        reporter.line(f"scored under protocol {PROTOCOL}: {told}; eval needs --protocol {PROTOCOL}")
    for line in data.report.notes():
        reporter.line(f"note: {line}")
    reporter.line(
        f"{machine['cpu']}, {processes.device.type}, {processes.world} processes, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    if find_spec("matplotlib") is None:
        reporter.line("note: no curves without matplotlib: pip install 'ssd-small[train]'")
    if job.resume:
        reporter.line(f"resumed after iteration {run.position.iteration}")


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
