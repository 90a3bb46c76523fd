"""The sections of a published experiment, with their keys, types and defaults, as values.

A key is the name of a field in upper case. The network's own keys, also in the MODEL section, are
in :mod:`ssd_small.configs.network`. Fields marked unused are checked but have no effect here, and
some of them none in the published implementation either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .kinds import flag, key, names, number, path, several, text, whole, year_sets

#: upper limit of learning rates, norms and ratios
_MOST = 1e6
#: upper limit of epochs, and of other counts
_EPOCHS = 1_000_000
_SHARE = number(0, 1)
_PHASES = ("train", "eval", "test", "visualize", "visualize_results", "custom_visualize")


@dataclass(frozen=True)
class ModelSection:
    """MODEL, without the keys that describe the network itself.

    Attributes:
        num_classes: classes including background.
        half_precision, num_fused: unused.
    """

    num_classes: int = key(21, whole(2, 1024))
    half_precision: bool = key(True, flag(), unused=True)
    num_fused: int = key(3, whole(0, 1000), unused=True)


@dataclass(frozen=True)
class OptimizerSection:
    """TRAIN.OPTIMIZER."""

    optimizer: str = key("sgd", text("sgd", "rmsprop", "adam"))
    learning_rate: float = key(0.001, number(0, _MOST, above=True))
    momentum: float = key(0.9, number(0, 1, below=True))
    momentum_2: float = key(0.99, number(0, 1, below=True))
    eps: float = key(1e-8, number(0, 1, above=True))
    weight_decay: float = key(1e-4, number(0, _MOST))


@dataclass(frozen=True)
class SchedulerSection:
    """TRAIN.LR_SCHEDULER; steps and warm-up are epochs."""

    scheduler: str = key("step", text("SGDR", "step", "multi_step", "exponential"))
    steps: tuple[int, ...] = key((1,), several(whole(1, _EPOCHS), 1))
    gamma: float = key(0.98, number(0, _MOST, above=True))
    warm_up_epochs: int = key(0, whole(0, _EPOCHS))
    max_epochs: int = key(300, whole(0, _EPOCHS), unused=True)


@dataclass(frozen=True)
class TrainSection:
    """TRAIN.

    Attributes:
        max_epochs: passes over the data, warm-up included.
        batch_size: pictures per update.
        trainable_scope: names of the modules that are trained.
        resume_scope: substrings, one of which a tensor's key must contain to be loaded from a
            checkpoint; empty to load all.
        checkpoints_epochs, checkpoints_kept: unused.
    """

    max_epochs: int = key(300, whole(1, _EPOCHS))
    batch_size: int = key(128, whole(1, _EPOCHS))
    checkpoints_epochs: int = key(5, whole(1, _EPOCHS), unused=True)
    checkpoints_kept: int = key(10, whole(0, _EPOCHS), unused=True)
    trainable_scope: tuple[str, ...] = key(("base", "extras", "norm", "loc", "conf"), names())
    resume_scope: tuple[str, ...] = key((), names())
    optimizer: OptimizerSection = key(OptimizerSection, None)
    lr_scheduler: SchedulerSection = key(SchedulerSection, None)


@dataclass(frozen=True)
class EvaluationSection:
    """TEST."""

    batch_size: int = key(128, whole(1, _EPOCHS))
    test_scope: tuple[int, int] = key((0, 300), several(whole(0, _EPOCHS), 2, 2), unused=True)


@dataclass(frozen=True)
class MatcherSection:
    """MATCHER: overlap of positive priors, hard negatives per positive, scale of the offsets."""

    num_classes: int = key(21, whole(2, 1024), unused=True)
    background_label: int = key(0, whole(0, 1023), unused=True)
    matched_threshold: float = key(0.5, number(0, 1, above=True))
    unmatched_threshold: float = key(0.5, _SHARE, unused=True)
    negpos_ratio: float = key(3.0, number(0, _MOST, above=True))
    variance: tuple[float, float] = key((0.1, 0.2), several(number(0, 1000, above=True), 2, 2))


@dataclass(frozen=True)
class PostProcessSection:
    """POST_PROCESS: lowest score, suppressing overlap, detections per class and picture."""

    num_classes: int = key(21, whole(2, 1024), unused=True)
    background_label: int = key(0, whole(0, 1023), unused=True)
    score_threshold: float = key(0.01, number(0, 1, below=True))
    iou_threshold: float = key(0.6, _SHARE)
    max_detections: int = key(100, whole(1, 1_000_000))
    variance: tuple[float, float] = key(
        (0.1, 0.2), several(number(0, 1000, above=True), 2, 2), unused=True
    )


@dataclass(frozen=True)
class DatasetSection:
    """DATASET.

    Attributes:
        dataset: layout of the folder.
        dataset_dir: the folder, relative to the working directory, as published; None if the file
            does not name one.
        train_sets, test_sets: pairs of (year, split).
        prob: probability that a picture is placed on a larger canvas in training.
        pixel_means: subtracted from blue, green and red.
        num_workers: processes that read pictures.
    """

    dataset: str = key("voc", text("voc", "coco"))
    dataset_dir: Path | None = key(None, path())
    train_sets: tuple[tuple[str, str], ...] = key(
        (("2007", "trainval"), ("2012", "trainval")), year_sets()
    )
    test_sets: tuple[tuple[str, str], ...] = key((("2007", "test"),), year_sets())
    prob: float = key(0.6, _SHARE)
    pixel_means: tuple[float, float, float] = key(
        (103.94, 116.78, 123.68), several(number(0, 255), 3, 3)
    )
    image_size: tuple[int, int] = key((300, 300), several(whole(1, 8192), 2, 2), unused=True)
    train_batch_size: int = key(128, whole(1, _EPOCHS), unused=True)
    test_batch_size: int = key(128, whole(1, _EPOCHS), unused=True)
    num_workers: int = key(8, whole(0, 1024))


@dataclass(frozen=True)
class Places:
    """The keys outside the sections.

    Attributes:
        exp_dir: folder of a training run.
        resume_checkpoint: weights to start from.
        log_dir, checkpoints_prefix, phase: unused.
    """

    exp_dir: Path | None = key(None, path())
    log_dir: Path | None = key(None, path(), unused=True)
    resume_checkpoint: Path | None = key(None, path())
    checkpoints_prefix: str = key("", text(), unused=True)
    phase: tuple[str, ...] = key(("train", "eval", "test"), several(text(*_PHASES)), unused=True)
