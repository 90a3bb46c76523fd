"""Pixels and detections in a configuration file, as the values that artefacts store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..configs.class_names import names_from_dataset
from ..configs.experiment import Experiment
from ..errors import BadFile, UsageError
from ..models.registry import spec_from_experiment
from ..models.spec import ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess import PostprocessParams
from .description import Description
from .labels import default_labels
from .network import Labels, network_from_checkpoint, random_network

if TYPE_CHECKING:
    from ..models.network import SsdNetwork

#: sections that say how detections are made, if any of their keys is present
_OF_DETECTIONS = ("POST_PROCESS", "MATCHER")


def postprocess_from_experiment(
    experiment: Experiment, own: PostprocessParams | None = None
) -> PostprocessParams:
    """Decode + NMS of a configuration: the published protocol with the file's numbers.

    POST_PROCESS gives thresholds and detections per class, MATCHER the variances. There is no cut
    before NMS or over all classes, and the IoU adds one pixel of 300 whatever the input size is.

    Args:
        experiment: the configuration.
        own: parameters to use if the file has neither section; None for the published defaults.

    Raises:
        BadFile: values that decode + NMS does not accept.
    """
    if own is not None and not any(map(experiment.has, _OF_DETECTIONS)):
        return own
    post = experiment.post_process
    try:
        return replace(
            PostprocessParams.coco(),
            score_threshold=post.score_threshold,
            iou_threshold=post.iou_threshold,
            keep_topk_per_class=post.max_detections,
            variances=experiment.matcher.variance,
        )
    except UsageError as error:
        raise BadFile(f"{experiment.path}: {error}") from error


def preprocessing_from_experiment(experiment: Experiment) -> Preprocessing:
    """Preprocessing from IMAGE_SIZE (height, width) and PIXEL_MEANS (blue, green, red)."""
    height, width = experiment.network.image_size
    return Preprocessing(height, width, mean=experiment.dataset.pixel_means)


def network_from_experiment(
    experiment: Experiment,
    model: str | ModelSpec | None,
    weights: str | Path | None,
    *,
    num_classes: int | None = None,
    width: float | None = None,
    labels: Labels | None = None,
) -> tuple[SsdNetwork, Description]:
    """The network of a configuration, and its description with the file's pixels and detections.

    Args:
        experiment: the configuration.
        model: a network to use instead of the file's.
        weights: a checkpoint; None for random weights.
        num_classes, width, labels: values to use instead of the file's.

    Raises:
        UsageError: neither the file nor ``model`` nor the checkpoint names a network, or the
            checkpoint names another one.
        BadFile: the checkpoint does not fit, or the file describes no network.
    """
    known = model if model is not None else spec_from_experiment(experiment)
    width = width or experiment.options.get("width")
    described = experiment.has("MODEL.NUM_CLASSES")
    if num_classes is None and (described or (weights is None and experiment.names_network)):
        num_classes = experiment.num_classes
    if weights is not None:
        net, description = network_from_checkpoint(
            weights, known, num_classes=num_classes, width=width, labels=labels
        )
    elif known is not None:
        net, description = random_network(
            known, num_classes=num_classes, width=width, labels=labels
        )
    else:
        raise UsageError(f"{experiment.path} describes no network; name one")
    if labels is None and description.labels == default_labels(len(description.labels)):
        description = _with_names(description, experiment)
    return net, described_by_experiment(experiment, description)


def described_by_experiment(experiment: Experiment, description: Description) -> Description:
    """A description whose pixels and detections are replaced by a configuration's.

    Raises:
        BadFile: as for :func:`postprocess_from_experiment`.
    """
    preprocessing = description.preprocessing
    if experiment.has("DATASET.PIXEL_MEANS"):
        preprocessing = replace(preprocessing, mean=experiment.dataset.pixel_means)
    return replace(
        description,
        preprocessing=preprocessing,
        postprocess=postprocess_from_experiment(experiment, description.postprocess),
    )


def _with_names(description: Description, experiment: Experiment) -> Description:
    """A description with the class names of DATASET, if there are as many of them."""
    if not experiment.has("DATASET.DATASET"):
        return description
    names = names_from_dataset(experiment.dataset.dataset, description.num_classes)
    return description if names is None else replace(description, labels=names)
