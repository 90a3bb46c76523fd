"""What a configuration file says of pixels and detections, as the values that artefacts keep."""

from __future__ import annotations

from dataclasses import replace

from ..configs.experiment import Experiment
from ..errors import BadFile, UsageError
from ..pictures.preprocessing import Preprocessing
from ..postprocess import PostprocessParams

#: sections of which any key means that the file says how detections are made
_OF_DETECTIONS = ("POST_PROCESS", "MATCHER")


def postprocess_from_experiment(
    experiment: Experiment, own: PostprocessParams | None = None
) -> PostprocessParams:
    """Decode + NMS as a configuration has it: the published protocol with the file's numbers.

    POST_PROCESS gives thresholds and detections per class, MATCHER the variances; there is no cut
    before NMS or over all classes, and a pixel of 300 is added in the IoU whatever the input is.

    Args:
        experiment: the configuration.
        own: what holds if the file has neither section; None for the published defaults then too.

    Raises:
        BadFile: numbers that decode + NMS does not take.
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
    """IMAGE_SIZE, which is height and width, and PIXEL_MEANS, which are blue, green and red."""
    height, width = experiment.network.image_size
    return Preprocessing(height, width, mean=experiment.dataset.pixel_means)
