"""Checks of a training run's inputs and output folder, made before hours of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ..artefacts.outputs import check_outputs, folder_with_inputs
from ..datasets.classes import match_classes
from ..datasets.coco import Annotations
from ..datasets.object_sizes import check_pixels
from ..datasets.picture_files import image_paths
from ..datasets.sets import read_ground_truth, text_from_sets
from ..errors import BadFile, UsageError, quoted
from ..files import check_writable, read_bytes, state_of
from ..postprocess.params import MAX_CLASSES
from ..system.locks import held
from .dataset import DetectionDataset
from .distributed import is_first_process
from .job import TrainingJob
from .state import RunFolder


@contextmanager
def sole_writer(job: TrainingJob) -> Iterator[None]:
    """Keep other trainers out of the folder of a run; the first of several processes locks it.

    Raises:
        LockHeld: another process trains there. This is not a usage error, since the same command
            works once that process has ended.
        OutputError: the folder cannot be written to.
    """
    folder = RunFolder(job.output)
    check_writable(folder.resume)
    with held(folder.lock) if is_first_process() else nullcontext():
        yield


def check_output(job: TrainingJob) -> None:
    """Refuse an output folder that holds another run, or inputs of this one."""
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
    read = [job.annotations, job.val_annotations, job.weights]
    pictures = [place / "any" for place in (job.images, job.val_images) if place is not None]
    check_outputs(folder.files, [*read, folder_with_inputs(job.output, [*read, *pictures])])
    if not folder.record.exists():  # else they belong to a run that ended before its first save
        for kept in (folder.config, folder.history, folder.curves):
            _refuse_foreign(kept)


def check_labels(folder: RunFolder, labels: Sequence[str]) -> None:
    """Refuse to overwrite a ``labels.txt`` that belongs to no run and has other class names."""
    if folder.labels.exists() and not (folder.record.exists() or folder.resume.exists()):
        content = read_bytes(folder.labels, "class names")
        if content != labels_content(labels):
            _refuse_foreign(folder.labels)


def labels_content(labels: Sequence[str]) -> bytes:
    """The content of a run's ``labels.txt``."""
    return ("\n".join(labels) + "\n").encode()


def _refuse_foreign(path: Path) -> None:
    if path.exists():
        raise UsageError(
            f"{path.parent} holds {path.name} and no run; the training would replace it: move it, "
            "or choose another --output"
        )


def check_inputs(job: TrainingJob) -> None:
    """Check that the data exist, naming the option for their new place if they were moved."""
    kind, val_kind = (
        f"the folder of {text_from_sets(sets)}" if sets else "COCO-format JSON"
        for sets in (job.sets, job.val_sets)
    )
    for option, path, what in (
        ("--annotations", job.annotations, f"{kind} to learn from"),
        ("--images", job.images, "the folder of its image files"),
        ("--val-annotations", job.val_annotations, f"{val_kind} to evaluate on"),
        ("--val-images", job.val_images, "the folder of its image files"),
    ):
        if path is not None and not path.exists():
            raise BadFile(f"{path} {state_of(path)}; expected {what}: pass {option} PATH")


def check_classes(data: DetectionDataset, source: Path) -> None:
    """Refuse more classes than decode + NMS support, since nobody could use the weights."""
    if data.num_classes > MAX_CLASSES:
        raise BadFile(
            f"{source} has {len(data.labels)} classes; expected {MAX_CLASSES - 1} at most, which "
            "with the background is what decode + NMS takes: leave out the rarest"
        )


def validation_from_job(
    job: TrainingJob, data: DetectionDataset, notes: list[str]
) -> tuple[Annotations, Path] | None:
    """Ground truth to evaluate on and its image folder, None if not given; adds to ``notes``."""
    if not job.val_sets and (job.val_annotations is None) != (job.val_images is None):
        raise UsageError("--val-annotations and --val-images go together; pass both or none")
    images = job.val_images_root
    if job.val_annotations is None or images is None:
        return None
    truth = read_ground_truth(job.val_annotations, job.val_sets)
    if not truth.annotated:
        raise BadFile(
            f"{truth.path} has no list annotations (a test set), so nothing can be scored; pass "
            "--val-annotations of pictures with ground truth"
        )
    check_pixels(truth)
    match = match_classes(truth, data.labels, f"those of {job.annotations}")
    if match.by_order:  # scores might be those of other classes
        raise BadFile(
            f"{truth.path} has no category {quoted(data.labels[0])}, which is trained, nor any "
            f"other; expected the names of {job.annotations}: rename its categories"
        )
    if all(box["iscrowd"] for box in truth.boxes):
        raise BadFile(
            f"{truth.path} has no object that counts, so nothing can be scored; pass "
            "--val-annotations of pictures with ground truth"
        )
    said = list(match.notes)
    image_paths(truth, images, "--val-images", some=job.skip_unreadable > 0, say=said.append)
    notes += [f"note: {line}" for line in said]
    return truth, images
